import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../../../src/index.ts'
import { gateway, upstream } from '../../../helpers.ts'

const proxy = { upstream: 'http://localhost:1' }
const respond = { body: 'fine' }
const keys = { list: [{ id: 'a', secret: 'a key' }] }

/** Every option that takes addresses, with a list of them. */
const PLACES: [option: string, config: (list: string[]) => object][] = [
  ['trustedProxies', (list) => ({ trustedProxies: list })],
  ['ipAccess.allow', (list) => ({ ipAccess: { allow: list } })],
  ['ipAccess.deny', (list) => ({ routes: [{ path: '/', respond, ipAccess: { deny: list } }] })],
  ['auth.exempt', (list) => ({ trustedProxies: [], auth: { apiKeys: keys, exempt: list } })],
  ['maintenance.allow', (list) => ({ maintenance: { allow: list } })],
  ['when', (list) => ({ routes: [{ path: '/', respond, when: { 'client.ip': list } }] })],
  [
    'when of a group',
    (list) => ({ routes: [{ when: { 'client.ip': list }, routes: [{ path: '/', respond }] }] })
  ],
  [
    'proxy.split',
    (list) => ({
      routes: [{ path: '/', proxy: { split: [{ ...proxy, when: [{ 'client.ip': list }] }, proxy] } }]
    })
  ]
]

t.test('takes files of addresses in every list, relative to the config, and watches them', async (t) => {
  for (const [option, config] of PLACES)
    await t.test(option, async (t) => {
      const folder = t.testdir({
        lists: { 'office.txt': '# office\n192.0.2.0/24\n\nloopback # this host\n' }
      })
      const file = join(folder, 'gateway.json')
      writeFileSync(
        file,
        JSON.stringify({ routes: [], ...config(['198.51.100.1', 'file:lists/office.txt']) })
      )
      const { files } = await loadConfig(file, {})
      t.ok(files.includes(join(folder, 'lists/office.txt')), 'watched')
    })
})

t.test('reports a missing file and a malformed line with its place', async (t) => {
  for (const [option, config] of PLACES)
    await t.test(option, async (t) => {
      const folder = t.testdir({ 'bad.txt': '192.0.2.1\n\nfile:other.txt\n' })
      mkdirSync(join(folder, 'folder'))
      const file = join(folder, 'gateway.json')
      const cases: [name: string, entry: string, message: RegExp][] = [
        [
          'a line',
          'file:bad.txt',
          /gateway\.json:1:\d+ .*[: ]bad\.txt:3: expected an address, got "file:other\.txt"; an IP/
        ],
        ['no file', 'file:none.txt', /gateway\.json:1:\d+ .*There is no file none\.txt/],
        ['a folder', 'file:folder', /expected a file, got the folder folder/],
        ['no name', 'file:', /expected a file, got the folder|There is no file/],
        ['no address', 'example.com', /expected an address, got "example\.com"/]
      ]
      for (const [name, entry, message] of cases) {
        writeFileSync(file, JSON.stringify({ routes: [], ...config([entry]) }))
        await t.rejects(loadConfig(file, {}), { message }, name)
      }
    })
})

t.test('compares conditions by the addresses of their files', async (t) => {
  const folder = t.testdir({ 'a.txt': '10.0.0.0/8\n', 'b.txt': '10.1.0.0/16\n', 'c.txt': '192.0.2.1\n' })
  const route = (name: string) => ({
    path: '/',
    respond: { body: name },
    when: { 'client.ip': `file:${join(folder, `${name}.txt`)}` }
  })
  await t.rejects(loadConfig({ routes: [route('a'), route('b')] }, {}), {
    message: /matches the same requests/
  })
  const app = await gateway(t, { routes: [route('a'), route('c'), { path: '/', respond: { body: 'all' } }] })
  for (const [remoteAddress, body] of [
    ['10.9.9.9', 'a'],
    ['192.0.2.1', 'c'],
    ['192.0.2.2', 'all']
  ] as const)
    t.equal((await app.inject({ url: '/', remoteAddress })).body, body, remoteAddress)
})

t.test('trusts, exempts and splits by files', async (t) => {
  const folder = t.testdir({ 'proxies.txt': 'loopback\n', 'office.txt': '203.0.113.0/24\n' })
  const [proxies, office] = ['proxies', 'office'].map((name) => `file:${join(folder, `${name}.txt`)}`)
  const target = (name: string) => upstream(t, (_request, response) => response.end(name))
  const split = [
    { upstream: await target('office'), when: { 'client.ip': [office] } },
    { upstream: await target('others') }
  ]
  const app = await gateway(t, {
    trustedProxies: [proxies],
    routes: [
      { path: '/split', proxy: { split } },
      { path: '/private', respond, auth: { apiKeys: keys, exempt: [office] } }
    ]
  })
  for (const [url, address, status, body] of [
    ['/split', '203.0.113.7', 200, /^office$/],
    ['/split', '8.8.8.8', 200, /^others$/],
    ['/private', '203.0.113.7', 200, /fine/],
    ['/private', '8.8.8.8', 401, /SP_ERR/]
  ] as const) {
    const answer = await app.inject({ url, headers: { 'x-forwarded-for': address } })
    t.equal(answer.statusCode, status, `${url} ${address}`)
    t.match(answer.body, body)
  }
})
