import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { exportJWK, type JWK, SignJWT } from 'jose'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import {
  ask,
  clock,
  echo,
  gateway,
  listening,
  readableLog,
  type Scope,
  type Seen,
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

t.test('takes tokens that are right, and no other of the forty-odd from the field', async (t) => {
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
        t.notMatch(answer.body, token.slice(0, 40), 'the token is not told back')
      }
      t.equal((await app.inject({ url: '/admin', headers: bearer(token) })).statusCode, right ? 403 : 401)
    })
})

/** Somebody who makes tokens: keys that may change, a server that tells them, and what was asked of it. */
interface Issuer {
  readonly url: string
  asked: number
  rotate(): Promise<void>
  sign(claims?: Record<string, unknown>): Promise<string>
  answer: 'keys' | 'failure' | 'garbage'
}

async function issuer(t: Scope): Promise<Issuer> {
  let count = 0
  let kid = ''
  let keys: JWK[] = []
  let pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const made: Issuer = {
    url: '',
    asked: 0,
    answer: 'keys',
    async rotate() {
      pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      kid = `key ${count++}`
      keys = [{ ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256', use: 'sig' }]
    },
    sign: (claims = {}) =>
      new SignJWT({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid })
        .sign(pair.privateKey)
  }
  await made.rotate()
  const url = await upstream(t, (_request, response) => {
    made.asked++
    if (made.answer === 'failure') response.statusCode = 500
    response.end(made.answer === 'garbage' ? '{"keys": 1' : JSON.stringify({ keys }))
  })
  return Object.assign(made, { url: `${url}/jwks.json` })
}

const status = async (app: FastifyInstance, token: string): Promise<number> =>
  (await app.inject({ url: '/a', headers: bearer(token) })).statusCode

const open = { path: '/a', respond: { body: 'hello' } }

t.test('fetches the keys once for all who come at a time, and not again while they are fresh', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, { auth: { jwt: { jwks: from.url } }, routes: [open] })
  t.equal(from.asked, 0, 'nobody came yet')
  const many = await Promise.all(Array.from({ length: 50 }, async (_, i) => from.sign({ sub: `user ${i}` })))
  const statuses = await Promise.all(many.map((token) => status(app, token)))
  t.ok(statuses.every((each) => each === 200))
  t.equal(from.asked, 1)
})

t.test('asks anew for a key that it does not know, once for all, and not too often', async (t) => {
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

t.test('goes on with the keys that it knows while the provider is away', async (t) => {
  for (const answer of ['failure', 'garbage'] as const)
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
      await line(({ msg }) => /^the keys for tokens can't be had/.test(String(msg)))
      t.equal(
        await status(await gateway(t, config, { log, keep }), await from.sign()),
        200,
        'after a reload, too'
      )
      t.notMatch(JSON.stringify(lines), new URL(from.url).port, 'no address is logged')
    })
  t.test('and lets nobody in where it knows none', async (t) => {
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

t.test('a token ends when it ends, however often it was right before', async (t) => {
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

t.test('takes tokens from where it is told to, and keeps them from the upstream', async (t) => {
  const from = await issuer(t)
  const token = await from.sign()
  const target = await upstream(t, echo)
  const at = (auth: object): Promise<FastifyInstance> =>
    gateway(t, { auth: { ...auth }, routes: [{ path: '/a', proxy: { upstream: target } }] })
  const places = { jwks: from.url, from: ['header:authorization', 'header:x-token', 'query:token'] }
  const kept = await at({ jwt: places })
  const cases = [
    { name: 'a Bearer', headers: bearer(token), url: '/a' },
    { name: 'whatever the case of its scheme', headers: { authorization: `bEARER ${token}` }, url: '/a' },
    { name: 'a header of its own', headers: { 'x-token': token }, url: '/a' },
    { name: 'the query', headers: {}, url: `/a?one=1&token=${token}&two=2` }
  ]
  for (const { name, headers, url } of cases) {
    const answer = await kept.inject({ url, headers })
    t.equal(answer.statusCode, 200, name)
    t.notMatch(answer.body, token, 'the upstream does not see it')
    const seen = answer.json<Seen>()
    if (url.includes('?')) t.equal(seen.url, '/a?one=1&two=2')
  }
  const told = await (await at({ jwt: places, passOn: ['jwt'] })).inject({
    url: '/a',
    headers: bearer(token)
  })
  t.equal(told.json<Seen>().headers['authorization'], `Bearer ${token}`)
  t.equal(
    (await kept.inject({ url: '/a', headers: { ...bearer(token), 'x-token': token } })).statusCode,
    401,
    'two are too many'
  )
  t.equal((await kept.inject({ url: '/a', headers: { authorization: 'Basic YTpi' } })).statusCode, 401)
})

t.test('tells roles, scopes and claims by the names that the issuer has for them', async (t) => {
  const from = await issuer(t)
  const app = await gateway(t, {
    auth: {
      jwt: { jwks: from.url, rolesClaim: 'realm_access.roles', scopesClaim: 'scp' },
      identity: { 'x-id': 'id', 'x-plan': 'claims.plan' }
    },
    routes: [
      { path: '/role', auth: { require: { roles: ['staff'] } }, respond: {} },
      { path: '/scope', auth: { require: { scopes: ['a', 'b'] } }, respond: {} },
      {
        path: '/claim',
        auth: { require: { claims: { email: '*@example.com', 'https://x/y.z': 'yes' } } },
        respond: {}
      },
      { path: '/echo', proxy: { upstream: await upstream(t, echo) } }
    ]
  })
  const cases = [
    { url: '/role', claims: { realm_access: { roles: ['staff'] } }, expected: 200 },
    { url: '/role', claims: { 'realm_access.roles': ['staff'] }, expected: 200 },
    { url: '/role', claims: { roles: ['staff'] }, expected: 403 },
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
  const seen = await app.inject({ url: '/echo', headers: bearer(await from.sign({ plan: 'gold' })) })
  t.match(seen.json<Seen>().headers, { 'x-id': 'ada', 'x-plan': 'gold' })
})

t.test('a secret is a secret, and a key is a key', async (t) => {
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

t.test('what can verify nothing, or too much, is a fault', async (t) => {
  const jwks = 'https://issuer.test/jwks.json'
  const cases: [object, RegExp][] = [
    [{}, /auth\.jwt: A token is verified by one of "jwks", "keys" and "secret"; this has none/],
    [{ jwks, keys: keyFile }, /auth\.jwt\.keys: .* this has "jwks" and "keys"/],
    [{ jwks, algorithms: ['RS256', 'HS256'] }, /auth\.jwt\.algorithms\[1\]: "HS256" needs a "secret"/],
    [{ secret: 'x'.repeat(32) }, /auth\.jwt\.algorithms\[0\]: "RS256" needs keys/],
    [
      { secret: 'short', algorithms: ['HS256'] },
      /auth\.jwt\.secret: The value will not do; it takes a secret of 32/
    ],
    [{ jwks, algorithms: ['none'] }, /auth\.jwt\.algorithms\[0\]: "none"/],
    [{ jwks: 'http://issuer.test/jwks.json' }, /auth\.jwt\.jwks: .* is plain http/],
    [{ keys: '/nowhere.json' }, /auth\.jwt\.keys: The file \/nowhere\.json can't be read \(ENOENT\)/]
  ]
  for (const [said, expected] of cases)
    await t.rejects(
      loadConfig({ auth: { jwt: said }, routes: [open] }, {}),
      { message: expected },
      JSON.stringify(said)
    )
})

t.test('nothing of a token is logged', async (t) => {
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
