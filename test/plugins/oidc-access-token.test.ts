import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import {
  ask,
  clock,
  echo,
  type Listening,
  listening,
  readableLog,
  type Scope,
  SECRET,
  type Seen,
  upstream,
  workersTogether
} from '../helpers.ts'
import { provider, type RealProvider, Visitor } from '../provider.ts'

t.setTimeout(600_000)

const routes = (url: string): object[] => [
  { path: '/app/*', proxy: { upstream: url } },
  { path: '/plain/*', auth: { passOn: [] }, proxy: { upstream: url } },
  { path: '/optional/*', auth: { optional: true }, proxy: { upstream: url } }
]

interface Stage {
  readonly real: RealProvider
  readonly auth: object
  readonly echoing: string
}

/** A real provider, and the options of a gateway that passes its access tokens on. */
async function stage(
  t: Scope,
  { refreshes = true, ttl }: { refreshes?: boolean; ttl?: object } = {}
): Promise<Stage> {
  const real = await provider(t, {
    configuration: {
      ...(refreshes ? {} : { issueRefreshToken: async () => false }),
      ...(ttl === undefined ? {} : { ttl })
    }
  })
  const auth = {
    session: true,
    oidc: {
      issuer: real.issuer,
      clientId: 'gateway',
      clientSecret: 'a secret of the client',
      scopes: ['openid', 'email', 'profile', 'offline_access'],
      params: { prompt: 'consent' }
    },
    passOn: ['oidc']
  }
  return { real, auth, echoing: await upstream(t, echo) }
}

/** Asks with the cookies of a visitor and returns the Authorization that the upstream got. */
async function authorizationAt(
  visitor: Visitor,
  url: string,
  headers: Record<string, string> = {}
): Promise<string | undefined> {
  const { status, text } = await ask(url, { headers: { cookie: visitor.cookiesFor(url), ...headers } })
  if (status !== 200) return `status ${status}`
  return (JSON.parse(text) as Seen).headers['authorization']
}

t.test('sends the access token of a session to the upstream, in place of what a client sends', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const { log, lines } = readableLog('trace')
  const { url } = await listening(
    t,
    {
      auth: { ...auth, users: { list: [{ name: 'bob', secret: 'builder' }] } },
      routes: routes(echoing)
    } as never,
    { log }
  )
  real.know(url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/login?with=provider&return_to=/app/`)
  const sent = await authorizationAt(ada, `${url}/app/a`)
  t.match(sent, /^Bearer [\w-]{20,}$/)
  const { status, text } = await ask(`${real.issuer}/me`, { headers: { authorization: String(sent) } })
  t.equal(status, 200)
  t.equal((JSON.parse(text) as { sub: string }).sub, 'ada', 'the provider knows it as that of the user')
  const forged = { authorization: 'Bearer forged' }
  t.equal(await authorizationAt(ada, `${url}/app/a`, forged), sent)
  t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined, 'not on other routes')
  const anonymous = await authorizationAt(new Visitor(), `${url}/optional/a`)
  t.equal(anonymous, undefined, 'nobody has one')
  const local = new Visitor()
  await local.open(`${url}/login`, { form: { username: 'bob', password: 'builder' }, stop: () => true })
  t.equal(await authorizationAt(local, `${url}/app/a`, forged), undefined, 'a local user has none')
  const token = String(sent).slice('Bearer '.length)
  t.notOk(JSON.stringify(lines).includes(token), 'it is in no log')
  const who = await ask(`${url}/session`, { headers: { cookie: ada.cookiesFor(url) } })
  t.notOk(who.text.includes(token), 'nor told to the browser')
})

t.test('renews it in time, once for all requests and workers', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const advance = clock(t)
  const gateways: Listening[] = []
  for (const peers of workersTogether(2))
    gateways.push(await listening(t, { auth, routes: routes(echoing) } as never, { keep: new Keep(peers) }))
  const [one, two] = gateways as [Listening, Listening]
  real.know(one.url, two.url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${one.url}/app/`)
  const cookie = ada.cookiesFor(one.url)
  const get = (url: string) => authorizationAt(new Visitor(), `${url}/app/a`, { cookie })
  const first = await get(one.url)
  t.equal(await get(two.url), first, 'the other worker has it as well')
  advance(46)
  const before = real.asked.filter((each) => each === 'POST /token').length
  const renewed = await Promise.all([one, two, one, two, one, two].map(({ url }) => get(url)))
  t.match(renewed[0], /^Bearer /)
  t.not(renewed[0], first, 'before the old one has expired')
  t.equal(new Set(renewed).size, 1, 'one for all')
  t.equal(real.asked.filter((each) => each === 'POST /token').length - before, 1)
})

