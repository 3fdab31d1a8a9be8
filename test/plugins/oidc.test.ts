import { generateKeyPairSync } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
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
  type Setup,
  sallyport,
  upstream,
  workersTogether
} from '../helpers.ts'
import { provider, type RealProvider, Visitor } from '../provider.ts'
import { freePort, redis, until, withoutRedis } from '../redis.ts'

// Each test walks through the pages of a real provider.
t.setTimeout(600_000)

interface Stage extends Listening {
  readonly real: RealProvider
  readonly lines: Record<string, unknown>[]
}

/** A gateway in front of an echo, and a real provider that knows it. */
async function stage(t: Scope, more: object = {}): Promise<Stage> {
  const real = await provider(t)
  const { log, lines } = readableLog()
  const gateway = await listening(
    t,
    {
      auth: {
        session: true,
        oidc: {
          issuer: real.issuer,
          clientId: 'gateway',
          clientSecret: 'a secret of the client',
          rolesClaim: 'realm_access.roles',
          scopes: ['openid', 'email', 'profile', 'offline_access'],
          params: { prompt: 'consent' }
        },
        identity: { 'x-user': 'id', 'x-mail': 'email', 'x-roles': 'roles' }
      },
      accessLog: false,
      routes: [
        { path: '/private/*', proxy: { upstream: await upstream(t, echo) } },
        { path: '/staff', auth: { require: { roles: ['staff'] } }, respond: { body: 'for staff' } },
        {
          path: '/mail',
          auth: { require: { claims: { email: '*@example.com' } } },
          respond: { body: 'for mail' }
        },
        { path: '/open', auth: false, respond: { body: 'for all' } }
      ],
      ...more
    },
    { log }
  )
  real.know(gateway.url)
  return { ...gateway, real, lines }
}

const cookie = (visitor: Visitor, url: string): Record<string, string> => ({
  cookie: visitor.cookiesFor(url)
})

const post = (visitor: Visitor, url: string, body: object = {}): Promise<{ status: number; text: string }> =>
  ask(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...cookie(visitor, url) },
    body: JSON.stringify(body)
  })

t.test('logs in at the provider and returns to the requested page', async (t) => {
  const { url } = await stage(t)
  const ada = new Visitor()
  const page = await ada.logInAs('ada', `${url}/private/list?page=2&q=%2F`)
  t.equal(page.status, 200)
  t.equal(page.url, `${url}/private/list?page=2&q=%2F`)
  const seen = JSON.parse(page.text) as Seen
  t.match(seen.headers, { 'x-user': 'ada', 'x-mail': 'ada@example.com', 'x-roles': 'staff' })
  t.notOk(seen.headers['cookie'], 'neither the session nor what the log-in needed reaches the upstream')
  const begun = new URL(ada.trail.find((each) => each.includes('/auth?')) ?? '')
  t.match(Object.fromEntries(begun.searchParams), {
    client_id: 'gateway',
    response_type: 'code',
    redirect_uri: `${url}/login/callback`,
    scope: 'openid email profile offline_access',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43,600}$/,
    nonce: /^[\w-]{43}$/
  })
  t.equal((await ada.open(`${url}/staff`)).text, 'for staff')
  t.equal((await ada.open(`${url}/mail`)).text, 'for mail')
  const who = await ask(`${url}/session`, { headers: cookie(ada, url) })
  t.match(JSON.parse(who.text), {
    id: 'ada',
    name: 'Ada Lovelace',
    email: 'ada@example.com',
    roles: ['staff']
  })

  t.test('a caller without a required role gets 403, not a redirect', async (t) => {
    const bob = new Visitor()
    await bob.logInAs('bob', `${url}/private/`)
    for (const path of ['/staff', '/mail']) t.equal((await bob.open(url + path)).status, 403, path)
  })

  t.test('a fetch gets 401, a page load is redirected to the provider', async (t) => {
    const answer = await ask(`${url}/private/`, { headers: { 'sec-fetch-mode': 'cors' } })
    t.equal(answer.status, 401)
    t.equal(answer.headers.get('www-authenticate'), 'Session')
    t.equal((await ask(`${url}/open`)).status, 200)
  })

  t.test('the return address cannot be another origin', async (t) => {
    for (const away of ['https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)']) {
      const visitor = new Visitor()
      const page = await visitor.logInAs('ada', `${url}/login?return_to=${encodeURIComponent(away)}`)
      t.equal(page.url, `${url}/login`, away)
      t.match(page.text, 'You are logged in', 'the page that shows who is logged in')
    }
  })
})

