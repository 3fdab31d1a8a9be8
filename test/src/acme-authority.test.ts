import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { certificateId } from '../../plugins/tls/acme/renewal-info.ts'
import { redactedConfig } from '../../src/config/redact.ts'
import { loadConfig } from '../../src/index.ts'
import {
  at,
  failed,
  issued,
  renewed,
  routes,
  secure,
  serialOf,
  shown,
  stage,
  standIn,
  withRenewals
} from '../acme.ts'
import { clock } from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'

const skip = withoutPebble
const server = (skip === false ? await pebble(t) : undefined) as Pebble

const hmacKey = Buffer.alloc(32, 'a key of the authority').toString('base64url')

t.test('binds the account to an external one', { skip }, async (t) => {
  const bound = await pebble(t, { externalAccounts: { 'key 1': hmacKey } })
  t.test('the CA requires one', async (t) => {
    const { line } = await stage(t, bound)
    t.match(await line(failed), { cause: /^externalAccountRequired: / })
  })
  t.test('with another key', async (t) => {
    const other = Buffer.alloc(32, 'another').toString('base64url')
    const { line, lines } = await stage(t, bound, {
      acme: { externalAccount: { keyId: 'key 1', hmacKey: other } }
    })
    t.match(await line(failed), { cause: /^\w+: / })
    t.notMatch(JSON.stringify(lines), other)
  })
  t.test('with its key', async (t) => {
    const { line, lines, port } = await stage(t, bound, {
      acme: { externalAccount: { keyId: 'key 1', hmacKey }, email: 'ops@example.com' }
    })
    await line(issued)
    t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
    t.notMatch(JSON.stringify(lines), hmacKey)
  })
})

t.test('orders a profile that the CA offers, and no other', { skip }, async (t) => {
  const ca = await withRenewals(t, server)
  const first = await stage(t, ca, { acme: { profile: 'shortlived' } })
  await first.line(issued)
  t.match(ca.orders, [{ profile: 'shortlived' }])
  await first.served.close()
  for (const [place, offered] of [
    [ca, '"classic", "shortlived"'],
    [server, 'it offers none']
  ] as const) {
    const { line, served } = await stage(t, place, { acme: { profile: 'tlsserver' } })
    t.match(await line(failed), {
      cause: `invalidProfile: expected a profile that the CA offers (${offered}), got "tlsserver"`
    })
    await served.close()
  }
})

t.test('renews in the window that the CA suggests, which may move', { skip }, async (t) => {
  const ahead = clock(t)
  const ca = await withRenewals(t, server)
  const hour = 3_600_000
  const windowAt = (start: number, end: number) => ({
    status: 200,
    window: { start: new Date(start), end: new Date(end) },
    headers: { 'retry-after': '120' }
  })
  ca.answer = windowAt(Date.now() + 40 * 60_000, Date.now() + 41 * 60_000)
  const { port, line, lines, folder, file, served } = await stage(t, ca)
  await line(issued)
  const before = serialOf(await shown(port))
  const stored = async (): Promise<{ renewAt: number; checkAt: number }> =>
    JSON.parse(readFileSync(file('certificates/one.example.renewal'), 'utf8')) as never
  while (!readdirSync(file('certificates')).includes('one.example.renewal'))
    await new Promise((resolve) => setTimeout(resolve, 20))
  const { renewAt } = await stored()
  t.ok(renewAt >= Date.now() + 39 * 60_000 && renewAt <= Date.now() + 41 * 60_000)
  t.equal(ca.asked.length, 1, 'asked once, and again after its Retry-After')
  t.equal(ca.asked[0], await certificateId(readFileSync(file('certificates/one.example.pem'), 'utf8')))
  await served.close()
  // Another instance takes up what the first one has learned.
  const second = await stage(t, ca, { acme: { storage: folder } })
  t.equal(serialOf(await shown(second.port)), before)
  ca.answer = windowAt(Date.now() - hour, Date.now() - hour / 2)
  ca.orders.length = 0
  ahead(150)
  t.match(await second.line(({ msg }) => msg === 'certificate renewal moved forward by the CA'), {
    explanation: 'https://ca.example/why'
  })
  await second.line(renewed)
  ahead(-150)
  t.not(serialOf(await shown(second.port)), before)
  t.match(ca.orders, [{ replaces: ca.asked[0] }])
  t.equal(lines.filter(renewed).length, 0)
})

