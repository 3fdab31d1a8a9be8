import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { exportJWK, type JWK, SignJWT } from 'jose'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import {
  ask,
  certificate,
  clock,
  echo,
  gateway,
  listening,
  noOpenssl,
  readableLog,
  type Scope,
  type Seen,
  sallyport,
  upstream
} from '../helpers.ts'

const tokens = JSON.parse(
  readFileSync(new URL('../cases/jwt/tokens.json', import.meta.url), 'utf8')
) as Record<string, string>
const keyFile = new URL('../cases/jwt/jwks.json', import.meta.url).pathname

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const jwt = {
  issuer: 'https://issuer.test',
  audience: 'gateway',
  keys: keyFile,
  algorithms: ['RS256', 'ES256']
}

t.test('accepts valid tokens and refuses about forty kinds of attack', async (t) => {
  const app = await gateway(t, {
    auth: { jwt },
    routes: [
      { path: '/a', respond: { body: 'hello' } },
      { path: '/admin', auth: { require: { roles: ['admin'] } }, respond: { body: 'hello' } }
    ]
  })
  // Signed rightly, with roles that only look like the one that is wanted.
  const rightButNoAdmin = ['good', 'good_aud_array', 'roles_string_prefix', 'roles_substring', 'proto_claim']
  for (const [name, token] of Object.entries(tokens))
    t.test(name, async (t) => {
      const right = rightButNoAdmin.includes(name)
      const answer = await app.inject({ url: '/a', headers: bearer(token) })
      t.equal(answer.statusCode, right ? 200 : 401)
      if (!right) {
        t.match(answer.headers['www-authenticate'], /^Bearer error="invalid_token"$/)
        t.notMatch(answer.body, token.slice(0, 40), 'the token is not in the response')
      }
      t.equal((await app.inject({ url: '/admin', headers: bearer(token) })).statusCode, right ? 403 : 401)
    })
})

/** Makes an issuer of tokens: keys that may change, and a server for them that counts requests. */
interface Issuer {
  readonly url: string
  asked: number
  /** Brings a new key, beside the others or in their place, with or without an id. */
  rotate(how?: { beside?: boolean; nameless?: boolean }): Promise<void>
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
  answer: 'keys' | 'failure' | 'garbage' | 'none' | 'too much'
}

const named = (kid: string | undefined): { kid?: string } => (kid === undefined ? {} : { kid })