t.test('two tabs log in at once, and going back does no harm', async (t) => {
  const { url } = await stage(t)
  const ada = new Visitor()
  const toCallback = (next: string): boolean => next.startsWith(`${url}/login/callback`)
  const one = await ada.logInAs('ada', `${url}/private/one`, toCallback)
  const two = await ada.logInAs('ada', `${url}/private/two`, toCallback)
  t.equal((await ada.open(two.url)).url, `${url}/private/two`)
  t.equal((await ada.open(one.url)).url, `${url}/private/one`)
  const again = await ada.open(one.url)
  t.equal(again.url, `${url}/private/one`, 'the way back was used already: on to where it led')
})

t.test('refuses a callback of a log-in that did not start here', async (t) => {
  const { url, lines } = await stage(t)
  const toCallback = (next: string): boolean => next.startsWith(`${url}/login/callback`)
  const ada = new Visitor()
  const { url: callback } = await ada.logInAs('ada', `${url}/private/`, toCallback)
  const changed = (name: string, value: string): string => {
    const made = new URL(callback)
    if (value === '') made.searchParams.delete(name)
    else made.searchParams.set(name, value)
    return made.href
  }
  const cases = [
    {
      name: 'in another browser (CSRF on the log-in, RFC 9700 section 4.7)',
      visitor: new Visitor(),
      to: callback
    },
    { name: 'with another state', visitor: ada, to: changed('state', 'x'.repeat(43)) },
    { name: 'without a state', visitor: ada, to: changed('state', '') },
    {
      name: 'from another issuer (mix-up, RFC 9207)',
      visitor: ada,
      to: changed('iss', 'https://evil.example')
    },
    { name: 'with a state that names another cookie', visitor: ada, to: changed('state', '__proto__') }
  ]
  for (const { name, visitor, to } of cases)
    t.test(name, async (t) => {
      const { status, text } = await visitor.open(to)
      t.equal(status, 401)
      t.match(text, 'SP_ERR_AUTH_OIDC_REFUSED')
      t.notMatch(text, /at .*\.ts|node_modules/)
      t.equal((await ask(`${url}/session`, { headers: cookie(visitor, url) })).status, 401)
    })
  t.test('with a code that is wrong, or an error of the provider', async (t) => {
    const visitor = new Visitor()
    for (const change of [
      ['code', 'wrong'],
      ['error', 'access_denied']
    ] as const) {
      const { url: own } = await visitor.logInAs('ada', `${url}/private/`, toCallback)
      const to = new URL(own)
      to.searchParams.set(change[0], change[1])
      t.equal((await visitor.open(to.href)).status, 401, change.join())
    }
  })
  t.notMatch(JSON.stringify(lines), 'a secret of the client', 'no secret is logged')
  t.notMatch(JSON.stringify(lines), new URL(callback).searchParams.get('code') ?? '-', 'nor is a code')
})

