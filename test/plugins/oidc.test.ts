import t from 'tap'
import {
  ask,
  clock,
  echo,
  type Listening,
  listening,
  readableLog,
  type Scope,
  type Seen,
  sallyport,
  upstream
} from '../helpers.ts'
import { provider, type RealProvider, Visitor } from '../provider.ts'

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

t.test('logs in at the provider and comes back to where one was', async (t) => {
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
    state: /^[\w-]{43}$/,
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

  t.test('who lacks something gets 403, and is not sent to log in again', async (t) => {
    const bob = new Visitor()
    await bob.logInAs('bob', `${url}/private/`)
    for (const path of ['/staff', '/mail']) t.equal((await bob.open(url + path)).status, 403, path)
  })

  t.test('a fetch gets 401, a navigation goes to the provider', async (t) => {
    const answer = await ask(`${url}/private/`, { headers: { 'sec-fetch-mode': 'cors' } })
    t.equal(answer.status, 401)
    t.equal(answer.headers.get('www-authenticate'), 'Session')
    t.equal((await ask(`${url}/open`)).status, 200)
  })

  t.test('nobody is sent on to another origin', async (t) => {
    for (const away of ['https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)']) {
      const visitor = new Visitor()
      const page = await visitor.logInAs('ada', `${url}/login?return_to=${encodeURIComponent(away)}`)
      t.equal(page.url, `${url}/`, away)
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
  t.equal(again.url, `${url}/`, 'the way back was used already: on to the front page')
})

t.test('a way back that did not begin here is no way in', async (t) => {
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

t.test('renews the tokens of a session, so that what changed at the provider counts', async (t) => {
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

t.test('a provider that does not answer lets nobody new in, and nobody out', async (t) => {
  const { url, real, lines } = await stage(t, { session: { idle: '7d', absolute: '30d' } })
  const pass = clock(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  await real.stop()
  pass(120)
  t.equal((await ada.open(`${url}/staff`)).status, 200)
  t.ok(
    lines.some(({ msg }) => msg === 'the tokens of a session could not be renewed'),
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

t.test('logging out at the provider logs out here, by its own word', async (t) => {
  const { url, real } = await stage(t)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/private/`)
  const before = cookie(ada, url)
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 200)
  const page = await ada.open(`${real.issuer}/session/end`)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  await ada.open(`${real.issuer}/session/end/confirm`, { form: { xsrf, logout: 'yes' } })
  t.equal((await ask(`${url}/private/`, { headers: before })).status, 401)
  t.test('and nobody else can say so', async (t) => {
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

t.test('a cookie that is strict comes back by a page of ours', async (t) => {
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

t.test('check warns where everybody whom a provider knows would be let in', async (t) => {
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
      'warning: gateway.json:10:3 The route /all lets in everybody whom https://accounts.example.com knows; "require" says who of them is meant'
    ]
  )
})
