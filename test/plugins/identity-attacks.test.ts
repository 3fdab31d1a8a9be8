import { createHook } from 'node:async_hooks'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import {
  ask,
  bodyOf,
  type Listening,
  listening,
  movableClock,
  raw,
  type Scope,
  type Seen,
  upstream
} from '../helpers.ts'
import { Visitor } from '../provider.ts'
import { redis, until, withoutRedis } from '../redis.ts'

t.test(
  'a forward-auth service gets its X-Forwarded fields from the gateway, never from a client',
  async (t) => {
    const asked: string[][] = []
    // As some services do, it believes X-Original-URL before X-Forwarded-Uri.
    const decider = await upstream(t, ({ headers, rawHeaders }, response) => {
      asked.push(rawHeaders.filter((_value, i) => i % 2 === 0))
      const uri = headers['x-original-url'] ?? headers['x-original-uri'] ?? headers['x-forwarded-uri']
      response.writeHead(uri === '/public' ? 200 : 403).end()
    })
    const config = {
      auth: { forward: { upstream: decider } },
      routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
    }
    const { url } = await listening(t, config)
    const names = [
      ...['X-Original-URL', 'X_Original_Url', 'x-original-uri', 'X-Original-Method', 'X-Rewrite-URL'],
      ...['X-Real-IP', 'Forwarded', 'True-Client-IP', 'X~Original~URL', 'Proxy']
    ]
    t.equal((await ask(`${url}/public`)).status, 200)
    for (const name of names) {
      t.equal((await ask(`${url}/admin`, { headers: { [name]: '/public' } })).status, 403, name)
      t.notOk(
        asked.at(-1)?.some((each) => each.toLowerCase() === name.toLowerCase()),
        name
      )
    }
    t.test('and from a trusted proxy', async (t) => {
      const { url } = await listening(t, { trustedProxies: ['loopback'], ...config })
      t.equal((await ask(`${url}/admin`, { headers: { 'X-Original-URL': '/public' } })).status, 200)
      t.equal((await ask(`${url}/admin`, { headers: { X_Original_URL: '/public' } })).status, 403)
    })
  }
)

t.test('no spelling of an identity header passes, and no client can remove the real one', async (t) => {
  const { port } = await listening(t, {
    auth: {
      apiKeys: { list: [{ id: 'ada', secret: 'right' }] },
      identity: { 'x-user-id': 'id' },
      optional: true
    },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
  })
  const spellings = ['x-user-id', 'X_User_Id', 'x.user.id', 'x~user~id', 'X+User|Id', "x'user'id"]
  const lines = spellings.map((name) => `${name}: root\r\n`).join('')
  const seenBy = async (more: string): Promise<Seen> => {
    const answer = await raw(
      port,
      `GET /a HTTP/1.1\r\nhost: a\r\n${lines}${more}connection: close, x-user-id\r\n\r\n`
    )
    return JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as Seen
  }
  t.notMatch((await seenBy('')).rawHeaders.join(), /root/)
  const { headers, rawHeaders } = await seenBy('x-api-key: right\r\n')
  t.equal(headers['x-user-id'], 'ada')
  t.notMatch(rawHeaders.join(), /root|right/)
})

/** A provider that says what a test wants it to say, and can be held up. */
interface Puppet {
  readonly issuer: string
  /** What its ID tokens and its userinfo tell; false for a renewal without an ID token, and an answer of 503. */
  idClaims: Record<string, unknown> | false
  userinfo: Record<string, unknown> | false
  /** What signs ID tokens instead of the key "one". */
  signer:
    | {
        readonly alg: string
        readonly kid?: string
        readonly typ?: string
        readonly key: CryptoKey | Uint8Array
      }
    | undefined
  /** Whether the keys can be fetched. */
  hasKeys: boolean
  /** What was asked for at the place of tokens, without the first log-in. */
  readonly renewals: URLSearchParams[]
  /** Runs before a renewal is answered; what it answers by itself is answered. */
  onRenewal: (response: ServerResponse) => Promise<void> | void
  /** Makes a logout token. */
  logout(claims: Record<string, unknown>): Promise<string>
}