t.test('refreshes tokens, so that changes at the provider take effect', async (t) => {
  const { url, real, lines } = await stage(t, { session: { idle: '7d', absolute: '30d' } })
  const pass = clock(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  t.equal((await ada.open(`${url}/staff`)).status, 200)
  real.people.set('ada', { name: 'Ada King', email: 'ada@example.com', roles: [] })
  t.equal((await ada.open(`${url}/staff`)).status, 200, 'until the tokens are over')
  pass(120)
  const many = await Promise.all(Array.from({ length: 5 }, () => ada.open(`${url}/staff`)))
  t.same(
    many.map(({ status }) => status),
    [403, 403, 403, 403, 403],
    'requests at once renew once: the provider takes a token once only'
  )
  t.match(JSON.parse((await ask(`${url}/session`, { headers: cookie(ada, url) })).text), { name: 'Ada King' })
  pass(120)
  real.people.delete('ada')
  t.equal((await ask(`${url}/private/`, { headers: cookie(ada, url) })).status, 401, 'who is gone is out')
  t.notMatch(JSON.stringify(lines), /eyJ/, 'no token is logged')
})

t.test('while the provider is unavailable, sessions go on and log-ins are 503', async (t) => {
  const { url, real, lines } = await stage(t, { session: { idle: '7d', absolute: '30d' } })
  const pass = clock(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  await real.stop()
  pass(120)
  t.equal((await ada.open(`${url}/staff`)).status, 200)
  t.ok(
    lines.some(({ msg }) => msg === 'session token refresh failed'),
    'the log tells'
  )
  const fresh = await stage(t)
  await fresh.real.stop()
  const nobody = await new Visitor().open(`${fresh.url}/private/`)
  t.equal(nobody.status, 503)
  t.equal(nobody.headers['retry-after'], '5')
  t.notMatch(nobody.text, new URL(fresh.real.issuer).port, 'and no address is told')
})

t.test('logging out here logs out at the provider', async (t) => {
  const { url, real } = await stage(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  const before = cookie(ada, url)
  const answer = await post(ada, `${url}/logout`)
  t.equal(answer.status, 200)
  const { message, location } = JSON.parse(answer.text) as { message: string; location: string }
  t.equal(message, 'Successfully logged out')
  const end = new URL(location)
  t.equal(end.origin, real.issuer)
  t.match(Object.fromEntries(end.searchParams), {
    id_token_hint: /^eyJ/,
    post_logout_redirect_uri: `${url}/`
  })
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 401)
  t.test('a form gets a page that leads there, since no form may', async (t) => {
    const bob = new Visitor()
    await bob.logInAs('bob', `${url}/private/`)
    const page = await bob.open(`${url}/logout`, { form: {} })
    t.equal(page.status, 200)
    t.match(page.text, /http-equiv="refresh" content="0; url=http:\/\/127\.0\.0\.1:\d+\/session\/end\?/)
  })
})

t.test('a back-channel logout ends the sessions here', async (t) => {
  const { url, real } = await stage(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  const before = cookie(ada, url)
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 200)
  const page = await ada.open(`${real.issuer}/session/end`)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  await ada.open(`${real.issuer}/session/end/confirm`, { form: { xsrf, logout: 'yes' } })
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 401)
  t.test('a forged logout token is refused', async (t) => {
    for (const logout_token of ['', 'x', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.'])
      t.equal(
        (
          await ask(`${url}/login/callback`, {
            method: 'POST',
            headers: { 'content-type': 'application/x-www-form-urlencoded' },
            body: new URLSearchParams({ logout_token }).toString()
          })
        ).status,
        400
      )
  })
})

t.test(
  'a back-channel logout while the store is unavailable takes effect when it is back',
  { skip: withoutRedis },
  async (t) => {
    const store = await redis(t)
    const { url, real, app, lines } = await stage(t, {
      store: { redis: store.url, timeout: '2s' },
      accessLog: true
    })
    const ada = new Visitor()
    await ada.logInAs('ada', `${url}/private/`)
    const before = cookie(ada, url)
    const page = await ada.open(`${real.issuer}/session/end`)
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
    store.hang()
    await ada.open(`${real.issuer}/session/end/confirm`, { form: { xsrf, logout: 'yes' } })
    t.match(
      lines.find(({ path, method }) => path === '/login/callback' && method === 'POST'),
      { status: 503 },
      'the provider may say it again'
    )
    store.go()
    await until(() => app.store.shared?.up === true)
    t.equal((await ask(`${url}/private/`, { headers: before })).status, 401)
    const again = new Visitor()
    await again.logInAs('ada', `${url}/private/`)
    t.equal(
      (await ask(`${url}/private/`, { headers: cookie(again, url) })).status,
      200,
      'a later log-in stays'
    )
  }
)

t.test('with a strict cookie the callback redirects through its own page', async (t) => {
  const { url } = await stage(t, { session: { cookie: { sameSite: 'strict' } } })
  const ada = new Visitor()
  const page = await ada.logInAs('ada', `${url}/private/x`)
  t.equal(page.status, 200)
  t.match(page.text, '<meta http-equiv="refresh" content="0; url=/private/x">')
  t.equal((await ada.open(`${url}/private/x`)).status, 200)
})

t.test('local users and the provider side by side', async (t) => {
  const real = await provider(t)
  const { url } = await listening(t, {
    auth: {
      session: true,
      users: { list: [{ name: 'local', secret: 'password' }] },
      oidc: {
        issuer: real.issuer,
        clientId: 'gateway',
        clientSecret: 'a secret of the client'
      }
    },
    routes: [{ path: '/private', respond: { body: 'in' } }]
  })
  real.know(url)
  const page = await new Visitor().open(`${url}/private`)
  t.equal(page.status, 200)
  t.match(page.text, 'href="/login?with=provider&amp;return_to=%2Fprivate"')
  const local = await ask(`${url}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'local', password: 'password' })
  })
  t.equal(local.status, 200)
  t.equal((await new Visitor().logInAs('ada', `${url}/login?with=provider&return_to=%2Fprivate`)).text, 'in')
})

t.test('check warns if every user of a provider may log in', async (t) => {
  const oidc = { issuer: 'https://accounts.example.com', clientId: 'gateway' }
  const routes = [
    { path: '/all', respond: {} },
    { path: '/some', auth: { require: { claims: { email: '*@example.com' } } }, respond: {} },
    { path: '/open', auth: false, respond: {} }
  ]
  const folder = t.testdir({
    'gateway.json': JSON.stringify({ auth: { session: true, oidc }, routes }, null, 1)
  })
  const { code, stdout } = await sallyport(['check', '--strict'], {
    cwd: folder,
    env: { SESSION_SECRET: 'a secret of 32 characters or more' }
  })
  t.equal(code, 1)
  t.same(
    stdout.split('\n').filter((line) => line.startsWith('warning')),
    [
      'warning: gateway.json:4:3 auth.oidc: The route /all accepts every user of https://accounts.example.com; add "require" to restrict it [SP_WARN_AUTH_EVERY_USER, medium]'
    ]
  )
})

t.test('check warns of secrets in params', async (t) => {
  const params = {
    client_assertion: 'eyJ-one',
    api_key: 'two',
    pass: 'three',
    login_hint: 'ada',
    audience: 'x'
  }
  const oidc = { issuer: 'https://accounts.example.com', clientId: 'gateway', params }
  const auth = { session: true, oidc, require: { roles: ['staff'] } }
  const routes = [{ path: '/a', respond: {} }]
  const folder = t.testdir({ 'gateway.json': JSON.stringify({ auth, routes }, null, 1) })
  const { stdout } = await sallyport(['check'], { cwd: folder, env: { SESSION_SECRET: SECRET } })
  t.same(
    [...stdout.matchAll(/^warning: .* sends "(\w+)" of "auth\.oidc\.params"/gm)].map(([, name]) => name),
    ['client_assertion', 'api_key', 'pass']
  )
})

/** A gateway with one private route in front of a provider, and what may differ. */
async function behind(
  t: Scope,
  real: RealProvider,
  {
    oidc = {},
    setup = {},
    ...more
  }: { oidc?: object; setup?: Setup & { port?: number }; [word: string]: unknown } = {}
): Promise<Listening & { lines: Record<string, unknown>[] }> {
  const { log, lines } = readableLog()
  const gateway = await listening(
    t,
    {
      auth: {
        session: true,
        oidc: { issuer: real.issuer, clientId: 'gateway', clientSecret: SECRET_OF_CLIENT, ...oidc }
      },
      accessLog: false,
      routes: [{ path: '/private/*', respond: { body: 'for {caller.id}' } }],
      ...more
    },
    { log, ...setup }
  )
  return { ...gateway, lines }
}

const SECRET_OF_CLIENT = 'a secret of the client'
const OFFLINE = { scopes: ['openid', 'email', 'profile', 'offline_access'], params: { prompt: 'consent' } }

t.test('uses the client authentication of the config or the discovery document', async (t) => {
  const cases = [
    { name: 'Basic, where it lists that', supported: ['client_secret_post', 'client_secret_basic'] },
    { name: 'a form, where it lists no Basic', supported: ['client_secret_post', 'none'], by: 'post' },
    { name: 'a JWT, where it lists nothing else', supported: ['client_secret_jwt'], by: 'jwt' },
    {
      name: 'a form, where the config says so',
      supported: ['client_secret_basic', 'client_secret_post'],
      clientAuth: 'client_secret_post',
      by: 'post'
    }
  ]
  for (const { name, supported, clientAuth, by = 'basic' } of cases)
    t.test(name, async (t) => {
      const real = await provider(t, {
        client: { token_endpoint_auth_method: `client_secret_${by}` },
        configuration: { clientAuthMethods: supported }
      })
      const { url } = await behind(t, real, { oidc: clientAuth === undefined ? {} : { clientAuth } })
      real.know(url)
      let basic: string | undefined
      real.answerFirst((request) => {
        if (request.url === '/token') basic = request.headers.authorization
        return false
      })
      t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).text, 'for ada')
      t.equal(basic !== undefined, by === 'basic')
    })
})

t.test('a failing userinfo endpoint does not fail a log-in', async (t) => {
  const cases: [name: string, answer: (response: ServerResponse) => unknown][] = [
    ['401', (r) => r.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()],
    ['403', (r) => r.writeHead(403, { 'content-type': 'application/json' }).end('{"error":"x"}')],
    ['404', (r) => r.writeHead(404).end()],
    ['500', (r) => r.writeHead(500).end()],
    ['HTML', (r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    ['a cut', (r) => r.destroy()]
  ]
  for (const [name, answer] of cases)
    t.test(name, async (t) => {
      const real = await provider(t)
      const { url, lines } = await behind(t, real)
      real.know(url)
      real.answerFirst((request, response) => {
        if (request.url !== '/me') return false
        answer(response)
        return true
      })
      t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).text, 'for ada')
      t.ok(lines.some(({ msg }) => String(msg).startsWith('userinfo request failed')))
    })
  t.test('a userinfo response about another user does', async (t) => {
    const real = await provider(t)
    const { url } = await behind(t, real)
    real.know(url)
    real.answerFirst((request, response) => {
      if (request.url !== '/me') return false
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"sub":"bob","roles":["admin"]}')
      return true
    })
    t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).status, 401)
  })
  t.test('"userinfo": false sends no request', async (t) => {
    const real = await provider(t)
    const { url } = await behind(t, real, { oidc: { endpoints: { userinfo: false } } })
    real.know(url)
    t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).text, 'for ada')
    t.notOk(real.asked.includes('GET /me'))
  })
})

t.test('ends a session on the OAuth errors that require a log-in', async (t) => {
  const cases = [
    ...['invalid_grant', 'interaction_required', 'login_required', 'consent_required'].map((error) => ({
      error,
      status: 401
    })),
    { error: 'account_selection_required', status: 401 },
    { error: 'invalid_client', status: 200 },
    { error: 'temporarily_unavailable', status: 200 }
  ]
  const real = await provider(t)
  const { url } = await behind(t, real, { oidc: OFFLINE })
  real.know(url)
  const pass = clock(t)
  for (const { error, status } of cases)
    t.test(error, async (t) => {
      real.answerFirst(() => false)
      const ada = new Visitor()
      await ada.logInAs('ada', `${url}/private/`)
      real.answerFirst((request, response) => {
        if (request.url !== '/token') return false
        response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
        return true
      })
      pass(120)
      t.equal((await ask(`${url}/private/`, { headers: cookie(ada, url) })).status, status)
    })
})

for (const where of ['by workers without a store', 'by gateways with a Redis'] as const)
  t.test(
    `a session is renewed once, ${where}`,
    { skip: where === 'by gateways with a Redis' && withoutRedis },
    async (t) => {
      const real = await provider(t, { configuration: { rotateRefreshToken: true } })
      const shared = where === 'by gateways with a Redis' ? await redis(t) : undefined
      const peers = workersTogether(2)
      const gateways = await Promise.all(
        peers.map((own) =>
          behind(t, real, {
            oidc: OFFLINE,
            ...(shared === undefined
              ? { setup: { keep: new Keep(own) } }
              : { store: { redis: shared.url, timeout: '10s' } })
          })
        )
      )
      const [one, other] = gateways as unknown as [Listening, Listening]
      real.know(one.url)
      const pass = clock(t)
      const ada = new Visitor()
      await ada.logInAs('ada', `${one.url}/private/`)
      const headers = cookie(ada, one.url)
      for (let round = 1; round <= 3; round++) {
        pass(120)
        const before = real.asked.filter((each) => each === 'POST /token').length
        const all = await Promise.all(
          Array.from({ length: 12 }, (_, i) =>
            ask(`${(i % 2 === 0 ? one : other).url}/private/`, { headers })
          )
        )
        t.strictSame(new Set(all.map(({ status }) => status)), new Set([200]))
        t.equal(real.asked.filter((each) => each === 'POST /token').length - before, 1)
      }
    }
  )

t.test('a refresh token that another gateway used first does not end the session', async (t) => {
  const real = await provider(t, { configuration: { rotateRefreshToken: true } })
  const [first, second] = workersTogether(2)
  // A lock that holds nothing: as after a pause that was longer than it lasts.
  const unlocked = [first, second].map((peers) => ({ ...(peers as Peers), lock: async () => true }))
  const [one, other] = (await Promise.all(
    unlocked.map((own) => behind(t, real, { oidc: OFFLINE, setup: { keep: new Keep(own) } }))
  )) as unknown as [Listening, Listening]
  real.know(one.url)
  const pass = clock(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${one.url}/private/`)
  const headers = cookie(ada, one.url)
  pass(120)
  // The second one's question waits until the first one's answer is known to all.
  const held = Promise.withResolvers<ServerResponse>()
  real.answerFirst((request, response) => {
    if (request.url !== '/token') return false
    real.answerFirst(() => false)
    held.resolve(response)
    return true
  })
  const late = ask(`${other.url}/private/`, { headers })
  const response = await held.promise
  t.equal((await ask(`${one.url}/private/`, { headers })).status, 200)
  response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
  t.equal((await late).status, 200)
  t.equal((await ask(`${one.url}/private/`, { headers })).status, 200)
})

t.test('fetches the discovery document again', async (t) => {
  const real = await provider(t)
  const { url, lines } = await behind(t, real, { oidc: OFFLINE })
  real.know(url)
  const pass = clock(t)
  const ada = new Visitor()
  t.equal((await ada.logInAs('ada', `${url}/private/`)).text, 'for ada')
  const found = (await (await fetch(`${real.issuer}/.well-known/openid-configuration`)).json()) as Record<
    string,
    unknown
  >
  const moved = Object.fromEntries(
    Object.entries(found).map(([name, value]) => [
      name,
      /_endpoint$|^jwks_uri$/.test(name) ? String(value).replace(real.issuer, `${real.issuer}/new`) : value
    ])
  )
  real.answerFirst((request, response) => {
    if (request.url === '/.well-known/openid-configuration') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(moved))
      return true
    }
    if (request.url?.startsWith('/new/') === true) request.url = request.url.slice(4)
    else if (/^\/(auth|token|me|jwks)(\?|$)/.test(request.url ?? '')) {
      response.writeHead(404).end()
      return true
    }
    return false
  })
  t.test('when an endpoint has moved', async (t) => {
    pass(120)
    t.equal((await ask(`${url}/private/`, { headers: cookie(ada, url) })).status, 200)
    t.equal(real.asked.filter((each) => each === 'POST /new/token').length, 1)
    t.equal(lines.filter(({ msg }) => /discovery document changed/.test(String(msg))).length, 1)
  })
  t.test('when a log-in starts', async (t) => {
    pass(120)
    const page = await new Visitor().logInAs('bob', `${url}/private/`)
    t.equal(page.text, 'for bob')
  })
})

t.test('tells keys that can not be fetched from keys that are none', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const { n } = publicKey.export({ format: 'jwk' })
  const placed =
    (jwks_uri: unknown): Change =>
    (document) => ({ ...document, jwks_uri })
  const short = ({ keys }: { keys?: object[] }): object => ({ keys: keys?.map((key) => ({ ...key, n })) })
  const cases: [name: string, path: string, change: Change | number, status: number, cause?: RegExp][] = [
    ['no jwks_uri', DISCOVERY, placed(undefined), 401, /got none; set "endpoints.jwks"$/],
    ['a jwks_uri that is no URL', DISCOVERY, placed('keys'), 401, /set "endpoints.jwks"$/],
    ['short keys', '/jwks', short, 401, /^expected RSA keys of 2048 bits/],
    ['503 for keys', '/jwks', 503, 503],
    ['no response for keys', '/jwks', 0, 503]
  ]
  for (const [name, path, change, status, cause = /./] of cases)
    t.test(name, async (t) => {
      const real = await provider(t)
      const { url, lines } = await behind(t, real)
      real.know(url)
      const document = (await (await fetch(real.issuer + path)).json()) as Record<string, unknown>
      real.answerFirst((request, response) => {
        if (request.url !== path) return false
        if (change === 0) response.destroy()
        else if (typeof change === 'number') response.writeHead(change).end()
        else
          response
            .writeHead(200, { 'content-type': 'application/json' })
            .end(JSON.stringify(change(document)))
        return true
      })
      t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).status, status)
      t.match(lines.find(({ msg }) => msg === 'oidc login failed')?.['cause'], cause)
    })
})