t.test('no expired token is sent', async (t) => {
  t.test('503 while the provider does not renew it', async (t) => {
    const { real, auth, echoing } = await stage(t)
    const advance = clock(t)
    const { url } = await listening(t, { auth, routes: routes(echoing) } as never)
    real.know(url)
    const ada = new Visitor()
    await ada.logInAs('ada', `${url}/app/`)
    real.answerFirst((request, response) => {
      if (request.url !== '/token') return false
      response.writeHead(503).end()
      return true
    })
    advance(46)
    t.match(await authorizationAt(ada, `${url}/app/a`), /^Bearer /, 'it is still valid')
    advance(20)
    t.equal(await authorizationAt(ada, `${url}/app/a`), 'status 503')
    t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined, 'the session goes on')
  })
  t.test('a new log-in where it can not be renewed', async (t) => {
    const { real, auth, echoing } = await stage(t, { refreshes: false })
    const advance = clock(t)
    const { url } = await listening(t, { auth, routes: routes(echoing) } as never)
    real.know(url)
    const ada = new Visitor()
    await ada.logInAs('ada', `${url}/app/`)
    t.match(await authorizationAt(ada, `${url}/app/a`), /^Bearer /)
    advance(61)
    t.equal(await authorizationAt(ada, `${url}/app/a`), 'status 401')
    t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined)
  })
})

t.test('a session of before the reload that passes tokens on gets one', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const keep = new Keep()
  const before = await listening(
    t,
    { auth: { ...auth, passOn: [] }, routes: routes(echoing).slice(0, 1) } as never,
    { keep }
  )
  const after = await listening(t, { auth, routes: routes(echoing) } as never, { keep })
  real.know(before.url, after.url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${before.url}/app/`)
  const cookie = ada.cookiesFor(before.url)
  t.match(await authorizationAt(new Visitor(), `${after.url}/app/a`, { cookie }), /^Bearer /)
})

const seenAt = async (visitor: Visitor, url: string): Promise<Seen['headers'] | number> => {
  const { status, text } = await ask(url, {
    headers: { cookie: visitor.cookiesFor(url), 'x-access': 'forged' }
  })
  return status === 200 ? (JSON.parse(text) as Seen).headers : status
}

t.test('sends the tokens of a session in headers of your choice', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const { log, lines } = readableLog('trace')
  const request = { 'x-access': 'Token {caller.accessToken}', 'x-id': { add: '{caller.idToken}' } }
  const { url } = await listening(
    t,
    {
      auth: { ...auth, passOn: [], users: { list: [{ name: 'bob', secret: 'builder' }] } },
      accessLog: { headers: ['x-access', 'x-id'] },
      routes: [
        { path: '/headers/*', headers: { request }, proxy: { upstream: echoing } },
        {
          path: '/identity/*',
          auth: { identity: { 'x-caller-access': 'accessToken', 'x-caller-id': 'idToken' } },
          proxy: { upstream: echoing }
        },
        { path: '/optional/*', auth: { optional: true }, headers: { request }, proxy: { upstream: echoing } },
        {
          path: '/report/*',
          auth: { require: { roles: ['nobody'] }, mode: 'report' },
          headers: { request },
          proxy: { upstream: echoing }
        },
        { path: '/plain/*', proxy: { upstream: echoing } }
      ]
    } as never,
    { log }
  )
  real.know(url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/login?with=provider&return_to=/plain/`)
  const headers = (await seenAt(ada, `${url}/headers/a`)) as Record<string, string>
  const [, access = ''] = /^Token ([\w-]{20,})$/.exec(headers['x-access'] ?? '') ?? []
  const { status, text } = await ask(`${real.issuer}/me`, { headers: { authorization: `Bearer ${access}` } })
  t.equal(status, 200)
  t.equal((JSON.parse(text) as { sub: string }).sub, 'ada')
  const id = headers['x-id'] ?? ''
  const claims = JSON.parse(Buffer.from(id.split('.')[1] ?? '', 'base64url').toString()) as object
  t.match(claims, { sub: 'ada', aud: 'gateway', iss: real.issuer })
  t.match(await seenAt(ada, `${url}/identity/a`), { 'x-caller-access': access, 'x-caller-id': id })
  const local = new Visitor()
  await local.open(`${url}/login`, { form: { username: 'bob', password: 'builder' }, stop: () => true })
  const without: [name: string, visitor: Visitor, path: string][] = [
    ['a local user', local, '/headers/a'],
    ['a local user', local, '/identity/a'],
    ['nobody', new Visitor(), '/optional/a'],
    ['a caller who lacks a role, in report mode', ada, '/report/a']
  ]
  for (const [name, visitor, path] of without) {
    const seen = await seenAt(visitor, url + path)
    t.type(seen, 'object', `${name} at ${path}`)
    const names = path.startsWith('/identity') ? ['x-caller-access', 'x-caller-id'] : ['x-access', 'x-id']
    for (const header of names) t.notOk(header in (seen as object), `${name} at ${path} sends no ${header}`)
  }
  const plain = (await seenAt(ada, `${url}/plain/a`)) as object
  t.notMatch(JSON.stringify(plain), access, 'not on other routes')
  for (const token of [access, id]) t.notOk(JSON.stringify(lines).includes(token), 'it is in no log')
})

