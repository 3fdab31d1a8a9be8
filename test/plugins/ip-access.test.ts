import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, raw, readableLog, running, sallyport, statusOf, upstream } from '../helpers.ts'

const respond = { body: 'hello' }

t.test('accepts only addresses that are allowed and not denied', async (t) => {
  const folder = t.testdir({
    'few.txt': '# one\r\n192.0.2.9 # too loud\r\n\r\n',
    'blocked.txt': [
      '\uFEFF# who was too loud',
      '192.0.2.7',
      '',
      '2001:db8:bad::/48   # a whole site\r',
      '  198.51.100.0/24'
    ].join('\n')
  })
  const file = join(folder, 'blocked.txt')
  const says: Record<string, object> = {
    allow: { allow: ['10.0.0.0/8', '2001:db8::1', '192.0.2.1'] },
    deny: { deny: ['203.0.113.0/24', '2001:db8::/32', '192.0.2.1'] },
    both: { allow: ['10.0.0.0/8'], deny: ['10.1.0.0/16'] },
    presets: { allow: ['loopback', 'private'] },
    file: { file },
    files: { allow: ['192.0.2.0/24', `file:${file}`], deny: [`file:${join(folder, 'few.txt')}`] },
    fileBesideAllow: { allow: ['192.0.2.0/24'], file },
    ipv6: { allow: ['::/0'] },
    noIpv6: { deny: ['::/0'] },
    mapped: { deny: ['::ffff:203.0.113.0/120', '::ffff:192.0.2.1', '::ffff:0:0/100'] },
    nothing: {}
  }
  const app = await gateway(t, {
    trustedProxies: ['loopback'],
    routes: Object.entries(says).map(([name, ipAccess]) => ({ path: `/${name}`, respond, ipAccess }))
  })
  const cases: Record<string, Record<string, number>> = {
    allow: { '10.255.0.1': 200, '192.0.2.1': 200, '192.0.2.2': 403, '2001:db8::1': 200, '2001:db8::2': 403 },
    deny: { '203.0.113.255': 403, '203.0.114.0': 200, '192.0.2.1': 403, '2001:db8:1::': 403, '2002::1': 200 },
    both: { '10.0.0.1': 200, '10.1.0.1': 403, '11.0.0.1': 403 },
    presets: {
      '127.0.0.1': 200,
      '::1': 200,
      '10.0.0.1': 200,
      '172.31.0.1': 200,
      '172.32.0.1': 403,
      'fd00::1': 200,
      'fe80::1%eth0': 200,
      '8.8.8.8': 403
    },
    file: { '192.0.2.7': 403, '192.0.2.8': 200, '2001:db8:bad::1': 403, '198.51.100.9': 403 },
    files: { '192.0.2.8': 200, '192.0.2.9': 403, '198.51.100.9': 200, '8.8.8.8': 403 },
    fileBesideAllow: { '192.0.2.7': 403, '192.0.2.8': 200, '198.51.100.9': 403, '8.8.8.8': 403 },
    ipv6: { '2001:db8::1': 200, '10.0.0.1': 403, '::ffff:10.0.0.1': 403 },
    noIpv6: { '2001:db8::1': 403, '10.0.0.1': 200, '::ffff:10.0.0.1': 200 },
    mapped: { '203.0.113.1': 403, '192.0.2.1': 403, '192.0.2.2': 200, '1.2.3.4': 403 },
    nothing: { '8.8.8.8': 200 }
  }
  for (const [name, addresses] of Object.entries(cases))
    for (const [address, status] of Object.entries(addresses))
      t.test(`${address} to ${JSON.stringify(says[name])}`, async (t) => {
        for (const time of ['at first', 'once it is known']) {
          const answer = await app.inject({ url: `/${name}`, remoteAddress: address })
          t.equal(answer.statusCode, status, time)
          if (status === 403)
            t.match(answer.json(), {
              status,
              code: 'SP_ERR_IP_ACCESS_DENIED',
              detail: 'Forbidden: address not allowed'
            })
        }
      })
  t.test('compares every notation of an IPv4 address', async (t) => {
    for (const address of ['::ffff:203.0.113.9', '::FFFF:203.0.113.9', '::ffff:cb00:7109', '203.0.113.9:80'])
      for (const [peer, status] of [
        ['127.0.0.1', 403],
        ['8.8.8.8', 200]
      ] as const) {
        const headers = { 'x-forwarded-for': address }
        const answer = await app.inject({ url: '/deny', remoteAddress: peer, headers })
        t.equal(answer.statusCode, status, `${peer} says ${address}, and is trusted or not`)
      }
  })
})