async function puppet(t: Scope): Promise<Puppet> {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256', use: 'sig' }
  let nonce = ''
  const sign = (claims: Record<string, unknown>): Promise<string> => {
    const { key, ...header } = made.signer ?? { alg: 'RS256', kid: 'one', key: privateKey }
    return new SignJWT(claims)
      .setProtectedHeader(header)
      .setIssuer(made.issuer)
      .setAudience('gateway')
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(key)
  }
  const issuer = await upstream(t, (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', made.issuer)
    const json = (value: object): void =>
      void response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
    if (pathname === '/.well-known/openid-configuration')
      json({
        issuer: made.issuer,
        authorization_endpoint: `${made.issuer}/authorize`,
        token_endpoint: `${made.issuer}/token`,
        userinfo_endpoint: `${made.issuer}/me`,
        jwks_uri: `${made.issuer}/jwks`
      })
    else if (pathname === '/jwks' && made.hasKeys) json({ keys: [jwk] })
    else if (pathname === '/jwks') response.writeHead(503).end()
    else if (pathname === '/me') {
      if (made.userinfo === false) response.writeHead(503).end()
      else json({ sub: 'ada', ...made.userinfo })
    } else if (pathname === '/authorize') {
      nonce = searchParams.get('nonce') ?? ''
      const back = new URL(searchParams.get('redirect_uri') ?? '')
      back.searchParams.set('code', 'a code')
      back.searchParams.set('state', searchParams.get('state') ?? '')
      response.writeHead(303, { location: back.href }).end()
    } else
      void (async () => {
        const said = new URLSearchParams((await bodyOf(request)).toString())
        const again = said.get('grant_type') === 'refresh_token'
        if (again) {
          made.renewals.push(said)
          await made.onRenewal(response)
          if (response.writableEnded) return
        }
        json({
          access_token: 'an access token',
          token_type: 'bearer',
          // The first one is over at once.
          expires_in: again ? 3600 : 0,
          refresh_token: `refresh ${made.renewals.length}`,
          ...(made.idClaims === false
            ? {}
            : {
                id_token: await sign({
                  sub: 'ada',
                  sid: 'theirs',
                  ...made.idClaims,
                  ...(again ? {} : { nonce })
                })
              })
        })
      })()
  })
  const made: Puppet = {
    issuer,
    idClaims: {},
    userinfo: {},
    signer: undefined,
    hasKeys: true,
    renewals: [],
    onRenewal: () => {},
    logout: (claims) =>
      sign({ jti: 'one', events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, ...claims })
  }
  return made
}

/** A gateway that knows people by a provider, and somebody who has come through it with tokens that are over. */
async function behind(
  t: Scope,
  { issuer }: Puppet,
  more: object = {}
): Promise<Listening & { ada: Visitor; open: () => Promise<number>; staff: () => Promise<number> }> {
  const gateway = await listening(t, {
    auth: { session: true, oidc: { issuer, clientId: 'gateway', clientSecret: 'a secret' } },
    routes: [
      { path: '/a', respond: { body: 'for all that are known' } },
      { path: '/staff', auth: { require: { roles: ['staff'] } }, respond: { body: 'for staff' } },
      { path: '/after', auth: false, respond: { body: 'here' } }
    ],
    ...more
  })
  const ada = new Visitor()
  await ada.open(`${gateway.url}/login?return_to=/after`)
  const asked = (path: string) => async (): Promise<number> =>
    (await ask(gateway.url + path, { headers: { cookie: ada.cookiesFor(gateway.url) } })).status
  return { ...gateway, ada, open: asked('/a'), staff: asked('/staff') }
}

t.test('a session that ends while its tokens are refreshed stays ended', async (t) => {
  const stores: [string, (t: Scope) => Promise<object>, string | false][] = [
    ['in memory', async () => ({}), false],
    ['in Redis', async (t) => ({ store: { redis: (await redis(t)).url } }), withoutRedis]
  ]
  for (const [where, store, skip] of stores)
    t.test(where, { skip }, async (t) => {
      const real = await puppet(t)
      const { url, open } = await behind(t, real, await store(t))
      real.onRenewal = async () => {
        const body = new URLSearchParams({ logout_token: await real.logout({ sub: 'ada', sid: 'theirs' }) })
        t.equal((await ask(`${url}/login/callback`, { method: 'POST', body })).status, 200)
      }
      t.equal(await open(), 401, 'who was under way')
      real.onRenewal = () => {}
      t.equal(await open(), 401, 'and from then on')
    })
})