async function issuer(t: Scope): Promise<Issuer> {
  let count = 0
  let kid: string | undefined
  let keys: JWK[] = []
  let pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const made: Issuer = {
    url: '',
    asked: 0,
    answer: 'keys',
    async rotate({ beside = false, nameless = false } = {}) {
      pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      kid = nameless ? undefined : `key ${count++}`
      const key = { ...(await exportJWK(pair.publicKey)), ...named(kid), alg: 'ES256', use: 'sig' }
      keys = beside ? [key, ...keys] : [key]
    },
    sign: (claims = {}, header = {}) =>
      new SignJWT({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
        .setProtectedHeader({ alg: 'ES256', ...named(kid), ...header })
        .sign(pair.privateKey)
  }
  await made.rotate()
  const url = await upstream(t, (_request, response) => {
    made.asked++
    if (made.answer === 'failure') response.statusCode = 500
    response.end(
      {
        garbage: '{"keys": 1',
        none: '{"keys": []}',
        'too much': `{"keys": [], "more": "${'x'.repeat(1024 * 1024)}"}`,
        keys: JSON.stringify({ keys }),
        failure: ''
      }[made.answer]
    )
  })
  return Object.assign(made, { url: `${url}/jwks.json` })
}

const status = async (app: FastifyInstance, token: string): Promise<number> =>
  (await app.inject({ url: '/a', headers: bearer(token) })).statusCode

const open = { path: '/a', respond: { body: 'hello' } }

t.test('fetches the keys once for concurrent requests, and caches them', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  t.equal(from.asked, 0, 'no keys are fetched before the first token')
  const many = await Promise.all(Array.from({ length: 50 }, async (_, i) => from.sign({ sub: `user ${i}` })))
  const statuses = await Promise.all(many.map((token) => status(app, token)))
  t.ok(statuses.every((each) => each === 200))
  t.equal(from.asked, 1)
})

t.test('fetches the keys again for an unknown key id, with a cool-down', async (t) => {
  const from = await issuer(t)
  const pass = clock(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  const before = await from.sign()
  t.equal(await status(app, before), 200)
  pass(60)
  await from.rotate()
  const after = await Promise.all(Array.from({ length: 20 }, (_, i) => from.sign({ sub: `user ${i}` })))
  t.same([...new Set(await Promise.all(after.map((token) => status(app, token))))], [200])
  t.equal(from.asked, 2)
  t.equal(
    await status(app, before),
    401,
    'what the old key signed counts no more, though it was right before'
  )
  await from.rotate()
  const early = await from.sign()
  t.equal(await status(app, early), 401, 'a stranger who makes up keys does not make us ask')
  t.equal(from.asked, 2)
  pass(31)
  t.equal(await status(app, early), 200)
})

t.test('accepts a new key on first use', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  t.equal(await status(app, await from.sign()), 200)
  await from.rotate()
  t.equal(await status(app, await from.sign()), 200)
  t.equal(from.asked, 2)
})

t.test('refuses tokens of a revoked key although no new token arrives', async (t) => {
  for (const [minutes, first] of [
    [11, 200],
    [21, 401]
  ] as const)
    t.test(`${minutes} minutes later`, async (t) => {
      const from = await issuer(t)
      const pass = clock(t)
      const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
      const token = await from.sign()
      for (let i = 0; i < 3; i++) t.equal(await status(app, token), 200)
      await from.rotate()
      pass(minutes * 60)
      t.equal(await status(app, token), first, 'what is known for long is looked at before it counts')
      while ((await status(app, token)) === 200) await wait(10)
      t.equal(await status(app, token), 401)
    })
})

t.test('refuses keys from a provider with a certificate for another name', { skip: noOpenssl }, async (t) => {
  const { key, cert } = certificate(t)
  const from = await issuer(t)
  const server = createServer({ key, cert }, (_request, response) => {
    from.asked++
    response.end('{"keys": []}')
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const jwks = `https://localhost:${(server.address() as AddressInfo).port}/jwks.json`
  const app = await gateway(t, { auth: { jwt: { jwks } }, routes: [open] })
  t.equal(await status(app, await from.sign()), 503)
  t.equal(from.asked, 0)
})

t.test('tries every matching key for a token without a key id', async (t) => {
  const from = await issuer(t)
  await from.rotate({ nameless: true })
  const first = await from.sign()
  await from.rotate({ nameless: true, beside: true })
  const second = await from.sign()
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  t.equal(await status(app, first), 200)
  t.equal(await status(app, second), 200)
  await from.rotate({ nameless: true })
  t.equal(await status(app, await from.sign()), 200, 'a new key without a name is asked for')
  t.equal(from.asked, 2)
  t.equal(await status(app, await from.sign({ exp: 1 })), 401)
  await from.rotate({ nameless: true })
  t.equal(await status(app, await from.sign()), 401, 'but not again within the pause')
  t.equal(from.asked, 2)
})

t.test('fetches the keys again if a key changes under the same id', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let key = { ...(await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)), kid: 'a' }
  const url = await upstream(t, (_request, response) => response.end(JSON.stringify({ keys: [key] })))
  const app = await gateway(t, { auth: { jwt: { jwks: url } }, routes: [open] })
  const token = await new SignJWT({ sub: 'ada', exp: 4_102_444_800 })
    .setProtectedHeader({ alg: 'ES256', kid: 'a' })
    .sign(privateKey)
  key = { ...(await exportJWK(publicKey)), kid: 'a' }
  t.equal(await status(app, token), 200)
  key = { ...(await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)), kid: 'a' }
})

const rsa = (modulusLength: number): { publicKey: KeyObject; privateKey: KeyObject } =>
  generateKeyPairSync('rsa', { modulusLength })