t.test('applies to all routes of a group, and to unknown paths', async (t) => {
  const app = await gateway(t, {
    ipAccess: { deny: ['203.0.113.0/24'] },
    routes: [
      { path: '/plain', respond },
      { path: '/off', respond, ipAccess: false },
      { path: '/own', respond, ipAccess: { deny: ['10.0.0.1'] } },
      { path: '/group', ipAccess: { allow: ['private'] }, routes: [{ path: '/in', respond }] },
      { path: '/group', routes: [{ path: '/open', respond }] }
    ]
  })
  const cases: [path: string, address: string, status: number][] = [
    ['/plain', '203.0.113.1', 403],
    ['/plain', '10.0.0.1', 200],
    ['/nowhere', '203.0.113.1', 403],
    ['/nowhere', '10.0.0.1', 404],
    ['/off', '203.0.113.1', 200],
    ['/own', '10.0.0.1', 403],
    ['/own', '203.0.113.1', 200],
    ['/group/in', '10.0.0.1', 200],
    ['/group/in', '8.8.8.8', 403],
    ['/group/open', '8.8.8.8', 200],
    ['/-/live', '203.0.113.1', 200],
    ['/-/ready', '203.0.113.1', 200]
  ]
  for (const [path, address, status] of cases)
    t.test(`${address} at ${path}`, async (t) => {
      t.equal((await app.inject({ url: path, remoteAddress: address })).statusCode, status)
    })
  t.test('applies to a wrong method and an invalid path', async (t) => {
    const only = await gateway(t, {
      ipAccess: { deny: ['203.0.113.0/24'] },
      routes: [{ path: '/a', methods: ['GET'], respond }]
    })
    for (const [address, status] of [
      ['203.0.113.1', 403],
      ['10.0.0.1', 405]
    ] as const)
      t.equal(
        (await only.inject({ url: '/a', method: 'POST', remoteAddress: address })).statusCode,
        status,
        address
      )
  })
})

t.test('runs before rate limits and authentication', async (t) => {
  const app = await gateway(t, {
    ipAccess: { deny: ['203.0.113.0/24'] },
    rateLimit: { max: 1, by: 'route' },
    auth: { apiKeys: { list: [{ id: 'a', secret: 'a-key' }] } },
    routes: [{ path: '/a', respond }]
  })
  for (let i = 0; i < 3; i++) {
    const answer = await app.inject({ url: '/a', remoteAddress: '203.0.113.1' })
    t.match(answer, { statusCode: 403, headers: { ratelimit: undefined, 'www-authenticate': undefined } })
  }
  t.equal((await app.inject({ url: '/a', headers: { 'x-api-key': 'a-key' } })).statusCode, 200)
})

t.test('reports but does not refuse in report mode', async (t) => {
  const { log, line } = readableLog()
  const app = await gateway(
    t,
    {
      ipAccess: { allow: ['private'], mode: 'report' },
      routes: [
        {
          path: '/proxy',
          proxy: { upstream: await upstream(t, (_request, response) => response.end('here')) }
        }
      ]
    },
    { log }
  )
  const answer = await app.inject({ url: '/proxy', remoteAddress: '8.8.8.8' })
  t.match(answer, { statusCode: 200, body: 'here' })
  const told = await line(({ path }) => path === '/proxy')
  t.strictSame(told['wouldRefuse'], ['ipAccess SP_ERR_IP_ACCESS_DENIED'])
})