t.test('a role that the provider has removed is gone after the next refresh', async (t) => {
  const roles = ['staff']
  const cases: [string, Partial<Puppet>, Partial<Puppet>, number][] = [
    ['the ID token told of it', { idClaims: { roles } }, { idClaims: {} }, 403],
    ['userinfo told of it', { userinfo: { roles } }, { userinfo: {} }, 403],
    ['and there is no new ID token', { userinfo: { roles } }, { userinfo: {}, idClaims: false }, 403],
    [
      'but what an ID token said counts until there is another',
      { idClaims: { roles } },
      { idClaims: false },
      200
    ]
  ]
  for (const [name, before, after, expected] of cases)
    t.test(name, async (t) => {
      const real = Object.assign(await puppet(t), before)
      const { staff } = await behind(t, real)
      Object.assign(real, after)
      t.equal(await staff(), expected)
    })
})

t.test('a provider that fails during a refresh ends no session and is retried after a pause', async (t) => {
  const real = await puppet(t)
  const { open } = await behind(t, real)
  real.userinfo = false
  t.equal(await open(), 200)
  t.equal(await open(), 200)
  t.equal(real.renewals.length, 1, 'what it gave is kept: a token that was used ends the session there')
  const other = await puppet(t)
  other.onRenewal = (response) => void response.writeHead(503).end()
  const gateway = await behind(t, other)
  for (let i = 0; i < 3; i++) t.equal(await gateway.open(), 200)
  t.equal(other.renewals.length, 1)
})

/** Endpoints in the config, with which an ID token may have any algorithm. */
const endpointsOf = (issuer: string): object => ({
  auth: {
    session: true,
    oidc: {
      issuer,
      clientId: 'gateway',
      clientSecret: SHARED,
      endpoints: {
        authorization: `${issuer}/authorize`,
        token: `${issuer}/token`,
        jwks: `${issuer}/jwks`,
        userinfo: false
      }
    }
  }
})

const SHARED = 'a secret of at least 32 characters'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

t.test('a log-in needs an ID token for this client, with a valid signature and a subject', async (t) => {
  const { privateKey: other } = await generateKeyPair('RS256')
  const cases: [string, Partial<Puppet>, number][] = [
    ['a key of the provider', {}, 200],
    ['another key of that id', { signer: { alg: 'RS256', kid: 'one', key: other } }, 401],
    ['an unknown key', { signer: { alg: 'RS256', kid: 'two', key: other } }, 401],
    ['another key without an id', { signer: { alg: 'RS256', key: other } }, 401],
    ['the client secret', { signer: { alg: 'HS256', key: bytes(SHARED) } }, 200],
    ['another secret', { signer: { alg: 'HS256', key: bytes(`${SHARED}.`) } }, 401],
    ['no keys', { hasKeys: false }, 503],
    ['this client as the authorized party', { idClaims: { azp: 'gateway' } }, 200],
    ['another authorized party', { idClaims: { azp: 'other' } }, 401],
    ['an access token', { signer: { alg: 'HS256', typ: 'at+jwt', key: bytes(SHARED) } }, 401],
    ['a logout token', { signer: { alg: 'HS256', typ: 'logout+jwt', key: bytes(SHARED) } }, 401],
    ['an empty subject', { idClaims: { sub: '' } }, 401]
  ]
  for (const [name, changes, status] of cases)
    t.test(name, async (t) => {
      const real = Object.assign(await puppet(t), changes)
      const { url, ada, open } = await behind(t, real, endpointsOf(real.issuer))
      t.equal((await ada.open(`${url}/login?return_to=/after`)).status, status)
      t.equal(await open(), status === 200 ? 200 : 401)
    })
})

t.test('a refresh without keys for its ID token keeps the earlier claims and the new tokens', async (t) => {
  const roles = ['staff']
  const signer = { alg: 'HS256', key: bytes(SHARED) }
  const real = Object.assign(await puppet(t), { signer, idClaims: { roles } })
  const { staff } = await behind(t, real, endpointsOf(real.issuer))
  Object.assign(real, { signer: undefined, idClaims: {}, hasKeys: false })
  t.equal(await staff(), 200)
  t.equal(await staff(), 200)
  t.equal(real.renewals.length, 1)
})