t.test('renews by the lifetime if the CA says nothing, or too late a moment', { skip }, async (t) => {
  for (const [name, answer] of [
    ['an error', { status: 500 }],
    ['no window', { status: 200 }],
    [
      'a window after the end',
      {
        status: 200,
        window: { start: new Date(Date.now() + 86_400_000), end: new Date(Date.now() + 90_000_000) }
      }
    ]
  ] as const)
    t.test(name, async (t) => {
      const ahead = clock(t)
      const ca = await withRenewals(t, server)
      ca.answer = answer
      const { line, lines, port } = await stage(t, ca)
      await line(issued)
      const before = serialOf(await shown(port))
      t.notOk(lines.some(failed))
      ahead(0.84 * 3600)
      await line(renewed)
      ahead(-0.84 * 3600)
      t.not(serialOf(await shown(port)), before)
    })
})

t.test('orders without naming the certificate that the CA has replaced already', { skip }, async (t) => {
  const ca = await withRenewals(t, server)
  ca.answer = {
    status: 200,
    window: { start: new Date(Date.now() - 60_000), end: new Date(Date.now() - 1000) }
  }
  ca.orders.length = 0
  const { line, served } = await stage(t, ca)
  await line(issued)
  ca.refuse = 'alreadyReplaced'
  await line(renewed)
  await served.close()
  t.equal(ca.orders[0]?.['replaces'], undefined)
  t.type(ca.orders[1]?.['replaces'], 'string')
  t.equal(ca.orders[2]?.['replaces'], undefined)
})

t.test('names a certificate as RFC 9773 does', async (t) => {
  // The example of its section 4.1.
  const pem = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----`
  t.equal(await certificateId(pem), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE')
})

t.test('asks a second CA while the first one fails or asks to wait', { skip }, async (t) => {
  const second = await pebble(t, { externalAccounts: { 'key 1': hmacKey }, httpPort: server.httpPort })
  const fallback = {
    directory: second.directory,
    ca: second.ca,
    externalAccount: { keyId: 'key 1', hmacKey }
  }
  for (const [name, status] of [
    ['limits the rate for hours', 429],
    ['is broken', 500]
  ] as const)
    t.test(name, async (t) => {
      const first = await standIn(t, (_request, response) => {
        response.writeHead(status, { 'retry-after': '7200', 'content-type': 'application/problem+json' })
        response.end('{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}')
      })
      const { line, port, file, app } = await stage(
        t,
        { ...first, httpPort: server.httpPort },
        { acme: { fallback } }
      )
      t.match(await line(failed), { cause: 'rateLimited: too many certificates', failures: 1 })
      t.match(await line(issued), { directory: second.directory })
      t.match(await secure(port, await second.root()), { status: 200 })
      t.equal(app.tls?.certificates()[0]?.trouble, undefined)
      t.same(
        // The lock of the issuance is removed a little later.
        readdirSync(file('certificates')).filter((name) => name.endsWith('.pem')),
        ['one.example.pem'],
        'it is stored with those of the first CA'
      )
    })
})

t.test('masks the key of an external account, whatever its first character', async (t) => {
  for (const secret of ['/abcdefghijk', hmacKey]) {
    const acme = {
      domains: ['one.example'],
      agreeToTerms: true,
      externalAccount: { keyId: 'one', hmacKey: secret }
    }
    const masked = redactedConfig(await loadConfig({ tls: { acme }, routes }, {}))
    t.match(masked, { tls: { acme: { externalAccount: { keyId: 'one', hmacKey: '***' } } } })
  }
})

t.test('reports an invalid external account', async (t) => {
  const place = { directory: 'https://ca.example/dir', ca: '', httpPort: 0 }
  const { ca: _ca, ...options } = at(place) as { ca: string }
  const cases: [object, RegExp][] = [
    [{ keyId: 'one' }, /externalAccount/],
    [
      { keyId: 'one', hmacKey: 'not a key' },
      /externalAccount\.hmacKey: expected the key in base64url.*, got a value that is not shown/
    ],
    [{ keyId: 'one', hmackey: hmacKey }, /hmackey/]
  ]
  for (const [externalAccount, expected] of cases)
    await t.rejects(loadConfig({ tls: { acme: { ...options, externalAccount } }, routes }, {}), {
      message: expected
    })
})