t.test('applies a changed file with --watch, and keeps the old list when the file is invalid', async (t) => {
  const folder = t.testdir({
    'blocked.txt': '# nobody yet\n',
    'gateway.json': JSON.stringify({
      trustedProxies: ['loopback'],
      ipAccess: { file: 'blocked.txt' },
      routes: [{ path: '/a', respond }]
    })
  })
  const file = join(folder, 'blocked.txt')
  const process = await running(t, ['-c', join(folder, 'gateway.json'), '--watch'])
  const ask = async (address: string): Promise<number> =>
    statusOf(
      await raw(
        process.port,
        `GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${address}\r\nConnection: close\r\n\r\n`,
        5000
      )
    )
  /** Changes the file and waits for the next reload, applied or refused. */
  const reloaded = async (change: () => Promise<void>): Promise<Record<string, unknown>> => {
    const before = process.lines.length
    await change()
    return process.line((each) => process.lines.indexOf(each) >= before && each['why'] !== undefined)
  }
  t.equal(await ask('192.0.2.7'), 200)
  t.match(await reloaded(() => writeFile(file, '192.0.2.7\n')), { msg: 'reloaded' })
  t.equal(await ask('192.0.2.7'), 403)
  const broken = await reloaded(() => writeFile(file, '192.0.2.8\n\n192.0.2.7/33 # no such range\n'))
  t.match(broken, {
    level: 'error',
    faults: [
      /gateway\.json:1:\d+ ipAccess\.file: .*blocked\.txt:3: expected an address, got "192\.0\.2\.7\/33"; an IP address, a CIDR range/
    ]
  })
  t.match(await reloaded(() => rm(file)), {
    level: 'error',
    faults: [/There is no file blocked\.txt$/]
  })
  t.equal(await ask('192.0.2.7'), 403, 'the last good one holds')
  t.equal(await ask('192.0.2.8'), 200)
  t.match(await reloaded(() => writeFile(file, '192.0.2.8\n')), { msg: 'reloaded' })
  t.equal(await ask('192.0.2.7'), 200)
  t.equal(await ask('192.0.2.8'), 403)
})

t.test('reports all errors of a list at once', async (t) => {
  const folder = t.testdir({ 'blocked.txt': '10.0.0.1\nexample.com\n10.0.0.0/8 10.0.0.1\n' })
  const cases: [name: string, ipAccess: object, message: RegExp][] = [
    [
      'a host',
      { allow: ['example.com'] },
      /ipAccess\.allow\[0\]: expected an address, got "example\.com"; an IP/
    ],
    [
      'a range too narrow',
      { deny: ['::1', '10.0.0.0/33'] },
      /ipAccess\.deny\[1\]: expected an address, got "10\.0\.0\.0\/33"/
    ],
    ['an empty list', { allow: [] }, /ipAccess\.allow/],
    ['a missing file', { file: join(folder, 'none.txt') }, /ipAccess\.file: There is no file .*none\.txt/],
    ['a folder', { file: folder }, /expected a file, got the folder /],
    [
      'a line',
      { file: join(folder, 'blocked.txt') },
      /blocked\.txt:2: expected an address, got "example\.com"/
    ],
    [
      'one more line',
      { file: join(folder, 'blocked.txt') },
      /blocked\.txt:3: expected an address, got "10\.0\.0\.0\/8 10\.0\.0\.1"/
    ]
  ]
  for (const [name, ipAccess, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ ipAccess, routes: [] }, {}), { message })
    })
  t.test('the gateway does not start without the file', async (t) => {
    const config = join(folder, 'gateway.json')
    await writeFile(config, JSON.stringify({ ipAccess: { file: 'gone.txt' }, routes: [] }))
    const { code, stderr } = await sallyport(['run', '-c', config])
    t.equal(code, 1)
    t.match(stderr, /gateway\.json:1:\d+ ipAccess\.file: There is no file gone\.txt/)
  })
})