t.test('ignores weak and unreadable keys of a set', async (t) => {
  const right = rsa(2048)
  const jwk = await exportJWK(right.publicKey)
  const odd: Record<string, object> = {
    'a weak one': rsa(1024).publicKey.export({ format: 'jwk' }),
    'an unreadable one': { kty: 'RSA', n: '!!', e: 'AQAB' },
    'half of one': { kty: 'RSA', n: jwk.n },
    'another one': await exportJWK(rsa(2048).publicKey),
    'a secret': { kty: 'oct', k: 'AAAA' },
    'one of an unknown type': { kty: 'NEW' },
    'one for encryption': { ...(await exportJWK(rsa(2048).publicKey)), use: 'enc' }
  }
  const sign = (header: object): Promise<string> =>
    new SignJWT({ sub: 'ada', exp: 4_102_444_800 })
      .setProtectedHeader({ alg: 'RS256', ...header })
      .sign(right.privateKey)
  for (const [name, key] of Object.entries(odd))
    for (const kid of [{}, { kid: 'a' }])
      t.test(`${name}, ${JSON.stringify(kid)}`, async (t) => {
        const found = { ...jwk, ...kid }
        for (const keys of [
          [key, found],
          [found, key],
          [{ ...key, ...kid }, found]
        ]) {
          const url = await upstream(t, (_request, response) => response.end(JSON.stringify({ keys })))
          const app = await gateway(t, { auth: { jwt: { jwks: url } }, routes: [open] })
          t.equal(await status(app, await sign(kid)), 200)
        }
      })
  t.test('a token for an ignored key does not delay the fetch of a new one', async (t) => {
    let keys: object[] = [
      { ...odd['one for encryption'], kid: 'enc' },
      { ...odd['another one'], kid: 'other' }
    ]
    const url = await upstream(t, (_request, response) => response.end(JSON.stringify({ keys })))
    const app = await gateway(t, { auth: { jwt: { jwks: url } }, routes: [open] })
    t.equal(await status(app, await sign({ kid: 'enc' })), 401)
    keys = [...keys, { ...jwk, kid: 'new' }]
    t.equal(await status(app, await sign({ kid: 'new' })), 200)
  })
})

t.test('accepts Ed25519 under both of its names', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const jwk = await exportJWK(publicKey)
  for (const algorithms of [undefined, ['EdDSA'], ['Ed25519'], ['RS256']])
    for (const name of [undefined, 'EdDSA', 'Ed25519']) {
      const key = name === undefined ? jwk : { ...jwk, alg: name }
      const url = await upstream(t, (_request, response) => response.end(JSON.stringify({ keys: [key] })))
      const keys = `${t.testdir({ 'keys.json': JSON.stringify({ keys: [key] }) })}/keys.json`
      for (const from of [{ jwks: url }, { keys }]) {
        const auth = { jwt: { ...from, ...(algorithms === undefined ? {} : { algorithms }) } }
        const app = await gateway(t, { auth, routes: [open] })
        for (const alg of ['EdDSA', 'Ed25519'])
          t.equal(
            await status(
              app,
              await new SignJWT({ sub: 'ada', exp: 4_102_444_800 })
                .setProtectedHeader({ alg })
                .sign(privateKey)
            ),
            algorithms?.[0] === 'RS256' ? 401 : 200,
            `${algorithms?.join()}, the key says ${name}, the token ${alg}`
          )
      }
    }
})

t.test('logs the reason of a refused token once, and hides it from the client', async (t) => {
  const from = await issuer(t)
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    { metrics: true, auth: { jwt: { jwks: from.url, issuer: 'us', audience: 'api' } }, routes: [open] },
    { log }
  )
  const ours = { iss: 'us', aud: 'api' }
  const right = await from.sign(ours)
  const cases: [reason: string, token: string][] = [
    ['issuer', await from.sign({ ...ours, iss: 'them' })],
    ['audience', await from.sign({ ...ours, aud: 'other' })],
    ['expired', await from.sign({ ...ours, exp: 1 })],
    ['no_expiry', await from.sign({ ...ours, exp: undefined })],
    ['not_yet_valid', await from.sign({ ...ours, nbf: 4_102_444_800 })],
    ['issued_in_future', await from.sign({ ...ours, iat: 4_102_444_800 })],
    ['no_subject', await from.sign({ ...ours, sub: undefined })],
    ['type', await from.sign(ours, { typ: 'logout+jwt' })],
    ['unknown_key', await from.sign(ours, { kid: 'made up' })],
    ['signature', `${right.slice(0, -86)}${'A'.repeat(86)}`],
    ['algorithm', `${Buffer.from('{"alg":"none"}').toString('base64url')}.${right.split('.')[1]}.`],
    ['too_long', 'x'.repeat(20_000)],
    ['malformed', 'x'],
    // What a lenient reader of base64 drops, and the last bits that it does not read (RFC 4648 section 3).
    ...['=', '==', '\tA', ' A', '+', '\u00e9'].map((more): [string, string] => ['malformed', right + more]),
    ['malformed', right.replace('.', '=.')],
    ['malformed', right.slice(0, -1) + nonCanonical(right)]
  ]
  t.equal(await status(app, right), 200)
  for (const [reason, token] of cases)
    await t.test(`${reason}: ${token.slice(-12)}`, async (t) => {
      lines.length = 0
      for (let i = 0; i < 2; i++) {
        const answer = await app.inject({ url: '/a', headers: bearer(token) })
        t.equal(answer.statusCode, 401)
        t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"')
        t.match(answer.json(), { code: 'SP_ERR_AUTH_WRONG', detail: 'Invalid or expired credentials' })
      }
      const logged = lines.filter(({ msg }) => msg === 'token refused')
      if (reason !== 'malformed') t.match(logged, [{ level: 'info', reason }])
      t.ok(logged.length <= 1, 'not with each request')
      t.notMatch(JSON.stringify(lines), token.slice(0, 30) === 'x' ? 'Bearer' : token.slice(0, 30))
    })
  const counted = app.metrics
    ?.families()
    .find(({ name }) => name === 'sallyport_token_refusals_total')?.values
  const of = (reason: string): number =>
    counted?.find(({ labels }) => labels['reason'] === reason)?.value ?? 0
  for (const [reason] of cases)
    t.equal(of(reason), 2 * cases.filter(([other]) => other === reason).length, reason)
})

