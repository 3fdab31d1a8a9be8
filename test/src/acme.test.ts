import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer as createSecure, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type PeerCertificate } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { pace } from '../../plugins/tls/acme/pace.ts'
import { buildGateway, loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import {
  ask,
  bodyOf,
  clock,
  type Listening,
  listening,
  type ReadableLog,
  readableLog,
  upstream
} from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'
import { cli, redis, withoutRedis } from '../redis.ts'

const skip = withoutPebble

/** How a gateway of these tests differs from the next. */
interface Said {
  readonly acme?: object
  readonly tls?: object
  readonly more?: object
  readonly port?: number
}

interface Stage extends Listening, ReadableLog {
  readonly folder: string
  /** Where the things of its authority are. */
  file(name: string): string
}

/** Where an authority is, and where it looks for answers. */
type Place = Pick<Pebble, 'directory' | 'ca' | 'httpPort'>

const routes = [{ path: '/*', respond: { body: 'in' } }]

/** What is said of an authority by all. */
const at = ({ directory, ca }: Place): object => ({
  directory,
  ca,
  agreeToTerms: true,
  domains: ['one.example']
})

/** Makes a folder, which goes with the test; one test may have several. */
function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-acme-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Lets a gateway listen where the authority looks for it; minutes pass in moments. */
async function stage(
  t: Test,
  server: Place,
  { acme = {}, tls = { redirectFrom: server.httpPort }, more = {}, port = 0 }: Said = {}
): Promise<Stage> {
  quickly(t)
  const folder = emptyFolder(t)
  const log = readableLog()
  const config = { tls: { acme: { ...at(server), storage: folder, ...acme }, ...tls }, routes, ...more }
  const gateway = await listening(t, config, { log: log.log, port })
  const place = server.directory.slice('https://'.length).replaceAll(/[^\w.-]+/g, '-')
  return { ...gateway, ...log, folder, file: (name) => join(folder, place, name) }
}

function quickly(t: Test): void {
  for (const [name, value] of Object.entries({ look: 50, lookEagerly: 50, firstWait: 100, ask: 50 }))
    t.intercept(pace, name as 'look', { value })
}

const issued = ({ msg }: Record<string, unknown>): boolean => msg === 'a certificate was issued'
const renewed = ({ msg }: Record<string, unknown>): boolean => msg === 'a certificate was renewed'
const takenUp = ({ msg }: Record<string, unknown>): boolean => msg === 'a certificate was taken up'
const failed = ({ msg }: Record<string, unknown>): boolean => /^a certificate could not be/.test(String(msg))

/** Shakes hands, and tells the certificate that is shown, or the code of what went wrong. */
function shown(port: number, options: object = {}): Promise<PeerCertificate | string> {
  return new Promise((resolve) => {
    const socket = connect(
      { host: '127.0.0.1', port, servername: 'one.example', rejectUnauthorized: false, ...options },
      () => {
        resolve(socket.getPeerCertificate())
        socket.destroy()
      }
    )
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

/** Starts what answers in the place of an authority. */
async function standIn(t: Test, listener: RequestListener): Promise<Place> {
  const ca = authority(t)
  const own = ca.issue('/CN=stand-in', 'DNS:localhost')
  const server = createSecure({ cert: own.cert, key: own.key }, listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { directory: `https://localhost:${port}/dir`, ca: ca.certFile, httpPort: 0 }
}

const serialOf = (certificate: PeerCertificate | string): string =>
  typeof certificate === 'string' ? certificate : certificate.serialNumber

/** Asks over TLS on a connection of its own, which is verified. */
function secure(port: number, ca: string, path = '/'): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, ca, servername: 'one.example', agent: false }, (response) => {
      bodyOf(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, text: body.toString() }),
        reject
      )
    })
      .on('error', reject)
      .end()
  })
}