t.test('a token of a removed key is refused although no other token arrives', async (t) => {
  const [stolen, next] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')])
  let keys = [{ ...(await exportJWK(stolen.publicKey)), kid: 'stolen' }]
  let fetched = 0
  const jwks = await upstream(t, (_request, response) => {
    fetched++
    response.end(JSON.stringify({ keys }))
  })
  const { url } = await listening(t, {
    auth: { jwt: { jwks: `${jwks}/jwks.json` } },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const token = await new SignJWT({ sub: 'eve' })
    .setProtectedHeader({ alg: 'ES256', kid: 'stolen' })
    .setExpirationTime('30d')
    .sign(stolen.privateKey)
  const open = async (): Promise<number> =>
    (await ask(`${url}/a`, { headers: { authorization: `Bearer ${token}` } })).status
  t.same([await open(), await open()], [200, 200])
  keys = [{ ...(await exportJWK(next.publicKey)), kid: 'next' }]
  movableClock(t).advance(11 * 60_000)
  t.equal(await open(), 200, 'nobody waits for what may well be the same')
  await until(() => fetched === 2)
  let status = 200
  while (status === 200) status = await open()
  t.equal(status, 401)
})

t.test('a credential in the query never reaches an upstream', async (t) => {
  const { publicKey } = await generateKeyPair('ES256')
  const keys = JSON.stringify({ keys: [await exportJWK(publicKey)] })
  const asked: string[] = []
  const decider = await upstream(t, ({ headers }, response) => {
    asked.push(String(headers['x-forwarded-uri']))
    response.end()
  })
  const proxy = { upstream: await upstream(t) }
  const auth = {
    jwt: { keys: join(t.testdir({ 'keys.json': keys }), 'keys.json'), from: ['query:token'] },
    apiKeys: { from: ['query:apikey', 'header:x-api-key'], list: [{ id: 'ada', secret: 'right' }] },
    forward: { upstream: decider }
  }
  const { url } = await listening(t, {
    auth,
    routes: [
      { path: '/keys', auth: { by: ['apiKeys'] }, proxy },
      { path: '/forward', auth: { by: ['forward'] }, proxy },
      { path: '/report', auth: { mode: 'report' }, proxy }
    ]
  })
  const cases: [string, string, string][] = [
    ['of a way that does not count', '/keys?a=1&token=secret&apikey=right&b', '/keys?a=1&b'],
    ['of two of them', '/forward?token=secret&apikey=secret', '/forward'],
    ['of a way behind one that refuses, in report mode', '/report?token=secret&apikey=right', '/report']
  ]
  for (const [name, path, expected] of cases) {
    const { status, text } = await ask(url + path)
    t.equal(status, 200, name)
    t.equal((JSON.parse(text) as Seen).url, expected, name)
  }
  t.same(asked, ['/forward'])
})

t.test('no upstream can set the session cookie, in any spelling', async (t) => {
  const spellings = ['sid=x', ' sid=x', 'sid =x', '\tsid\t=x', '=sid=x', ' = sid=x; Path=/']
  const others = ['sid2=x', 'a=sid=x', '=a; sid=x', 'Sid=x']
  const { url } = await listening(t, {
    auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [
      {
        path: '/*',
        proxy: {
          upstream: await upstream(t, ({ socket }) => {
            const cookies = [...spellings, ...others].map((each) => `set-cookie:${each}\r\n`).join('')
            socket.end(`HTTP/1.1 200 OK\r\n${cookies}content-length: 0\r\n\r\n`)
          })
        }
      }
    ]
  })
  t.same((await ask(`${url}/a`)).headers.getSetCookie(), others)
})

t.test(
  'a log-in is 503 if the store hangs, and no other log-in waits for it',
  { skip: withoutRedis },
  async (t) => {
    const store = await redis(t)
    const { app, url } = await listening(t, {
      store: { redis: store.url, timeout: '2s' },
      auth: { session: true, basic: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
      routes: [{ path: '/a', respond: { body: 'hello' } }]
    })
    const logIn = async (): Promise<number> => {
      const body = new URLSearchParams({ username: 'ada', password: 'byron' })
      return (await ask(`${url}/login`, { method: 'POST', body })).status
    }
    const basic = { authorization: `Basic ${Buffer.from('ada:lovelace').toString('base64')}` }
    t.equal(await logIn(), 401)
    store.hang()
    // A reply that is late where this process was stalled is excused.
    do t.equal(await logIn(), 503)
    while (app.store.shared?.up)
    t.equal(await logIn(), 503, 'from here on nobody asks it')
    t.equal((await ask(`${url}/a`, { headers: basic })).status, 503)
  }
)

t.test('cross-site requests cannot use a Basic password that the browser has stored', async (t) => {
  const { url } = await listening(t, {
    auth: {
      session: true,
      basic: true,
      users: { list: [{ name: 'ada', secret: 'lovelace' }] },
      apiKeys: { list: [{ id: 'key', secret: 'right' }] }
    },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const basic = { authorization: `Basic ${Buffer.from('ada:lovelace').toString('base64')}` }
  const cases: [string, Record<string, string>, number][] = [
    [
      'a form of another site',
      { ...basic, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
      403
    ],
    ['one that an old browser sent', { ...basic, origin: 'https://evil.example' }, 403],
    ['a page of our own', { ...basic, 'sec-fetch-site': 'same-origin' }, 200],
    ['a program', basic, 200],
    [
      'a key, which no browser brings by itself',
      { 'x-api-key': 'right', origin: 'https://other.example' },
      200
    ]
  ]
  for (const [name, headers, expected] of cases)
    t.equal((await ask(`${url}/a`, { method: 'POST', headers })).status, expected, name)
})

t.test('a scheme without a password is a wrong credential, not none', async (t) => {
  const { url } = await listening(t, {
    auth: { basic: true, optional: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  for (const authorization of ['Basic', 'basic\t', 'Basic !'])
    t.equal((await ask(`${url}/a`, { headers: { authorization } })).status, 401, authorization)
  t.equal((await ask(`${url}/a`)).status, 200, 'nobody is fine')
})

t.test('an unknown user name takes as long as a known one', async (t) => {
  // scrypt, as from another program: the hash of no password at all.
  const password = `$scrypt$ln=10,r=8,p=1$c2FsbHlwb3J0c2FsdA$${'A'.repeat(43)}`
  const { url } = await listening(t, {
    auth: { basic: true, users: { list: [{ name: 'ada', password }] } },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const hashes: string[] = []
  const hook = createHook({
    init(_id, type) {
      if (/^(ARGON2|SCRYPT)REQUEST$/.test(type)) hashes.push(type)
    }
  }).enable()
  t.teardown(() => hook.disable())
  for (const name of ['ada', 'eve']) {
    const authorization = `Basic ${Buffer.from(`${name}:guess`).toString('base64')}`
    t.equal((await ask(`${url}/a`, { headers: { authorization } })).status, 401)
  }
  t.same(hashes, ['SCRYPTREQUEST', 'SCRYPTREQUEST'])
})

t.test('an invalid status of a forward-auth service is 503', async (t) => {
  const decider = await upstream(
    t,
    ({ socket }) => void socket.end('HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n')
  )
  const { url } = await listening(t, {
    auth: { forward: { upstream: decider } },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const { status, text } = await ask(`${url}/a`)
  t.equal(status, 503)
  t.match(JSON.parse(text), { code: 'SP_ERR_AUTH_UNAVAILABLE' })
})

t.test('a long return address does not fail a log-in', async (t) => {
  const { url } = await behind(t, await puppet(t))
  for (const place of [`/${'a'.repeat(2000)}`, `/${'é'.repeat(700)}`, `/${'"'.repeat(2000)}`]) {
    const { status, headers } = await ask(`${url}/login?return_to=${encodeURIComponent(place)}`)
    t.equal(status, 303)
    t.ok((headers.getSetCookie()[0]?.length ?? 9999) < 4096, place.slice(0, 2))
  }
})

t.test('a tier whose requests could never pass is a fault of the config', async (t) => {
  const rateLimit = { max: 10, cost: 5, tiers: { trial: { max: 4 } } }
  await t.rejects(
    listening(t, { rateLimit, routes: [{ path: '/a', respond: { body: 'hello' } }] }),
    /rateLimit\.tiers\.trial: expected at most 4, got a cost of 5/
  )
})

t.test(
  'a log-out while the store is unavailable is 503, and ends the session when the store is back',
  { skip: withoutRedis },
  async (t) => {
    const store = await redis(t)
    const real = await puppet(t)
    const { app, url, ada, open } = await behind(t, real, { store: { redis: store.url, timeout: '2s' } })
    t.equal(await open(), 200)
    const body = new URLSearchParams({ logout_token: await real.logout({ sub: 'ada', sid: 'theirs' }) })
    const logOut = async (): Promise<number> =>
      (await ask(`${url}/login/callback`, { method: 'POST', body })).status
    store.hang()
    t.equal(await logOut(), 503)
    store.go()
    await until(() => app.store.shared?.up === true)
    t.equal(await open(), 401, 'the session is over')
    await ada.open(`${url}/login?return_to=/after`)
    t.equal(await open(), 200, 'a later log-in stays')
    t.equal(await logOut(), 200, 'the provider may send the same token again')
    t.equal(await open(), 401)
    t.equal(await logOut(), 400, 'and once only')
  }
)