/** Writes the last character of a token otherwise, without another meaning to a lenient reader. */
function nonCanonical(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return alphabet[alphabet.indexOf(token.at(-1) ?? 'A') | 1] ?? ''
}

t.test('logs the key id and issuer of a refused token if they are readable', async (t) => {
  const from = await issuer(t)
  const { log, lines } = readableLog()
  const app = await gateway(t, { auth: { jwt: { jwks: from.url, issuer: 'us' } }, routes: [open] }, { log })
  await status(app, await from.sign({ iss: 'i'.repeat(500) }, { kid: 'key 0' }))
  t.match(
    lines.filter(({ msg }) => msg === 'token refused'),
    [{ reason: 'issuer', kid: 'key 0', issuer: 'i'.repeat(100) }]
  )
  for (let i = 0; i < 200; i++) await status(app, await from.sign({ iss: `made up ${i}` }))
  t.ok(lines.filter(({ msg }) => msg === 'token refused').length <= 100, 'clients cannot flood the log')
})

t.test('refuses tokens of other types and with duplicate JSON keys', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  for (const [typ, expected] of [
    ['JWT', 200],
    ['at+jwt', 200],
    ['application/at+JWT', 200],
    ['application/jwt', 200],
    ['logout+jwt', 401],
    ['dpop+jwt', 401],
    ['', 401],
    [7, 401]
  ] as const)
    t.equal(await status(app, await from.sign({}, { typ })), expected, String(typ))
  for (const claims of [
    { sub: '' },
    { sub: 7 },
    { sub: undefined },
    { exp: undefined },
    { exp: 'never' },
    { nbf: Math.floor(Date.now() / 1000) + 60 },
    { iat: Math.floor(Date.now() / 1000) + 60 },
    { x: 'x'.repeat(16_384) }
  ])
    t.equal(await status(app, await from.sign(claims)), 401, JSON.stringify(claims).slice(0, 40))
  const now = Math.floor(Date.now() / 1000)
  t.equal(await status(app, await from.sign({ nbf: now + 10, iat: now + 10 })), 200, 'within the leeway')
  // The signer signs both duplicates.
  const key = 'a secret that two sides share, long enough'
  const twice = await gateway(t, {
    auth: { jwt: { secret: key, algorithms: ['HS256'] } },
    routes: [open]
  })
  for (const [header, payload, expected] of [
    ['{"alg":"HS256"}', '{"sub":"ada","exp":4102444800}', 200],
    ['{"alg":"HS256"}', '{"sub":"ada","exp":4102444800,"act":{"sub":"bob"}}', 200],
    ['{"alg":"HS256"}', '{"sub":"ada","sub":"bob","exp":4102444800}', 401],
    ['{"alg":"HS256"}', '{"sub":"ada","exp":4102444800,"a":[{"b":1,"\\u0062":2}]}', 401],
    ['{"alg":"none","alg":"HS256"}', '{"sub":"ada","exp":4102444800}', 401]
  ] as const) {
    const parts = [header, payload].map((part) => Buffer.from(part).toString('base64url')).join('.')
    const signature = createHmac('sha256', key).update(parts).digest('base64url')
    t.equal(await status(twice, `${parts}.${signature}`), expected, `${header}.${payload}`)
  }
})