for (const way of ['http-01', 'tls-alpn-01'])
  t.test(`has a certificate by itself in the first start (${way})`, { skip }, async (t) => {
    const server = await pebble(t)
    const plain = way === 'http-01'
    const { port, file, line, app, served } = await stage(t, server, {
      ...(plain ? {} : { tls: {}, port: server.tlsPort }),
      acme: { email: 'ops@example.com' }
    })
    t.match(await shown(port), /ALERT_HANDSHAKE_FAILURE$/, 'until then there is nothing but an alert')
    t.match(app.edge?.certificates(), [{ names: ['one.example'], ends: 0, from: 'acme' }])
    const told = await line(issued)
    t.match(told, { level: 'info', names: ['one.example'], ends: /^2/ })
    t.notMatch(JSON.stringify(told), /PRIVATE|BEGIN/)
    const root = await server.root()
    t.match(await secure(port, root), { status: 200, text: 'in' })
    t.match(
      await shown(port, { servername: '' }),
      { subjectaltname: 'DNS:one.example' },
      'for who names no host, too'
    )
    const ready = JSON.parse((await secure(port, root, '/-/ready?verbose')).text) as {
      certificates: object[]
    }
    t.match(ready.certificates, [{ names: ['one.example'], ends: /^2.*Z$/, from: 'acme' }])
    t.type(await shown(port, { ALPNProtocols: ['acme-tls/1'] }), 'string', 'nobody is asked about any more')
    await served.close()
    t.equal(statSync(file('certificates/one.example.pem')).mode & 0o777, 0o600)
    t.equal(statSync(file('certificates')).mode & 0o777, 0o700)
    t.match(
      readFileSync(file('certificates/one.example.pem'), 'utf8'),
      /BEGIN PRIVATE KEY(.|\n)*BEGIN CERTIFICATE/
    )
    t.same(readdirSync(file('challenges')), [], 'the answer is gone')
    t.same(
      readdirSync(file('certificates')),
      ['one.example.pem'],
      'and so are the lock and all that was under way'
    )
  })

t.test('a certificate from before is there at once, whether or not the authority is', { skip }, async (t) => {
  const server = await pebble(t)
  const first = await stage(t, server)
  await first.line(issued)
  const serial = serialOf(await shown(first.port))
  await first.served.close()
  await server.kill()
  const second = await stage(t, server, { acme: { storage: first.folder } })
  t.equal(serialOf(await shown(second.port)), serial)
  t.same(second.lines, [])
})

t.test('renews while requests flow, and no request notices', { skip }, async (t) => {
  const ahead = clock(t)
  const server = await pebble(t)
  const { port, line, lines } = await stage(t, server)
  await line(issued)
  const before = serialOf(await shown(port))
  const root = await server.root()
  let flowing = true
  let answered = 0
  const flow = async (): Promise<void> => {
    while (flowing) {
      const { status, text } = await secure(port, root)
      if (status !== 200 || text !== 'in') throw new Error(`answered ${status}`)
      answered++
    }
  }
  const flows = [flow(), flow(), flow()]
  ahead(0.6 * 3600)
  t.notOk(lines.some(renewed), 'not before its time')
  ahead(0.07 * 3600)
  await line(renewed)
  ahead(-0.67 * 3600)
  t.not(serialOf(await shown(port)), before)
  flowing = false
  await Promise.all(flows)
  t.ok(answered > 0)
  t.equal(lines.filter(renewed).length, 1)
})

t.test(
  'a challenge that fails leaves the old certificate, is told of, and is tried again later and later',
  { skip },
  async (t) => {
    const ahead = clock(t)
    const server = await pebble(t)
    const { port, line, lines, app, file, served } = await stage(t, server, {
      acme: { challenges: ['http-01'] }
    })
    await line(issued)
    const before = serialOf(await shown(port))
    await server.dns('add-a', { host: 'one.example', addresses: ['127.0.0.9'] })
    ahead(0.67 * 3600)
    const told = await line((each) => failed(each) && each['failures'] === 3)
    t.match(told, { level: 'error', names: ['one.example'], cause: /^connection: /, next: /^2/ })
    t.equal(serialOf(await shown(port)), before)
    const waits = lines.filter(failed).map(({ time, next }) => Date.parse(String(next)) - Number(time))
    t.ok((waits[2] ?? 0) > (waits[0] ?? 0), `${waits.join()}`)
    const [state] = app.edge?.certificates() ?? []
    t.match(state?.trouble, /^could not be had \w+( times)? \(connection\); tried again at 2/)
    t.notMatch(state?.trouble, /127\.0/)
    t.match(JSON.parse(readFileSync(file('certificates/one.example.trouble'), 'utf8')), {
      kind: 'connection'
    })
    await server.dns('clear-a', { host: 'one.example' })
    await line(renewed)
    ahead(-0.67 * 3600)
    t.not(serialOf(await shown(port)), before)
    t.equal(app.edge?.certificates()[0]?.trouble, undefined)
    await served.close()
    t.same(readdirSync(file('certificates')), ['one.example.pem'])
  }
)