t.test('a malformed ID token is invalid, and no sign of an unavailable provider', async (t) => {
  const real = await provider(t)
  const { url, lines } = await behind(t, real)
  real.know(url)
  // A byte that is no UTF-8, which openid-client lets pass.
  const header = Buffer.from('{"alg":"RS256","x":"\xff"}', 'latin1').toString('base64url')
  real.answerFirst((request, response) => {
    if (request.url !== '/token') return false
    const end = response.end.bind(response)
    response.end = ((body: string) => {
      const tokens = JSON.parse(body) as { id_token: string }
      const changed = JSON.stringify({ ...tokens, id_token: tokens.id_token.replace(/^[^.]+/, header) })
      response.setHeader('content-length', Buffer.byteLength(changed))
      return end(changed)
    }) as typeof response.end
    return false
  })
  t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).status, 401)
  t.equal(lines.find(({ msg }) => msg === 'oidc login failed')?.['cause'], 'ERR_JWT_INVALID')
})

const DISCOVERY = '/.well-known/openid-configuration'
type Change = (document: Record<string, unknown>) => object

t.test('logs the issuer of the provider if the config has another one', async (t) => {
  const real = await provider(t)
  real.know('http://localhost')
  const { url, lines } = await behind(t, { ...real, issuer: real.issuer.replace('127.0.0.1', 'localhost') })
  t.equal((await new Visitor().open(`${url}/private/`)).status, 503)
  t.match(lines.find(({ cause }) => cause !== undefined)?.['cause'], `got "${real.issuer}"`)
})