t.test('keeps the known keys while the provider is unavailable', async (t) => {
  for (const answer of ['failure', 'garbage', 'none', 'too much'] as const)
    t.test(answer, async (t) => {
      const from = await issuer(t)
      const pass = clock(t)
      const { log, line, lines } = readableLog()
      const config = { auth: { jwt: { jwks: from.url } }, routes: [open] }
      const keep = new Keep()
      const app = await gateway(t, config, { log, keep })
      t.equal(await status(app, await from.sign()), 200)
      from.answer = answer
      pass(3600)
      t.equal(await status(app, await from.sign({ sub: 'bob' })), 200)
      await line(({ msg }) => /^jwks fetch failed/.test(String(msg)))
      t.equal(
        await status(await gateway(t, config, { log, keep }), await from.sign()),
        200,
        'after a reload, too'
      )
      t.equal(lines.find(({ msg }) => msg === 'jwks fetch failed')?.['url'], from.url)
    })
  t.test('the log has no password and no query of the URL', async (t) => {
    const from = await issuer(t)
    from.answer = 'failure'
    const { log, line } = readableLog()
    const url = new URL(`${from.url}?key=hunter2#hunter2`)
    Object.assign(url, { username: 'gateway', password: 'hunter2' })
    const app = await gateway(t, { auth: { jwt: { jwks: url.href } }, routes: [open] }, { log })
    t.equal(await status(app, await from.sign()), 503)
    const logged = await line(({ msg }) => msg === 'jwks fetch failed')
    t.match(logged, { url: from.url, cause: `expected 200 from ${from.url}, got 500` })
    t.notMatch(JSON.stringify(logged), /hunter2|gateway:/)
  })
  t.test('without known keys the response is 503', async (t) => {
    const from = await issuer(t)
    from.answer = 'failure'
    const pass = clock(t)
    const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
    const answer = await app.inject({ url: '/a', headers: bearer(await from.sign()) })
    t.equal(answer.statusCode, 503)
    t.match(answer.json(), { code: 'SP_ERR_AUTH_UNAVAILABLE' })
    t.equal(answer.headers['retry-after'], '5')
    t.equal((await app.inject('/a')).statusCode, 401, 'who brings no token needs no keys')
    from.answer = 'keys'
    pass(2)
    t.equal(await status(app, await from.sign()), 200)
  })
})

t.test('refuses a cached token once it has expired', async (t) => {
  const from = await issuer(t)
  const pass = clock(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url, leeway: '10s' } }, routes: [open] })
  const token = await from.sign({ exp: Math.floor(Date.now() / 1000) + 60 })
  for (const [seconds, expected] of [
    [0, 200],
    [65, 200],
    [6, 401]
  ] as const) {
    pass(seconds)
    t.equal(await status(app, token), expected, `after ${seconds} s more`)
  }
})

t.test('reads tokens from the configured places and does not forward them', async (t) => {
  const from = await issuer(t)
  const token = await from.sign()
  const target = await upstream(t, echo)
  const at = (auth: object): Promise<FastifyInstance> =>
    gateway(t, { auth: { ...auth }, routes: [{ path: '/a', proxy: { upstream: target } }] })
  const places = { jwks: from.url, from: ['header:authorization', 'header:x-token', 'query:token'] }
  const hiding = await at({ jwt: places })
  const cases = [
    { name: 'a Bearer', headers: bearer(token), url: '/a' },
    { name: 'whatever the case of its scheme', headers: { authorization: `bEARER ${token}` }, url: '/a' },
    { name: 'a header of its own', headers: { 'x-token': token }, url: '/a' },
    { name: 'the query', headers: {}, url: `/a?one=1&token=${token}&two=2` }
  ]
  for (const { name, headers, url } of cases) {
    const answer = await hiding.inject({ url, headers })
    t.equal(answer.statusCode, 200, name)
    t.notMatch(answer.body, token, 'the upstream does not see it')
    const seen = answer.json<Seen>()
    if (url.includes('?')) t.equal(seen.url, '/a?one=1&two=2')
  }
  const forwarded = await (await at({ jwt: places, passOn: ['jwt'] })).inject({
    url: '/a',
    headers: bearer(token)
  })
  t.equal(forwarded.json<Seen>().headers['authorization'], `Bearer ${token}`)
  t.equal(
    (await hiding.inject({ url: '/a', headers: { ...bearer(token), 'x-token': token } })).statusCode,
    401,
    'two are too many'
  )
  t.equal((await hiding.inject({ url: '/a', headers: { authorization: 'Basic YTpi' } })).statusCode, 401)
})