t.test('an authority that is down is tried again until it is back', { skip }, async (t) => {
  const server = await pebble(t)
  await server.kill()
  const { port, line, app } = await stage(t, server)
  t.match(await line(failed), { cause: /ECONNREFUSED/ })
  t.match(app.edge?.certificates(), [{ ends: 0, trouble: /\(the authority is not available\)/ }])
  await server.start()
  await line(issued)
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
  await server.kill()
  await server.start()
  t.pass('and has forgotten its accounts')
})

t.test('an account that the authority has forgotten is opened anew', { skip }, async (t) => {
  const ahead = clock(t)
  const server = await pebble(t)
  const { line } = await stage(t, server)
  await line(issued)
  await server.kill()
  await server.start()
  ahead(0.67 * 3600)
  t.match(await line(failed), { cause: /^accountDoesNotExist: / })
  await line(renewed)
  ahead(-0.67 * 3600)
})

t.test('an authority that wants to be left alone is left alone', { skip }, async (t) => {
  const busy = await standIn(t, (_request, response) => {
    response
      .writeHead(429, { 'retry-after': '7200', 'content-type': 'application/problem+json' })
      .end('{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}')
  })
  const { line } = await stage(t, busy)
  const told = await line(failed)
  t.match(told, { cause: 'rateLimited: too many certificates', failures: 1 })
  t.ok(Date.parse(String(told['next'])) - Number(told['time']) >= 7_190_000, 'for as long as it said')
})

t.test('takes no notice of nonces that are refused, even half of them', { skip }, async (t) => {
  const server = await pebble(t, { nonceReject: 50 })
  const domains = ['a.example', 'b.example', 'c.example', 'd.example', 'e.example']
  const { line, lines } = await stage(t, server, { acme: { domains } })
  for (const name of domains) await line((each) => issued(each) && String(each['names']) === name)
  t.notOk(lines.some(failed))
})

t.test('several names, several accounts', { skip }, async (t) => {
  const server = await pebble(t)
  const folder = emptyFolder(t)
  const { port, line, app } = await stage(t, server, {
    tls: {
      redirectFrom: server.httpPort,
      acme: [
        {
          ...at(server),
          storage: folder,
          email: 'a@example.com',
          domains: [['one.example', 'www.one.example']]
        },
        { ...at(server), storage: folder, email: 'b@example.com', domains: ['two.example'] }
      ]
    }
  })
  await line((each) => issued(each) && String(each['names']) === 'one.example,www.one.example')
  await line((each) => issued(each) && String(each['names']) === 'two.example')
  for (const [servername, names] of [
    ['www.one.example', 'DNS:one.example, DNS:www.one.example'],
    ['two.example', 'DNS:two.example']
  ])
    t.match(await shown(port, { servername }), { subjectaltname: names })
  t.equal(app.edge?.certificates().length, 2)
  const [place = ''] = readdirSync(folder)
  t.equal(readdirSync(join(folder, place)).filter((name) => /^account-\w+\.json$/.test(name)).length, 2)
})

t.test('by default the hosts of the routes, except for what the files hold', { skip }, async (t) => {
  const server = await pebble(t)
  const files = authority(t).issue('/CN=files', 'DNS:two.example,DNS:*.wild.example')
  const { port, line, app } = await stage(t, server, {
    tls: {
      certificates: [{ cert: files.certFile, key: files.keyFile }],
      redirectFrom: server.httpPort,
      acme: { directory: server.directory, ca: server.ca, agreeToTerms: true, storage: emptyFolder(t) }
    },
    more: {
      routes: [
        { path: '/a', host: ['one.example', '127.0.0.1'], respond: { body: 'in' } },
        { path: '/b', host: ['two.example', 'a.wild.example', 'localhost'], respond: { body: 'in' } },
        { path: '/c', respond: { body: 'in' } }
      ]
    }
  })
  t.match(await line(issued), { names: ['one.example'] })
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
  for (const servername of ['two.example', 'a.wild.example', 'nobody.example'])
    t.match(await shown(port, { servername }), { subject: { CN: 'files' } }, servername)
  t.match(
    app.edge?.certificates().map(({ from }) => from),
    ['files', 'acme']
  )
})