t.test('accepts ID tokens of any usual algorithm with configured endpoints', async (t) => {
  for (const [alg, curve] of [
    ['ES256', 'P-256'],
    ['ES384', 'P-384']
  ] as const)
    t.test(alg, async (t) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve })
      const jwk = { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }
      const real = await provider(t, {
        client: { id_token_signed_response_alg: alg },
        configuration: { jwks: { keys: [jwk] }, enabledJWA: { idTokenSigningAlgValues: [alg] } }
      })
      const at = (path: string): string => real.issuer + path
      const endpoints = {
        authorization: at('/auth'),
        token: at('/token'),
        jwks: at('/jwks'),
        userinfo: at('/me')
      }
      const { url } = await behind(t, real, { oidc: { endpoints } })
      real.know(url)
      t.equal((await new Visitor().logInAs('ada', `${url}/private/`)).text, 'for ada')
      t.notOk(real.asked.includes('GET /.well-known/openid-configuration'))
    })
})

t.test('leaves the id_token_hint out if the log-out URL would be too long', async (t) => {
  const real = await provider(t, { configuration: { conformIdTokenClaims: false } })
  real.people.set('ada', { name: 'A'.repeat(3000), email: 'ada@example.com', roles: [] })
  const { url } = await behind(t, real)
  real.know(url)
  for (const [person, hint] of [
    ['ada', false],
    ['bob', true]
  ] as const) {
    const visitor = new Visitor()
    await visitor.logInAs(person, `${url}/private/`)
    const { location } = JSON.parse((await post(visitor, `${url}/logout`)).text) as { location: string }
    t.ok(location.length <= 2000, person)
    t.equal(new URL(location).searchParams.has('id_token_hint'), hint, person)
    t.equal(new URL(location).searchParams.get('client_id'), 'gateway', person)
  }
})

