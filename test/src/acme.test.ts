import { readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { failed, issued, renewed, routes, secure, serialOf, shown, stage, standIn } from '../acme.ts'
import { authority } from '../certificates.ts'
import { ask, clock, listening } from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'

const skip = withoutPebble

// One authority for all of them; each has a storage, and so an account, of its own.
const server = (skip === false ? await pebble(t) : undefined) as Pebble

const loaded = (): boolean =>
  Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('/acme-client/'))

t.test('loads acme-client only when a certificate is ordered', { skip }, async (t) => {
  const files = authority(t).issue('/CN=files', 'DNS:one.example')
  const certificates = [{ cert: files.certFile, key: files.keyFile }]
  const { port, app } = await listening(t, { tls: { certificates }, routes })
  t.match(await shown(port), { subject: { CN: 'files' } })
  t.match(app.tls?.certificates(), [
    { names: ['one.example'], ends: Number, from: 'files', trouble: undefined }
  ])
  t.equal(loaded(), false)
  const { line } = await stage(t, server)
  await line(issued)
  t.equal(loaded(), true)
})

for (const way of ['http-01', 'tls-alpn-01', 'tls-alpn-01, without HTTP/2'])
  t.test(`issues a certificate at the first start (${way})`, { skip }, async (t) => {
    const plain = way === 'http-01'
    const { port, file, line, app, served } = await stage(t, server, {
      ...(plain ? {} : { tls: { http2: way === 'tls-alpn-01' }, port: server.tlsPort }),
      acme: { email: 'ops@example.com' }
    })
    t.match(await shown(port), /ALERT_HANDSHAKE_FAILURE$/, 'until then there is nothing but an alert')
    t.match(app.tls?.certificates(), [{ names: ['one.example'], ends: 0, from: 'acme' }])
    const told = await line(issued)
    t.match(told, { level: 'info', names: ['one.example'], ends: /^2/ })
    t.notMatch(JSON.stringify(told), /PRIVATE|BEGIN/)
    const root = await server.root()
    t.match(await secure(port, root), { status: 200, text: 'in' })
    t.match(
      await shown(port, { servername: '' }),
      { subjectaltname: 'DNS:one.example' },
      'to a client without SNI, too'
    )
    const ready = JSON.parse((await secure(port, root, '/-/ready?verbose')).text) as {
      certificates: object[]
    }
    t.match(ready.certificates, [{ names: ['one.example'], ends: /^2.*Z$/, from: 'acme' }])
    t.type(
      await shown(port, { ALPNProtocols: ['acme-tls/1'] }),
      'string',
      'the challenge certificate is gone'
    )
    t.type(
      await shown(port, { ALPNProtocols: ['acme-tls/1'], servername: '../certificates/one.example' }),
      'string',
      'nor is there a way to other files'
    )
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

t.test('serves a stored certificate at once, even if the CA is unreachable', { skip }, async (t) => {
  const first = await stage(t, server)
  await first.line(issued)
  const serial = serialOf(await shown(first.port))
  await first.served.close()
  await server.kill()
  t.teardown(() => server.start())
  const second = await stage(t, server, { acme: { storage: first.folder } })
  t.equal(serialOf(await shown(second.port)), serial)
  t.same(second.lines, [])
})

t.test('renews without interrupting requests', { skip }, async (t) => {
  const ahead = clock(t)
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
  const flows = flow()
  ahead(0.6 * 3600)
  t.notOk(lines.some(renewed), 'not before its time')
  ahead(0.07 * 3600)
  await line(renewed)
  ahead(-0.67 * 3600)
  t.not(serialOf(await shown(port)), before)
  flowing = false
  await flows
  t.ok(answered > 0)
  t.equal(lines.filter(renewed).length, 1)
})

t.test(
  'keeps the old certificate if a challenge fails, logs it, and retries with backoff',
  { skip },
  async (t) => {
    const ahead = clock(t)
    const first = await stage(t, server, { acme: { email: 'first@example.com' } })
    await first.line(issued)
    await first.served.close()
    // Another account: now and then pebble takes a name as proven for the one that has proven it before.
    const { port, line, lines, app, served } = await stage(t, server, {
      acme: { challenges: ['http-01'], storage: first.folder, email: 'second@example.com' }
    })
    const { file } = first
    const before = serialOf(await shown(port))
    await server.dns('add-a', { host: 'one.example', addresses: ['127.0.0.9'] })
    ahead(0.67 * 3600)
    const told = await line((each) => failed(each) && each['failures'] === 3)
    t.match(told, { level: 'error', names: ['one.example'], cause: /^connection: /, next: /^2/ })
    t.equal(serialOf(await shown(port)), before)
    const waits = lines.filter(failed).map(({ time, next }) => Date.parse(String(next)) - Number(time))
    t.ok((waits[2] ?? 0) > (waits[0] ?? 0), `${waits.join()}`)
    const [state] = app.tls?.certificates() ?? []
    t.match(state?.trouble, /^could not be had \w+( times)? \(connection\); tried again at 2/)
    t.notMatch(state?.trouble, /127\.0/)
    t.match(JSON.parse(readFileSync(file('certificates/one.example.trouble'), 'utf8')), {
      kind: 'connection'
    })
    await server.dns('clear-a', { host: 'one.example' })
    await line(renewed)
    ahead(-0.67 * 3600)
    t.not(serialOf(await shown(port)), before)
    t.equal(app.tls?.certificates()[0]?.trouble, undefined)
    await served.close()
    t.same(readdirSync(file('certificates')), ['one.example.pem'])
  }
)

t.test('retries while the CA is down', { skip }, async (t) => {
  await server.kill()
  const { port, line, app } = await stage(t, server)
  t.match(await line(failed), { cause: /ECONNREFUSED/ })
  t.match(app.tls?.certificates(), [{ ends: 0, trouble: /\(the authority is not available\)/ }])
  await server.start()
  await line(issued)
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
})

t.test('registers a new account if the CA does not know the stored one', { skip }, async (t) => {
  const ahead = clock(t)
  const { line } = await stage(t, server)
  await line(issued)
  await server.kill()
  await server.start()
  ahead(0.67 * 3600)
  t.match(await line(failed), { cause: /^accountDoesNotExist: / })
  await line(renewed)
  ahead(-0.67 * 3600)
})

t.test('waits for the Retry-After of the CA', { skip }, async (t) => {
  const busy = await standIn(t, (_request, response) => {
    response
      .writeHead(429, { 'retry-after': '7200', 'content-type': 'application/problem+json' })
      .end('{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}')
  })
  const { line } = await stage(t, busy)
  const told = await line(failed)
  t.match(told, { cause: 'rateLimited: too many certificates', failures: 1 })
  t.ok(Date.parse(String(told['next'])) - Number(told['time']) >= 7_190_000, 'for its Retry-After')
})

t.test('aborts an order on close without leftovers', { skip }, async (t) => {
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const silent = await standIn(t, () => ask())
  const { served, lines, file } = await stage(t, silent)
  await asked
  t.same(readdirSync(file('certificates')), ['one.example.lock'])
  await served.close()
  t.same(readdirSync(file('certificates')), [])
  t.same(lines, [])
})

t.test('the plain port reads no storage for paths that are no challenge', { skip }, async (t) => {
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
