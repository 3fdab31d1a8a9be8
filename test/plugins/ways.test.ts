import { createHook } from 'node:async_hooks'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { createRemoteJWKSet, jwtVerify, SignJWT } from 'jose'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  ask,
  bodyOf,
  echo,
  gateway,
  listening,
  readableLog,
  type Scope,
  type Seen,
  upstream
} from '../helpers.ts'

const basic = (name: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
})
const list = [
  { name: 'ada', secret: 'lovelace', roles: ['staff'] },
  { name: 'bob', secret: 'builder: the man' }
]
const users = { list }
const page = { path: '/a', respond: { body: 'hello' } }

t.test('lets users in by name and password with each request, where that is on', async (t) => {
  const app = await gateway(t, { auth: { users, basic: true }, routes: [page] })
  const cases: [string, Record<string, string>, number][] = [
    ['a right one', basic('ada', 'lovelace'), 200],
    ['a password with colons', basic('bob', 'builder: the man'), 200],
    ['a wrong one', basic('ada', 'byron'), 401],
    ['nobody known', basic('eve', 'x'), 401],
    ['no colon', { authorization: `Basic ${Buffer.from('ada').toString('base64')}` }, 401],
    ['no base64', { authorization: 'Basic ä%' }, 401],
    ['nothing', { authorization: 'Basic' }, 401],
    ['no credential at all', {}, 401]
  ]
  for (const [name, headers, expected] of cases) {
    const answer = await app.inject({ url: '/a', headers })
    t.equal(answer.statusCode, expected, name)
    if (expected === 401)
      t.equal(answer.headers['www-authenticate'], 'Basic realm="gateway", charset="UTF-8"', name)
  }
  t.test('and users alone do not switch it on', async (t) => {
    const app = await gateway(t, { auth: { users, session: true }, routes: [page] })
    t.equal((await app.inject({ url: '/a', headers: basic('ada', 'lovelace') })).statusCode, 401)
  })
  t.test(
    'beside a session it is not named: a browser would ask for a password in a window of its own',
    async (t) => {
      const app = await gateway(t, { auth: { users, session: true, basic: true }, routes: [page] })
      const answer = await app.inject('/a')
      t.equal(answer.headers['www-authenticate'], 'Session')
      t.equal((await app.inject({ url: '/a', headers: basic('ada', 'lovelace') })).statusCode, 200)
    }
  )
})