t.test('returns to the host of the log-in if a route names it', async (t) => {
  const real = await provider(t)
  const port = await freePort()
  const [first, second] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`]
  await behind(t, real, {
    publicUrl: first,
    setup: { port },
    routes: [{ path: '/private/*', host: ['127.0.0.1', 'localhost'], respond: { body: 'for {caller.id}' } }]
  })
  real.know(first, second)
  for (const url of [first, second]) {
    const ada = new Visitor()
    const page = await ada.logInAs('ada', `${url}/private/x`)
    t.equal(page.url, `${url}/private/x`)
    t.equal(page.text, 'for ada')
    const out = await ask(`${url}/logout`, {
      method: 'POST',
      headers: { ...cookie(ada, url), origin: url, accept: 'application/json' }
    })
    const { location } = JSON.parse(out.text) as { location: string }
    t.equal(new URL(location).searchParams.get('post_logout_redirect_uri'), `${url}/`)
  }
})

t.test('uses the valid one of several cookies of the same name', async (t) => {
  const real = await provider(t)
  const { url } = await behind(t, real)
  real.know(url)
  const ada = new Visitor()
  const toCallback = (next: string): boolean => next.startsWith(`${url}/login/callback`)
  const { url: callback } = await ada.logInAs('ada', `${url}/private/`, toCallback)
  const login = ada.cookiesFor(callback)
  const name = login.slice(0, login.indexOf('='))
  const back = await ask(callback, { headers: { cookie: `${name}=stale; ${login}` } })
  t.equal(back.status, 303)
  const own =
    back.headers
      .getSetCookie()
      .find((each) => each.startsWith('sid='))
      ?.split(';')[0] ?? ''
  for (const header of [`sid=stale.stale; ${own}`, `sid=; ${own}`, `sid=%zz; ${own}`, `${own}; sid=stale`])
    t.equal((await ask(`${url}/private/`, { headers: { cookie: header } })).status, 200, header.slice(0, 20))
})

t.test('reports unsupported params', async (t) => {
  const oidc = { issuer: 'https://accounts.example.com', clientId: 'gateway' }
  const cases: [params: Record<string, string>, isWrong: boolean][] = [
    [{ response_mode: 'form_post' }, true],
    [{ response_mode: 'fragment' }, true],
    [{ response_mode: 'query' }, false],
    [{ request: 'x' }, true],
    [{ request_uri: 'urn:x' }, true],
    [{ code_challenge: 'x' }, true],
    [{ client_secret: 'x' }, false],
    [{ client_assertion: 'x', client_assertion_type: 'urn:x' }, false],
    [{ code_verifier: 'x' }, true],
    [{ prompt: 'none' }, true],
    [{ prompt: 'login consent' }, false],
    [{ max_age: 'soon' }, true],
    [{ max_age: '300' }, false],
    [{ claims: 'email' }, true],
    [{ claims: '{"id_token":{"email":null}}' }, false],
    [{ login_hint: 'ada', audience: 'https://api.example.com' }, false]
  ]
  for (const [params, isWrong] of cases) {
    const config = { auth: { session: true, oidc: { ...oidc, params } }, routes: [] }
    const loaded = loadConfig(config, { SESSION_SECRET: SECRET })
    if (isWrong) await t.rejects(loaded, { message: /auth\.oidc\.params/ }, JSON.stringify(params))
    else await t.resolves(loaded, JSON.stringify(params))
  }
  for (const wrong of [{ clientAuth: 'client_secret_post' }, { clientAuth: 'none', clientSecret: 'x' }])
    await t.rejects(
      loadConfig(
        { auth: { session: true, oidc: { ...oidc, ...wrong } }, routes: [] },
        { SESSION_SECRET: SECRET }
      ),
      { message: /auth\.oidc\.clientAuth/ }
    )
})

t.test('a failed log-in shows a link to start again, with the return address', async (t) => {
  const real = await provider(t)
  const { url } = await behind(t, real)
  real.know(url)
  const toCallback = (next: string): boolean => next.startsWith(`${url}/login/callback`)
  const { url: callback } = await new Visitor().logInAs('ada', `${url}/private/x?y=1`, toCallback)
  const page = await new Visitor().open(callback)
  t.equal(page.status, 401)
  t.match(page.text, '<a href="/login?return_to=%2Fprivate%2Fx%3Fy%3D1">')
  const { text } = await ask(callback, { headers: { accept: 'application/json' } })
  t.match(JSON.parse(text), { login: '/login?return_to=%2Fprivate%2Fx%3Fy%3D1' })
})

t.test('limits the number and size of log-in cookies', async (t) => {
  const real = await provider(t)
  const { url } = await behind(t, real)
  real.know(url)
  const toProvider = (next: string): boolean => next.startsWith(real.issuer)
  const loginCookies = (visitor: Visitor): string[] =>
    visitor
      .cookiesFor(`${url}/login/callback`)
      .split('; ')
      .filter((each) => each.startsWith('sallyport-login-'))
  for (const [count, length] of [
    [1, 30],
    [40, 30],
    [12, 1500],
    [12, 2000]
  ] as const)
    t.test(`${count} of them, with addresses of ${length} characters`, async (t) => {
      const ada = new Visitor()
      const to = `${url}/private/x?q=${'q'.repeat(length - 20)}`
      for (let i = 0; i < count; i++) await ada.open(to, { stop: toProvider })
      const begun = loginCookies(ada)
      t.ok(begun.length <= 10)
      for (const each of begun) t.ok(each.length < 80)
      const page = await ada.logInAs('ada', to)
      t.equal(page.url, to)
      t.strictSame(loginCookies(ada), [])
    })
})

t.test('a log-in in another tab replaces the current session', async (t) => {
  const real = await provider(t)
  const { url } = await behind(t, real)
  real.know(url)
  const toProvider = (next: string): boolean => next.startsWith(real.issuer)
  const visitor = new Visitor()
  const { url: waiting } = await visitor.open(`${url}/private/one`, { stop: toProvider })
  t.equal((await visitor.logInAs('ada', `${url}/private/two`)).text, 'for ada')
  const before = cookie(visitor, url)
  visitor.forget(real.issuer)
  const page = await visitor.logInAs('bob', waiting)
  t.equal(page.url, `${url}/private/one`)
  t.equal(page.text, 'for bob')
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 401, 'the session before is over')
})