t.test('a wildcard is proven by the DNS, through an extension', { skip }, async (t) => {
  const server = await pebble(t)
  const seen: string[] = []
  const url = await upstream(t, (request, response) => {
    void bodyOf(request).then(async (body) => {
      const { name, value } = JSON.parse(body.toString()) as { name: string; value: string }
      seen.push(`${request.method} ${name} ${request.headers.authorization}`)
      const host = `${name}.`
      await (request.method === 'POST'
        ? server.dns('set-txt', { host, value })
        : server.dns('clear-txt', { host }))
      response.end()
    })
  })
  const module = fileURLToPath(new URL('../../examples/extensions/dns-hook.ts', import.meta.url))
  const { port, line } = await stage(t, server, {
    acme: { domains: ['*.wild.example'] },
    tls: {},
    more: { extensions: [{ module }], dnsHook: { url, token: 'sesame' } }
  })
  await line(issued)
  t.match(await shown(port, { servername: 'a.wild.example' }), { subjectaltname: 'DNS:*.wild.example' })
  t.same(seen, [
    'POST _acme-challenge.wild.example Bearer sesame',
    'DELETE _acme-challenge.wild.example Bearer sesame'
  ])
})

t.test('a stored certificate that can not be used is ordered anew, and said', { skip }, async (t) => {
  const server = await pebble(t)
  const first = await stage(t, server)
  await first.line(issued)
  await first.served.close()
  writeFileSync(first.file('certificates/one.example.pem'), 'no certificate')
  const { port, line, lines } = await stage(t, server, { acme: { storage: first.folder } })
  await line(issued)
  t.match(lines[0], { level: 'warn', names: ['one.example'], msg: /can not be used, and is ordered anew$/ })
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
})

t.test('a lock of another is waited for; one that was left behind is not', { skip }, async (t) => {
  const server = await pebble(t)
  const first = await stage(t, server)
  await first.line(issued)
  await first.served.close()
  const lock = first.file('certificates/two.example.lock')
  writeFileSync(lock, 'another')
  const { app, line, lines } = await stage(t, server, {
    acme: { storage: first.folder, domains: ['two.example', 'three.example'] }
  })
  await line((each) => issued(each) && String(each['names']) === 'three.example')
  t.notOk(lines.some((each) => issued(each) && String(each['names']) === 'two.example'))
  t.match(app.edge?.certificates()[0], { names: ['two.example'], ends: 0 })
  utimesSync(lock, 1, 1)
  await line((each) => issued(each) && String(each['names']) === 'two.example')
})

t.test('stops in the middle of an order without a trace', { skip }, async (t) => {
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const silent = await standIn(t, () => ask())
  const { served, lines, file } = await stage(t, silent)
  await asked
  t.same(readdirSync(file('certificates')), ['one.example.lock'])
  await served.close()
  t.same(readdirSync(file('certificates')), [])
  t.same(lines, [])
})