t.test('hashes a password once a minute, not with each request, and throttles guesses', async (t) => {
  const hashed = [
    {
      name: 'ada',
      password:
        '$argon2id$v=19$m=19456,t=2,p=1$c2FsbHlwb3J0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    },
    { name: 'bob', secret: 'builder' }
  ]
  const app = await gateway(t, { auth: { users: { list: hashed }, basic: true }, routes: [page] })
  let hashes = 0
  const hook = createHook({
    init(_id, type) {
      if (type === 'ARGON2REQUEST' || type === 'SCRYPTREQUEST') hashes++
    }
  }).enable()
  t.teardown(() => hook.disable())
  for (let i = 0; i < 5; i++) await app.inject({ url: '/a', headers: basic('bob', 'builder') })
  t.equal(hashes, 0, 'a secret in place needs none')
  const statuses: number[] = []
  for (let i = 0; i < 12; i++)
    statuses.push((await app.inject({ url: '/a', headers: basic('ada', `guess ${i}`) })).statusCode)
  t.same(statuses, [...Array.from({ length: 10 }, () => 401), 429, 429])
  t.ok(hashes <= 10, 'no hashing for who guesses too often')
  t.equal(
    (await app.inject({ url: '/a', headers: basic('bob', 'builder') })).statusCode,
    200,
    'who was right a moment ago is not asked again'
  )
})

/** A service that decides by the path and the headers that it is asked with. */
async function decider(t: Scope, seen: Seen[] = []): Promise<string> {
  return upstream(t, (request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request
    void bodyOf(request).then((body) => {
      seen.push({
        method,
        url,
        headers: headers as Record<string, string>,
        rawHeaders,
        body: body.toString()
      })
      const who = headers['x-token']
      if (who === 'redirect')
        response.writeHead(302, { location: 'https://login.example', 'set-cookie': ['a=1', 'b=2'] }).end('go')
      else if (who === 'broken') request.socket.destroy()
      else if (who === 'slow') setTimeout(() => response.end(), 10_000).unref()
      else if (who === 'huge') response.writeHead(403).end('x'.repeat(100_000))
      else if (who === undefined)
        response
          .writeHead(401, { 'www-authenticate': 'Token', 'content-type': 'text/plain' })
          .end('who are you?')
      else response.writeHead(204, { 'x-user': who, 'x-groups': 'staff, ops', 'x-extra': 'a%20b' }).end()
    })
  })
}

t.test('asks a service who may pass, and hands on what it says', async (t) => {
  const seen: Seen[] = []
  const { log, line, lines } = readableLog()
  const { url } = await listening(
    t,
    {
      upstreams: { auth: { url: await decider(t, seen) } },
      auth: {
        forward: {
          upstream: 'auth',
          path: '/check',
          timeout: '200ms',
          copy: ['X-User', 'x-extra'],
          caller: { id: 'x-user', roles: 'x-groups' }
        }
      },
      routes: [
        { path: '/up/*', proxy: { upstream: await upstream(t, echo) } },
        { path: '/open/*', auth: false, proxy: { upstream: await upstream(t, echo) } },
        { path: '/ops', auth: { require: { roles: ['ops'] } }, respond: { body: 'in' } },
        { path: '/boss', auth: { require: { roles: ['boss'] } }, respond: { body: 'in' } }
      ]
    },
    { log }
  )
  const as = (token: string, more: Record<string, string> = {}): RequestInit => ({
    headers: { 'x-token': token, ...more }
  })
  const forged = { 'x-user': 'root', 'X-Extra': 'forged', x_user: 'root', 'x-forwarded-uri': '/forged' }
  const answer = await ask(`${url}/up/x?q=1`, {
    method: 'POST',
    body: 'a body',
    headers: { 'x-token': 'ada', cookie: 'theirs=1', ...forged }
  })
  t.equal(answer.status, 200)
  const up = JSON.parse(answer.text) as Seen
  t.match(up.headers, { 'x-user': 'ada', 'x-extra': 'a%20b' })
  t.notOk(up.headers['x_user'])
  t.equal(up.body, 'a body', 'which nobody else has read')
  const [question] = seen
  t.match(question, {
    method: 'GET',
    url: '/check',
    body: '',
    headers: {
      'x-token': 'ada',
      cookie: 'theirs=1',
      'x-forwarded-method': 'POST',
      'x-forwarded-uri': '/up/x?q=1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': new URL(url).host,
      'x-forwarded-for': '127.0.0.1'
    }
  })
  t.notOk(question?.headers['x-user'], 'what a client makes up the service does not see either')
  t.equal((await ask(`${url}/ops`, as('ada'))).status, 200)
  t.equal((await ask(`${url}/boss`, as('ada'))).status, 403)
  const stranger = JSON.parse((await ask(`${url}/open/x`, { headers: forged })).text) as Seen
  t.notOk(stranger.headers['x-user'], 'nor does an upstream on a route that asks nobody')

  t.test('any other answer is the client’s, as it is', async (t) => {
    const unknown = await ask(`${url}/ops`)
    t.equal(unknown.status, 401)
    t.equal(unknown.text, 'who are you?')
    t.equal(unknown.headers.get('www-authenticate'), 'Token')
    const redirected = await ask(`${url}/ops`, as('redirect'))
    t.equal(redirected.status, 302)
    t.equal(redirected.headers.get('location'), 'https://login.example')
    t.same(redirected.headers.getSetCookie(), ['a=1', 'b=2'])
  })
  t.test('no answer is no way in, and says nothing of where it was looked for', async (t) => {
    for (const token of ['broken', 'slow', 'huge']) {
      const away = await ask(`${url}/ops`, as(token))
      t.equal(away.status, 503, token)
      t.match(JSON.parse(away.text), { code: 'SP_ERR_AUTH_UNAVAILABLE' })
    }
    await line(({ msg }) => /^the service that decides/.test(String(msg)))
    t.match(
      lines.find(({ status }) => status === 401),
      { refusedBy: 'auth', code: 'SP_ERR_AUTH_FORWARD' }
    )
  })
})

t.test('tells upstreams who calls in a token that they can verify', async (t) => {
  for (const [kind, pair] of [
    ['EdDSA', generateKeyPairSync('ed25519')],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })]
  ] as const)
    t.test(kind, async (t) => {
      const key = `${t.testdir()}/signing.pem`
      writeFileSync(key, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }))
      const { url } = await listening(t, {
        publicUrl: 'https://api.example.com',
        auth: {
          apiKeys: { list: [{ id: 'alice', secret: 'the key', roles: ['staff'], scopes: ['read'] }] },
          optional: true,
          assertion: { key, ttl: '30s', audience: 'inside' }
        },
        routes: [{ path: '/up', proxy: { upstream: await upstream(t, echo) } }]
      })
      const seenBy = async (headers: Record<string, string>): Promise<Seen> =>
        JSON.parse((await ask(`${url}/up`, { headers })).text) as Seen
      const token = (await seenBy({ 'x-api-key': 'the key', 'x-caller': 'forged' })).headers['x-caller'] ?? ''
      const { payload, protectedHeader } = await jwtVerify(
        token,
        createRemoteJWKSet(new URL(`${url}/-/jwks.json`)),
        { issuer: 'https://api.example.com', audience: 'inside', maxTokenAge: 30 }
      )
      t.equal(protectedHeader.alg, kind)
      t.match(payload, { sub: 'alice', roles: ['staff'], scopes: ['read'], by: 'apiKeys' })
      t.equal((payload.exp ?? 0) - (payload.iat ?? 0), 30)
      t.equal((await seenBy({ 'x-api-key': 'the key' })).headers['x-caller'], token, 'signed once')
      t.notOk(
        (await seenBy({ 'x-caller': 'forged', X_Caller: 'forged' })).headers['x-caller'],
        'nobody is nobody'
      )
      const keys = JSON.parse((await ask(`${url}/-/jwks.json`)).text) as { keys: Record<string, unknown>[] }
      t.equal(keys.keys.length, 1)
      t.notOk(keys.keys[0]?.['d'], 'the private part stays here')
    })
})