t.test('never forwards a credential in the query', async (t) => {
  const from = await issuer(t)
  const target = await upstream(t, echo)
  const token = await from.sign()
  const app = await gateway(t, {
    auth: {
      jwt: { jwks: from.url, from: ['query:token'] },
      apiKeys: { list: [{ id: 'alice', secret: 'key' }], from: ['header:x-api-key', 'query:key'] }
    },
    routes: [
      { path: '/both', proxy: { upstream: target } },
      { path: '/keys', auth: { by: ['apiKeys'] }, proxy: { upstream: target } },
      { path: '/report', auth: { mode: 'report' }, proxy: { upstream: target } }
    ]
  })
  for (const url of [
    `/both?token=${token}&a=1&key=key`,
    `/keys?token=${token}&a=1&key=key`,
    `/keys?token=wrong&key=key&a=1`,
    `/report?token=wrong&a=1&key=key`,
    `/report?token=${token}&a=1&key=wrong`
  ]) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200, url)
    t.equal(answer.json<Seen>().url, `${url.split('?')[0]}?a=1`)
  }
})

t.test('names invalid_token only for a wrong token', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, {
    auth: { jwt: { jwks: from.url }, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
    routes: [open]
  })
  for (const [headers, expected] of [
    [{}, 'Bearer, ApiKey'],
    [{ 'x-api-key': 'wrong' }, 'Bearer, ApiKey'],
    [{ ...bearer(await from.sign()), 'x-api-key': 'wrong' }, 'Bearer, ApiKey'],
    [bearer('wrong'), 'Bearer error="invalid_token", ApiKey'],
    [{ ...bearer('wrong'), 'x-api-key': 'key' }, 'Bearer error="invalid_token", ApiKey'],
    [{ authorization: 'Bearer' }, 'Bearer error="invalid_token", ApiKey']
  ] as const) {
    const answer = await app.inject({ url: '/a', headers })
    t.equal(answer.statusCode, 401)
    t.equal(answer.headers['www-authenticate'], expected, JSON.stringify(headers))
  }
})

t.test('reads roles, scopes and claims from the configured claims', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, {
    auth: {
      jwt: { jwks: from.url, rolesClaim: 'realm_access.roles', scopesClaim: 'scp' },
      identity: { 'x-id': 'id', 'x-roles': 'roles', 'x-plan': 'claims.plan', 'x-teams': 'claims.teams' }
    },
    routes: [
      { path: '/role', auth: { require: { roles: ['staff'] } }, respond: {} },
      { path: '/scope', auth: { require: { scopes: ['a', 'b'] } }, respond: {} },
      {
        path: '/claim',
        auth: { require: { claims: { email: '*@example.com', 'https://x/y.z': 'yes' } } },
        respond: {}
      },
      {
        path: '/any',
        auth: { require: { claims: { plan: ['gold', 'silver-*'], teams: 'one' } } },
        respond: {}
      },
      { path: '/echo', proxy: { upstream: await upstream(t, echo) } }
    ]
  })
  const cases = [
    { url: '/any', claims: { plan: 'gold', teams: ['two', 'one'] }, expected: 200 },
    { url: '/any', claims: { plan: 'silver-2', teams: 'one' }, expected: 200 },
    { url: '/any', claims: { plan: ['free', 'gold'], teams: 'one' }, expected: 200 },
    { url: '/any', claims: { plan: 'gold' }, expected: 403 },
    { url: '/any', claims: { plan: 'gold,silver-2', teams: 'one' }, expected: 403 },
    { url: '/any', claims: { teams: 'one' }, expected: 403 },
    { url: '/role', claims: { realm_access: { roles: ['staff'] } }, expected: 200 },
    { url: '/role', claims: { 'realm_access.roles': ['staff'] }, expected: 200 },
    { url: '/role', claims: { roles: ['staff'] }, expected: 403 },
    { url: '/role', claims: { realm_access: { roles: 'staff' } }, expected: 200 },
    { url: '/role', claims: { realm_access: { roles: 'no staff' } }, expected: 403 },
    { url: '/role', claims: { realm_access: { roles: ['x,staff', { staff: true }, 7] } }, expected: 403 },
    { url: '/role', claims: { realm_access: { roles: { staff: true } } }, expected: 200 },
    { url: '/role', claims: { realm_access: { roles: { staff: { 123: 'example.com' } } } }, expected: 200 },
    { url: '/role', claims: { realm_access: { roles: { staff: false } } }, expected: 403 },
    { url: '/role', claims: { realm_access: { roles: 'ops, staff' } }, expected: 200 },
    { url: '/scope', claims: { scp: 'a b c' }, expected: 200 },
    { url: '/scope', claims: { scp: ['a', 'b'] }, expected: 200 },
    { url: '/scope', claims: { scp: 'ab' }, expected: 403 },
    { url: '/claim', claims: { email: 'ada@example.com', 'https://x/y.z': 'yes' }, expected: 200 },
    { url: '/claim', claims: { email: 'ada@example.com.evil', 'https://x/y.z': 'yes' }, expected: 403 },
    { url: '/claim', claims: { email: 'ada@evil.com@example.com', 'https://x/y.z': 'yes' }, expected: 403 },
    {
      url: '/claim',
      claims: { email: 'ada@example.com', email_verified: false, 'https://x/y.z': 'yes' },
      expected: 403
    }
  ]
  for (const { url, claims, expected } of cases) {
    const answer = await app.inject({ url, headers: bearer(await from.sign(claims)) })
    t.equal(answer.statusCode, expected, `${url} ${JSON.stringify(claims)}`)
  }
  const claims = {
    plan: 'gold, for all',
    teams: ['one', 'two,admin'],
    realm_access: { roles: ['staff', 'x,admin', '50%'] }
  }
  const seen = await app.inject({ url: '/echo', headers: bearer(await from.sign(claims)) })
  t.match(
    seen.json<Seen>().headers,
    {
      'x-id': 'ada',
      'x-plan': 'gold, for all',
      'x-teams': 'one,two%2Cadmin',
      'x-roles': 'staff,x%2Cadmin,50%25'
    },
    'an item of a list never looks like two'
  )
})