t.test('an ID token that can not be verified is asked for again soon', async (t) => {
  const ttl = { AccessToken: 7200, RefreshToken: 86_400, IdToken: 650, Session: 86_400, Grant: 86_400 }
  const { real, auth, echoing } = await stage(t, { ttl: { ...ttl, Interaction: 600 } })
  const { log, lines } = readableLog()
  const { url } = await listening(
    t,
    {
      session: { idle: '7d', absolute: '30d' },
      auth: { ...auth, passOn: [], identity: { 'x-id': 'idToken' } },
      accessLog: false,
      routes: [{ path: '/app/*', proxy: { upstream: echoing } }]
    },
    { log }
  )
  real.know(url)
  const pass = clock(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/app/`)
  const sent = async (): Promise<string | undefined> =>
    ((await seenAt(ada, `${url}/app/`)) as Record<string, string>)['x-id']
  const first = await sent()
  const path = '/.well-known/openid-configuration'
  const document = (await (await fetch(real.issuer + path)).json()) as object
  let status = 503
  // The keys have moved, so that those that are known are not used.
  real.answerFirst((request, response) => {
    if (request.url === path)
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ ...document, jwks_uri: `${real.issuer}/new/jwks` }))
    else if (request.url !== '/new/jwks') return false
    else if (status === 503) response.writeHead(503).end()
    else {
      request.url = '/jwks'
      return false
    }
    return true
  })
  pass(700)
  t.equal(await sent(), first, 'the earlier one, while no keys can be fetched')
  t.ok(lines.some(({ msg }) => msg === 'id token not verified, using the earlier one'))
  status = 200
  pass(31)
  const second = await sent()
  t.match(second, /^eyJ/)
  t.not(second, first, 'the new one soon after')
})

t.test('tokens are no part of a cache key: the entry of a caller outlives them', async (t) => {
  const { real, auth } = await stage(t)
  const advance = clock(t)
  const seen: string[] = []
  const url = await upstream(t, (request, response) => {
    seen.push(`${String(request.headers['x-access'])} ${String(request.headers['x-caller-access'])}`)
    response.writeHead(200, { 'cache-control': 'max-age=600', vary: 'x-access, x-caller-access' }).end('up')
  })
  const gate = await listening(t, {
    auth: { ...auth, passOn: [], identity: { 'x-caller-access': 'accessToken' } },
    headers: { request: { 'x-access': '{headers.x-version}:{caller.accessToken}' } },
    cache: { callers: 'separate' },
    routes: [{ path: '/app/*', proxy: { upstream: url } }]
  } as never)
  real.know(gate.url)
  const [ada, bob] = [new Visitor(), new Visitor()]
  await ada.logInAs('ada', `${gate.url}/app/`)
  await bob.logInAs('bob', `${gate.url}/app/`)
  seen.length = 0
  const get = async (visitor: Visitor, version: string) => {
    const headers = { cookie: visitor.cookiesFor(`${gate.url}/app/a`), 'x-version': version }
    return (await ask(`${gate.url}/app/a`, { headers })).status
  }
  t.equal(await get(ada, '1'), 200)
  advance(46)
  t.equal(await get(ada, '1'), 200)
  t.equal(seen.length, 1, 'another token, the same entry')
  t.equal(await get(bob, '1'), 200)
  t.equal(await get(ada, '2'), 200)
  t.equal(seen.length, 3, 'another caller, and another value beside the token')
  t.equal(new Set(seen).size, 3)
})

t.test('tokens are refused outside of request headers, and where no session has them', async (t) => {
  const oidc = { issuer: 'https://login.example.com', clientId: 'gateway', clientSecret: 'a secret' }
  const auth = { session: true, oidc, require: { roles: ['a'] } }
  const proxy = { upstream: 'http://localhost:4001' }
  const header = { request: { 'x-a': '{caller.accessToken}' } }
  const keys = { apiKeys: { list: [] } }
  const cases: [name: string, config: object, message: RegExp][] = [
    [
      'headers.response',
      { headers: { response: { 'x-a': '{caller.idToken}' } }, routes: [] },
      /headers\.response\.x-a: expected a value that is no credential, got "\{caller\.idToken\}"; only "headers\.request" and "identity" of "auth" may have it/
    ],
    ['query', { query: { a: '{caller.accessToken}' }, routes: [] }, /query\.a: .* no credential/],
    [
      'respond.body',
      { routes: [{ path: '/a', respond: { body: '{caller.accessToken}' } }] },
      /routes\[0\]\.respond\.body: .* no credential/
    ],
    [
      'a header of a leg',
      {
        routes: [
          {
            path: '/a',
            aggregate: { legs: { a: { ...proxy, path: '/', headers: { 'x-a': '{caller.accessToken}' } } } }
          }
        ]
      },
      /legs\.a\.headers\.x-a: .* no credential/
    ],
    [
      'a route with API keys',
      { auth: keys, routes: [{ path: '/a', headers: header, proxy }] },
      /routes\[0\]\.headers\.request\.x-a: expected a route that accepts sessions of "auth\.oidc", got one that does not/
    ],
    [
      'a public route with the headers of the root',
      { auth, headers: header, routes: [{ path: '/a', auth: false, proxy }] },
      /headers\.request\.x-a: expected a route that accepts sessions/
    ],
    [
      'a route whose "by" leaves the session out',
      {
        auth: { ...auth, ...keys },
        routes: [{ path: '/a', auth: { by: ['apiKeys'] }, headers: header, proxy }]
      },
      /headers\.request\.x-a: expected a route that accepts sessions/
    ],
    [
      'identity without a provider',
      { auth: { ...keys, identity: { 'x-a': 'accessToken' } }, routes: [{ path: '/a', proxy }] },
      /auth\.identity\.x-a: expected sessions of "oidc" to be accepted beside "accessToken", got the strategies apiKeys and no "oidc"/
    ],
    [
      'identity where "by" leaves the session out',
      {
        auth: { ...auth, ...keys, by: ['apiKeys'], identity: { 'x-a': 'idToken' } },
        routes: [{ path: '/a', proxy }]
      },
      /auth\.identity\.x-a: expected sessions of "oidc" to be accepted beside "idToken", got the strategies apiKeys;/
    ]
  ]
  for (const [name, config, message] of cases)
    await t.rejects(loadConfig(config as never, { SESSION_SECRET: SECRET }), { message }, name)
  await loadConfig({ auth, routes: [{ path: '/a', headers: header, proxy }] } as never, {
    SESSION_SECRET: SECRET
  })
})

t.test('"oidc" needs a provider', async (t) => {
  const auth = { session: true, users: { list: [{ name: 'bob', secret: 'builder' }] }, passOn: ['oidc'] }
  await t.rejects(
    loadConfig({ auth, routes: [{ path: '/a', respond: {} }] } as never, { SESSION_SECRET: SECRET }),
    { message: /auth\.passOn\[0\]: expected "oidc" beside "passOn": \["oidc"\], got none/ }
  )
})