for (const [where, reason] of [
  ['a folder', skip],
  ['the store', skip || withoutRedis]
] as const)
  t.test(
    `instances that share ${where} order once, answer for each other, and take up what another has`,
    { skip: reason },
    async (t) => {
      const ahead = clock(t)
      const server = await pebble(t)
      const shared = where === 'the store'
      const cache = shared ? await redis(t) : undefined
      const acme = { storage: shared ? false : t.testdir() }
      const more = cache === undefined ? {} : { store: { redis: cache.url } }
      // The only one that the authority reaches.
      const door = await stage(t, server, {
        acme: { ...acme, domains: ['door.example'] },
        port: server.tlsPort,
        more
      })
      await door.line(issued)
      for (const [name, challenge] of [
        ['one.example', 'http-01'],
        ['two.example', 'tls-alpn-01']
      ]) {
        const said = {
          acme: { ...acme, domains: [name], challenges: [challenge] },
          tls: { redirectFrom: 0 },
          more
        }
        const [one, two] = await Promise.all([stage(t, server, said), stage(t, server, said)])
        const both = [one, two]
        await Promise.all(both.map(({ line }) => line((each) => issued(each) || takenUp(each))))
        const lines = (): Record<string, unknown>[] => both.flatMap((each) => each.lines)
        t.equal(lines().filter(issued).length, 1, `${challenge}: one has ordered`)
        const serials = (): Promise<string[]> =>
          Promise.all(both.map(async ({ port }) => serialOf(await shown(port, { servername: name }))))
        const before = await serials()
        t.equal(before[0], before[1])
        ahead(0.67 * 3600)
        const due = lines().length
        await Promise.any(both.map(({ line }) => line(renewed)))
        ahead(-0.67 * 3600)
        await Promise.all(
          both.map(({ line, lines }) =>
            line((each) => lines.indexOf(each) > 0 && (renewed(each) || takenUp(each)))
          )
        )
        t.equal(lines().filter(renewed).length, 1, `${challenge}: one has renewed`)
        t.equal(lines().length, due + 2)
        const after = await serials()
        t.equal(after[0], after[1])
        t.not(after[0], before[0])
        await Promise.all(both.map(({ served }) => served.close()))
      }
      if (cache === undefined) return
      const keys = cli(cache.port, 'keys', 'sallyport:acme:*').trim().split('\n')
      t.ok(keys.some((key) => key.endsWith('certificates/one.example.pem')))
      t.notOk(
        keys.some((key) => /lock$|challenges/.test(key)),
        'locks and answers are gone'
      )
    }
  )

t.test('what can never be had is said before anything starts', { skip }, async (t) => {
  const acme = { agreeToTerms: true, domains: ['one.example'], storage: emptyFolder(t) }
  const broken = join(t.testdir({ 'x.pem': 'no pem' }), 'x.pem')
  const cases: [object, RegExp][] = [
    [{}, /^(\S+ )?tls: There is no certificate; say "certificates", "acme", or both$/],
    [
      { acme: { domains: ['a.example'] } },
      /tls\.acme\.agreeToTerms: No authority issues certificates unless/
    ],
    [{ acme: [acme, { ...acme, agreeToTerms: false }] }, /tls\.acme\[1\]\.agreeToTerms: No authority/],
    [{ acme: { ...acme, ca: broken } }, /tls\.acme\.ca: The file .* holds no certificate as PEM/],
    [
      { acme: { ...acme, directory: 'http://plain' } },
      /tls\.acme\.directory: .* it takes "production" or "staging"/
    ],
    [{ acme: { ...acme, domains: ['a b'] } }, /tls\.acme\.domains\[0\]: .* it takes a host such as/],
    [
      { acme: { ...acme, domain: ['a.example'] } },
      /tls\.acme\.domain: Unknown word "domain"; did you mean "domains"\?/
    ],
    [
      { acme: { ...acme, domains: ['*.a.example'], challenges: ['http-01'] } },
      /tls\.acme\.domains\[0\]: "\*\.a\.example" takes the challenge dns-01, which "challenges" leaves out/
    ]
  ]
  for (const [tls, expected] of cases) await t.rejects(loadConfig({ tls, routes }, {}), { message: expected })
  for (const [said, expected] of [
    [{ ...acme, domains: ['*.a.example'] }, /"\*\.a\.example" takes the challenge dns-01, and no extension/],
    [{ ...acme, domains: false }, /has no names to order certificates for: say "domains"/]
  ] as const)
    await t.rejects(buildGateway(await loadConfig({ tls: { acme: said }, routes }, {})), {
      message: expected
    })
})

t.test('a plain port asks nobody about what is no challenge', { skip }, async (t) => {
  const server = await pebble(t)
  const { served, port, line } = await stage(t, server, { tls: { redirectFrom: server.httpPort } })
  await line(issued)
  for (const path of [
    '/',
    '/.well-known/acme-challenge/',
    '/.well-known/acme-challenge/no-such-token-anywhere',
    '/.well-known/acme-challenge/..%2f..%2faccount'
  ]) {
    const answer = await ask(`http://127.0.0.1:${served.redirects}${path}`)
    t.equal(answer.status, 308)
    t.equal(answer.headers.get('location'), `https://127.0.0.1:${port}${path}`)
  }
})