t.test('reads roles from claims with dots in their names', async (t) => {
  const from = await issuer(t)
  const cases: [string, object, number][] = [
    ['resource_access.my-app.roles', { resource_access: { 'my-app': { roles: ['staff'] } } }, 200],
    ['resource_access.my.app.roles', { resource_access: { 'my.app': { roles: ['staff'] } } }, 200],
    ['resource_access.my.app.roles', { resource_access: { my: {}, 'my.app': { roles: ['staff'] } } }, 200],
    ['resource_access.my.app.roles', { resource_access: { my: { 'app.roles': 'staff' } } }, 200],
    [
      'resource_access.https://a.example/b.roles',
      { resource_access: { 'https://a.example/b': { roles: ['staff'] } } },
      200
    ],
    ['https://a.example/roles', { 'https://a.example/roles': ['staff'] }, 200],
    ['https://a.example/app.roles', { 'https://a.example/app': { roles: ['staff'] } }, 200],
    ['resource_access.my.app.roles', { resource_access: { 'my.other': { roles: ['staff'] } } }, 403],
    ['constructor.name', { roles: ['staff'] }, 403]
  ]
  for (const [rolesClaim, claims, expected] of cases) {
    const app = await gateway(t, {
      auth: { jwt: { jwks: from.url, rolesClaim }, require: { roles: ['staff'] } },
      routes: [open]
    })
    t.equal(
      await status(app, await from.sign({ ...claims })),
      expected,
      `${rolesClaim} ${JSON.stringify(claims)}`
    )
  }
})

t.test('requires a secret as long as the hash', async (t) => {
  for (const [alg, least] of [
    ['HS256', 32],
    ['HS384', 48],
    ['HS512', 64]
  ] as const) {
    const load = (secret: string): Promise<unknown> =>
      loadConfig({ auth: { jwt: { secret, algorithms: [alg] } }, routes: [open] }, {})
    await t.resolves(load('s'.repeat(least)))
    await t.resolves(
      load('\u00e9'.repeat(least / 2)).catch((error: Error) => {
        // The schema counts characters first.
        if (!/32 characters/.test(error.message)) throw error
      })
    )
    await t.rejects(load('s'.repeat(least - 1)), {
      message: least === 32 ? /32 characters/ : /expected a secret of \d+ bytes or more/
    })
  }
})

t.test('accepts only HMAC tokens with a shared secret', async (t) => {
  const secret = 'a secret that two sides share, long enough'
  const app = await gateway(t, { auth: { jwt: { secret, algorithms: ['HS256'] } }, routes: [open] })
  const sign = (alg: string, key: string): Promise<string> =>
    new SignJWT({ sub: 'ada', exp: 4_102_444_800 }).setProtectedHeader({ alg }).sign(Buffer.from(key))
  t.equal(await status(app, await sign('HS256', secret)), 200)
  t.equal(await status(app, await sign('HS256', `${secret}, but another`)), 401)
  t.equal(
    await status(app, await sign('HS512', `${secret}, and long enough for the larger one of them`)),
    401
  )
  t.equal(await status(app, tokens['good'] ?? ''), 401)
})