t.test('ways and what they would need are checked at boot', async (t) => {
  const dir = t.testdir({ 'no.pem': 'x', 'weak.pem': '' })
  writeFileSync(
    `${dir}/weak.pem`,
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  )
  const apiKeys = { list: [{ id: 'a', secret: 'b' }] }
  const cases: [object, RegExp][] = [
    [{ basic: true }, /auth\.basic: Basic needs somebody to know; say "users" beside it/],
    [{ forward: { upstream: 'auht' } }, /auth\.forward\.upstream: No upstream "auht"; did you mean "auth"\?/],
    [{ apiKeys, assertion: { key: `${dir}/no.pem` } }, /auth\.assertion\.key: .* is no private key in PEM/],
    [
      { apiKeys, assertion: { key: `${dir}/weak.pem` } },
      /auth\.assertion\.key: A key of the kind rsa will not do/
    ],
    [{ apiKeys, assertion: { key: `${dir}/gone.pem` } }, /auth\.assertion\.key: .* can't be read \(ENOENT\)/],
    [{ apiKeys, by: ['jwt'] }, /auth\.by\[0\]: The way "jwt" is not defined; defined are apiKeys/],
    [
      { oidc: { issuer: 'https://a.example', clientId: 'x' } },
      /auth\.oidc: Who comes from a provider needs a session/
    ],
    [
      { session: true, oidc: { issuer: 'http://a.example', clientId: 'x' } },
      /auth\.oidc\.issuer: .* is plain http/
    ]
  ]
  for (const [auth, expected] of cases)
    await t.rejects(
      loadConfig(
        { upstreams: { auth: { url: 'http://localhost:1' } }, auth, routes: [page] },
        { SESSION_SECRET: 'x'.repeat(32) }
      ),
      { message: expected },
      JSON.stringify(auth)
    )
})

// Every pair of a way in and something required: what a caller with it, one without it, and one with a wrong credential get.
t.test('each way in with each requirement answers 200, 401 or 403 as documented', async (t) => {
  const jwtSecret = 'a secret that two sides share, long enough'
  const token = (claims: object): Promise<string> =>
    new SignJWT({ exp: 4_102_444_800, ...claims })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(jwtSecret))
  const ask = await decider(t)
  const app = await gateway(t, {
    auth: {
      session: true,
      users,
      basic: true,
      jwt: { secret: jwtSecret, algorithms: ['HS256'] },
      apiKeys: {
        list: [
          { id: 'full', secret: 'full', roles: ['staff'], scopes: ['read'] },
          { id: 'bare', secret: 'bare' }
        ]
      },
      forward: { upstream: ask, caller: { id: 'x-user', roles: 'x-groups', scopes: 'x-extra' } }
    },
    routes: ['session', 'jwt', 'apiKeys', 'basic', 'forward'].flatMap((way) => [
      { path: `/${way}/any`, auth: { by: [way] }, respond: {} },
      { path: `/${way}/role`, auth: { by: [way], require: { roles: ['staff'] } }, respond: {} },
      { path: `/${way}/scope`, auth: { by: [way], require: { scopes: ['read'] } }, respond: {} },
      { path: `/${way}/claim`, auth: { by: [way], require: { claims: { plan: 'gold' } } }, respond: {} },
      { path: `/${way}/optional`, auth: { by: [way], optional: true }, respond: {} }
    ])
  })
  const cookie = async (name: string, password: string): Promise<Record<string, string>> => ({
    cookie: String(
      (await app.inject({ method: 'POST', url: '/login', payload: { username: name, password } })).headers[
        'set-cookie'
      ]
    ).split(';')[0] as string
  })
  const bearer = (made: string): Record<string, string> => ({ authorization: `Bearer ${made}` })
  const full = { sub: 'full', roles: ['staff'], scope: 'read', plan: 'gold' }
  // What each caller may pass: any, role, scope, claim, optional.
  const cases: [way: string, who: string, headers: Record<string, string>, expected: number[]][] = [
    ['session', 'staff', await cookie('ada', 'lovelace'), [200, 200, 403, 403, 200]],
    ['session', 'no staff', await cookie('bob', 'builder: the man'), [200, 403, 403, 403, 200]],
    ['session', 'a stale cookie', { cookie: 'sid=stale' }, [401, 401, 401, 401, 200]],
    ['jwt', 'all of it', bearer(await token(full)), [200, 200, 200, 200, 200]],
    ['jwt', 'nothing of it', bearer(await token({ sub: 'bare' })), [200, 403, 403, 403, 200]],
    ['jwt', 'a wrong one', bearer('a.b.c'), [401, 401, 401, 401, 401]],
    ['apiKeys', 'all that a key has', { 'x-api-key': 'full' }, [200, 200, 200, 403, 200]],
    ['apiKeys', 'nothing of it', { 'x-api-key': 'bare' }, [200, 403, 403, 403, 200]],
    ['apiKeys', 'a wrong one', { 'x-api-key': 'wrong' }, [401, 401, 401, 401, 401]],
    ['basic', 'staff', basic('ada', 'lovelace'), [200, 200, 403, 403, 200]],
    ['basic', 'no staff', basic('bob', 'builder: the man'), [200, 403, 403, 403, 200]],
    ['basic', 'a wrong one', basic('ada', 'byron'), [401, 401, 401, 401, 401]],
    ['forward', 'whom it lets in', { 'x-token': 'ada' }, [200, 200, 403, 403, 200]],
    ['forward', 'whom it does not', {}, [401, 401, 401, 401, 401]]
  ]
  const paths = ['any', 'role', 'scope', 'claim', 'optional']
  for (const [way, who, headers, expected] of cases)
    t.test(`${way}: ${who}`, async (t) => {
      for (const [i, path] of paths.entries())
        t.equal((await app.inject({ url: `/${way}/${path}`, headers })).statusCode, expected[i], path)
    })
  for (const way of ['session', 'jwt', 'apiKeys', 'basic'])
    t.test(`${way}: nobody`, async (t) => {
      for (const path of paths)
        t.equal((await app.inject(`/${way}/${path}`)).statusCode, path === 'optional' ? 200 : 401, path)
    })
})

t.test(
  'the first way that succeeds is the caller, and a wrong credential beside it is refused',
  async (t) => {
    const app: FastifyInstance = await gateway(t, {
      auth: {
        users,
        basic: true,
        apiKeys: { list: [{ id: 'key', secret: 'key' }] },
        identity: { 'x-id': 'id' },
        passOn: ['apiKeys']
      },
      routes: [{ path: '/a', proxy: { upstream: await upstream(t, echo) } }]
    })
    const both: InjectOptions = { url: '/a', headers: { ...basic('ada', 'lovelace'), 'x-api-key': 'key' } }
    const seen = (await app.inject(both)).json<Seen>()
    t.equal(seen.headers['x-id'], 'key', 'API keys come before Basic')
    t.equal(seen.headers['x-api-key'], 'key', 'whose credential may go on')
    t.notOk(seen.headers['authorization'], 'and no other does')
    for (const headers of [
      { ...basic('ada', 'byron'), 'x-api-key': 'key' },
      { ...basic('ada', 'lovelace'), 'x-api-key': 'wrong' }
    ])
      t.equal((await app.inject({ url: '/a', headers })).statusCode, 401)
  }
)