t.test('reports invalid jwt options', async (t) => {
  const jwks = 'https://issuer.test/jwks.json'
  const cases: [object, RegExp][] = [
    [{}, /auth\.jwt: expected one of "jwks", "keys" and "secret", got none/],
    [{ jwks, keys: keyFile }, /auth\.jwt\.keys: .*, got "jwks" and "keys"/],
    [
      { jwks, algorithms: ['RS256', 'HS256'] },
      /auth\.jwt\.algorithms\[1\]: expected an algorithm for public keys, got "HS256"/
    ],
    [
      { secret: 'x'.repeat(32) },
      /auth\.jwt\.algorithms\[0\]: expected HS256, HS384 or HS512 beside "secret", got "RS256"/
    ],
    [
      { secret: 'short', algorithms: ['HS256'] },
      /auth\.jwt\.secret: expected a secret of 32.*, got a value that is not shown/
    ],
    [{ jwks, algorithms: ['none'] }, /auth\.jwt\.algorithms\[0\]: expected "RS256", .*, got "none"/],
    [{ jwks: 'http://issuer.test/jwks.json' }, /auth\.jwt\.jwks: expected https, got/],
    [{ jwks: 'http://localhost.evil.test/jwks.json' }, /auth\.jwt\.jwks: expected https, got/],
    [{ jwks: 'http://localhost@evil.test/jwks.json' }, /auth\.jwt\.jwks: expected https, got/],
    [{ jwks: 'https://' }, /auth\.jwt\.jwks: expected a URL such as .*, got "https:\/\/"/],
    [{ keys: '/nowhere.json' }, /auth\.jwt\.keys: There is no file \/nowhere\.json/]
  ]
  for (const [options, expected] of cases)
    await t.rejects(
      loadConfig({ auth: { jwt: options }, routes: [open] }, {}),
      { message: expected },
      JSON.stringify(options)
    )
})

t.test('reports invalid keys in a file', async (t) => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const right = await exportJWK(pair.publicKey)
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const cases: [unknown, RegExp][] = [
    ['{', /expected JSON in the file /],
    [[right], /expected a JSON Web Key Set/],
    [{ keys: [] }, /expected a JSON Web Key Set/],
    [{ keys: [right, 7] }, /: key 2 is not an object/],
    [{ keys: [right, { kty: 'oct', k: 'c2VjcmV0' }] }, /: key 2 is a shared secret; use "secret" for it/],
    [{ keys: [await exportJWK(pair.privateKey)] }, /: key 1 is a private key/],
    [
      { keys: [await exportJWK(weak.publicKey)] },
      /: key 1 has 1024 bits; expected an RSA key of 2048 or more/
    ],
    [{ keys: [{ kty: 'EC', crv: 'P-256', x: 'a', y: 'b' }] }, /: key 1 is invalid or of an unsupported type/]
  ]
  const file = `${t.testdir()}/keys.json`
  const load = (written: unknown): Promise<unknown> => {
    writeFileSync(file, typeof written === 'string' ? written : JSON.stringify(written))
    return loadConfig({ auth: { jwt: { keys: file } }, routes: [open] }, {})
  }
  await t.resolves(load({ keys: [right] }))
  for (const [written, expected] of cases) await t.rejects(load(written), { message: expected })
})

t.test('check warns if audience is missing', async (t) => {
  const warned = async (jwt: object, more: object = {}): Promise<string> => {
    const config = JSON.stringify({ auth: { jwt, ...more }, routes: [open] })
    return (await sallyport(['check'], { cwd: t.testdir({ 'gateway.json': config }) })).stdout
  }
  const jwks = 'https://issuer.test/jwks.json'
  t.match(
    await warned({ jwks, issuer: 'https://issuer.test' }),
    'The route /a accepts tokens that https://issuer.test issued for other services; set "audience"'
  )
  t.notMatch(await warned({ jwks, audience: 'api' }), 'issued for other services')
  t.notMatch(await warned({ secret: 'x'.repeat(32), algorithms: ['HS256'] }), 'issued for other services')
})

t.test('logs no token', async (t) => {
  const from = await issuer(t)
  const { log, lines, line } = readableLog()
  const { url } = await listening(
    t,
    { auth: { jwt: { jwks: from.url, from: ['header:authorization', 'query:t'] } }, routes: [open] },
    { log }
  )
  const token = await from.sign()
  await ask(`${url}/a`, { headers: bearer(`${token}x`) })
  await ask(`${url}/a?t=${token}`)
  await line(({ status: seen }) => seen === 200)
  t.notMatch(JSON.stringify(lines), token.slice(0, 30))
})
