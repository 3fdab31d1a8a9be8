import { createHook } from 'node:async_hooks'
import { randomBytes, scryptSync } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { hashPassword } from '../../plugins/auth/index.ts'
import { Keep } from '../../src/index.ts'
import { gateway, movableClock } from '../helpers.ts'
import {
  ada,
  auth,
  clock,
  config,
  cookieOf,
  form,
  list,
  logIn,
  MINUTE,
  page,
  statusWith,
  storeOf
} from '../login.ts'

t.test('logs in with JSON and with a form, and responds in the requested format', async (t) => {
  const app = await gateway(t, config)
  const navigation = {
    'sec-fetch-mode': 'navigate',
    'sec-fetch-site': 'same-origin',
    accept: 'text/html,*/*'
  }
  const cases: {
    name: string
    more: InjectOptions
    status?: number
    type?: string
    says?: string
    location?: string
  }[] = [
    { name: 'JSON', more: { payload: ada } },
    { name: 'a form of a program', more: form(ada) },
    {
      name: 'a form that a script posts',
      more: form(ada, { 'sec-fetch-mode': 'cors', accept: 'text/html' })
    },
    {
      name: 'a form with a charset',
      more: form(ada, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' })
    },
    {
      name: 'JSON that asks for JSON',
      more: { payload: ada, headers: { accept: 'application/json' } },
      type: 'application/json; charset=utf-8',
      says: '{"message":"Successfully authenticated"}'
    },
    {
      name: 'a form that asks for JSON',
      more: form(ada, { accept: 'application/json, text/plain, */*' }),
      type: 'application/json; charset=utf-8',
      says: '{"message":"Successfully authenticated"}'
    },
    { name: 'a navigation', more: form(ada, navigation), status: 303, location: '/login' },
    {
      name: 'a navigation that came from somewhere',
      more: form({ ...ada, return_to: '/private?a=b' }, navigation),
      status: 303,
      location: '/private?a=b'
    },
    {
      name: 'a navigation over plain HTTP, where browsers send no metadata',
      more: form(ada, { 'upgrade-insecure-requests': '1' }),
      status: 303,
      location: '/login'
    },
    {
      name: 'a navigation of an old browser',
      more: form(ada, { accept: 'text/html' }),
      status: 303,
      location: '/login'
    },
    {
      name: 'a navigation whose content type is in capitals',
      more: form(ada, { ...navigation, 'content-type': 'Application/X-WWW-Form-Urlencoded' }),
      status: 303,
      location: '/login'
    }
  ]
  for (const { name, more, status = 200, type = 'text/plain; charset=utf-8', says, location } of cases)
    t.test(name, async (t) => {
      const answer = await logIn(app, more)
      t.equal(answer.statusCode, status)
      t.equal(answer.headers.location, location)
      if (location === undefined) {
        t.equal(answer.headers['content-type'], type)
        t.equal(answer.body, says ?? 'Successfully authenticated')
      }
      t.equal(answer.headers['cache-control'], 'no-store')
      t.equal(await statusWith(app, cookieOf(answer)), 200, 'the cookie lets in')

      const cookie = cookieOf(answer)
      const again = await logIn(app, { ...more, headers: { ...more.headers, cookie } })
      t.equal(again.statusCode, status)
      t.equal(again.headers.location, location)
      if (location === undefined)
        t.equal(again.body, (says ?? 'Successfully authenticated').replace(/Success\w+ a/, 'Already a'))
      t.equal(again.headers['set-cookie'], undefined, 'the session stays as it is')
    })
})

t.test('accepts passwords with argon2id and scrypt hashes', async (t) => {
  const salt = randomBytes(16)
  const bare = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
  const hash = scryptSync('hopper', salt, 32, { N: 2 ** 12, r: 8, p: 1 })
  const app = await gateway(t, {
    ...config,
    auth: {
      session: true,
      users: {
        list: [
          { name: 'ada', password: await hashPassword('lovelace') },
          { name: 'grace', password: `$scrypt$ln=12,r=8,p=1$${bare(salt)}$${bare(hash)}` }
        ]
      }
    }
  })
  for (const [username, password, status] of [
    ['ada', 'lovelace', 200],
    ['ada', 'hopper', 401],
    ['grace', 'hopper', 200],
    ['grace', 'lovelace', 401]
  ] as const)
    t.equal(
      (await logIn(app, { payload: { username, password } })).statusCode,
      status,
      `${username} ${password}`
    )
})

t.test('refuses wrong names and passwords with the same response', async (t) => {
  const cases: { name: string; payload: object | string }[] = [
    { name: 'a wrong password', payload: { username: 'ada', password: 'byron' } },
    { name: 'an unknown user', payload: { username: 'eve', password: 'lovelace' } },
    { name: "another user's password", payload: { username: 'ada', password: 'builder' } },
    { name: 'a name in another case', payload: { username: 'Ada', password: 'lovelace' } },
    { name: 'a password and a space', payload: { username: 'ada', password: 'lovelace ' } },
    { name: 'an empty password', payload: { username: 'ada', password: '' } },
    { name: 'no password', payload: { username: 'ada' } },
    { name: 'nothing', payload: {} },
    { name: 'a list', payload: [ada] },
    { name: 'null', payload: 'null' },
    { name: 'a password in a list', payload: { username: 'ada', password: ['lovelace'] } },
    { name: 'a name that every object has', payload: { username: 'constructor', password: 'lovelace' } },
    { name: 'the prototype', payload: { username: '__proto__', password: '' } }
  ]
  for (const { name, payload } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, config)
      const { statusCode, headers, body } = await logIn(app, {
        payload,
        headers: { 'content-type': 'application/json' }
      })
      t.equal(statusCode, 401)
      t.match(JSON.parse(body), {
        code: 'SP_ERR_AUTH_LOGIN_WRONG',
        detail: 'Invalid username or password'
      })
      t.equal(headers['www-authenticate'], 'Session')
      t.equal(headers['set-cookie'], undefined)
    })

  t.test('hashes once for every wrong log-in, whether the user is known or not', async (t) => {
    const app = await gateway(t, {
      ...config,
      auth: {
        session: true,
        users: { list: [...list, { name: 'grace', password: await hashPassword('hopper') }] }
      }
    })
    let hashed = 0
    const counter = createHook({
      init(_id, type) {
        if (/argon2/i.test(type)) hashed++
      }
    }).enable()
    t.teardown(() => counter.disable())
    for (const username of ['eve', 'ada', 'grace']) {
      hashed = 0
      await logIn(app, { payload: { username, password: 'byron' } })
      t.equal(hashed, 1, username)
    }
  })

  t.test('a failed form log-in shows the page again, with an alert and the return address', async (t) => {
    const app = await gateway(t, config)
    const { statusCode, headers, body } = await logIn(
      app,
      form({ username: 'ada', password: 'byron', return_to: '/private?a="b' }, { accept: 'text/html' })
    )
    t.equal(statusCode, 401)
    t.match(headers, { 'content-type': 'text/html; charset=utf-8', 'www-authenticate': 'Session' })
    t.match(body, /role="alert"/)
    t.match(body, 'name="return_to" value="/private?a=%22b"')
    t.equal(headers['set-cookie'], undefined)
  })

  t.test('unreadable bodies are client errors', async (t) => {
    const app = await gateway(t, config)
    for (const [type, payload, status] of [
      ['application/json', '{"username":"ada",', 400],
      ['application/json', '{"__proto__":{"username":"ada"},"password":"lovelace"}', 400],
      ['application/xml', '<username>ada</username>', 415],
      ['multipart/form-data; boundary=x', '--x--', 415],
      ['text/plain', 'username=ada&password=lovelace', 401],
      ['application/json', '', 401],
      ['application/x-www-form-urlencoded', '', 401],
      ['application/x-www-form-urlencoded', 'username=ada&password=lovelace&username=bob', 401],
      ['application/x-www-form-urlencoded', `username=ada&password=${'x'.repeat(2 ** 20)}`, 413]
    ] as const) {
      const { statusCode, body } = await logIn(app, { payload, headers: { 'content-type': type } })
      t.equal(statusCode, status, `${type} ${payload.slice(0, 40)}`)
      t.notMatch(body, /node_modules|\.ts:|\bat /)
    }
  })
})

t.test('logs out and refuses the old cookie', async (t) => {
  const cases: { name: string; more: InjectOptions; status?: number; says: string; location?: string }[] = [
    { name: 'for a program', more: {}, says: 'Successfully logged out' },
    {
      name: 'in JSON',
      more: { headers: { accept: 'application/json' } },
      says: '{"message":"Successfully logged out"}'
    },
    {
      name: 'for a program that says JSON with every request',
      more: { headers: { 'content-type': 'application/json' }, payload: '' },
      says: 'Successfully logged out'
    },
    {
      name: 'for a page',
      more: form({}, { 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'same-origin' }),
      status: 303,
      says: '',
      location: '/login?logged_out'
    }
  ]
  for (const { name, more, status = 200, says, location } of cases)
    t.test(name, async (t) => {
      const keep = new Keep()
      const app = await gateway(t, config, { keep })
      const cookie = cookieOf(await logIn(app))
      const logOut = (): Promise<LightMyRequestResponse> =>
        app.inject({ ...more, method: 'POST', url: '/logout', headers: { ...more.headers, cookie } })
      const answer = await logOut()
      t.equal(answer.statusCode, status)
      t.equal(answer.body, says)
      t.equal(answer.headers.location, location)
      t.match(answer.headers['set-cookie'], /^sid=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970 .*HttpOnly/)
      t.equal(storeOf(app, keep).size, 0, 'nothing is left of it')
      t.equal(await statusWith(app, cookie), 401, 'the old cookie')
      const again = await logOut()
      t.equal(again.statusCode, 401, 'logging out again')
      t.equal(again.headers['www-authenticate'], 'Session')
    })

  t.test('never by GET, which any image on any page can send', async (t) => {
    const app = await gateway(t, config)
    const cookie = cookieOf(await logIn(app))
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE'] as const) {
      const { statusCode, headers } = await app.inject({ method, url: '/logout', headers: { cookie } })
      t.equal(statusCode, 405, method)
      t.equal(headers.allow, 'POST')
    }
    t.equal(await statusWith(app, cookie), 200, 'still logged in')
  })
})

t.test('returns the current user', async (t) => {
  const app = await gateway(t, config)
  const nobody = await app.inject('/session')
  t.equal(nobody.statusCode, 401)
  t.equal(nobody.headers['www-authenticate'], 'Session')
  const { statusCode, headers, body } = await app.inject({
    url: '/session',
    headers: { cookie: cookieOf(await logIn(app)) }
  })
  t.equal(statusCode, 200)
  t.equal(headers['cache-control'], 'no-store')
  t.same(JSON.parse(body), { id: 'ada', name: 'ada', roles: ['staff'], by: 'session' })
})

t.test('throttles failed log-ins by address, before any hashing', async (t) => {
  const trusting = { ...config, trustedProxies: ['loopback'] }
  const tryFrom = (app: FastifyInstance, ip: string, password = 'wrong') =>
    logIn(app, { payload: { username: 'ada', password }, headers: { 'x-forwarded-for': ip } })
  const exhaust = async (app: FastifyInstance, ip: string): Promise<void> => {
    for (let i = 0; i < 10; i++) t.equal((await tryFrom(app, ip)).statusCode, 401)
  }

  t.test('the eleventh attempt is refused, even with the right password', async (t) => {
    const wait = clock(t)
    const app = await gateway(t, trusting)
    await exhaust(app, '198.51.100.7')
    wait(MINUTE)
    const { statusCode, headers, body } = await tryFrom(app, '198.51.100.7', ada.password)
    t.equal(statusCode, 429)
    // Hashing ten passwords may take seconds on a busy machine.
    t.match(headers['retry-after'], /^(240|23\d)$/)
    t.equal(headers['set-cookie'], undefined)
    t.match(JSON.parse(body), { code: 'SP_ERR_AUTH_THROTTLED' })
    t.equal((await tryFrom(app, '198.51.100.8', ada.password)).statusCode, 200, 'another address')
    wait(4 * MINUTE)
    t.equal((await tryFrom(app, '198.51.100.7', ada.password)).statusCode, 200, 'after the wait')
  })

  t.test('existing sessions stay valid', async (t) => {
    const app = await gateway(t, trusting)
    const cookie = cookieOf(await tryFrom(app, '198.51.100.7', ada.password))
    await exhaust(app, '198.51.100.7')
    t.equal(await statusWith(app, cookie), 200)
  })

  t.test('IPv6 clients are counted by /64', async (t) => {
    const app = await gateway(t, trusting)
    for (let i = 1; i <= 10; i++) t.equal((await tryFrom(app, `2001:db8:1:2::${i}`)).statusCode, 401)
    t.equal((await tryFrom(app, '2001:db8:1:2:ffff::1', ada.password)).statusCode, 429)
    t.equal((await tryFrom(app, '2001:db8:1:3::1', ada.password)).statusCode, 200)
  })

  t.test('X-Forwarded-For of an untrusted client is ignored', async (t) => {
    const app = await gateway(t, config)
    for (let i = 1; i <= 10; i++) t.equal((await tryFrom(app, `198.51.100.${i}`)).statusCode, 401)
    t.equal((await tryFrom(app, '198.51.100.99', ada.password)).statusCode, 429)
  })

  t.test('concurrent attempts get no extra tries', async (t) => {
    const hashed = {
      session: true,
      users: { list: [{ name: 'ada', password: await hashPassword('lovelace') }] }
    }
    const app = await gateway(t, { ...trusting, auth: hashed })
    const burst = Array.from({ length: 40 }, () => tryFrom(app, '198.51.100.7'))
    const codes = (await Promise.all(burst)).map(({ statusCode }) => statusCode)
    t.equal(codes.filter((code) => code === 401).length, 10)
    t.equal(codes.filter((code) => code === 429).length, 30)
    const right = Array.from({ length: 25 }, () => tryFrom(app, '198.51.100.8', ada.password))
    const all = (await Promise.all(right)).map(({ statusCode }) => statusCode)
    t.same(new Set(all), new Set([200]), 'a burst of right ones passes whole')
  })

  t.test('the count outlives a reload', async (t) => {
    const keep = new Keep()
    await exhaust(await gateway(t, trusting, { keep }), '198.51.100.7')
    const next = await gateway(t, trusting, { keep })
    t.equal((await tryFrom(next, '198.51.100.7', ada.password)).statusCode, 429)
  })

  t.test('the log-in page shows it', async (t) => {
    const app = await gateway(t, config)
    for (let i = 0; i < 10; i++) await tryFrom(app, '')
    const { statusCode, headers } = await logIn(app, form(ada, { accept: 'text/html' }))
    t.equal(statusCode, 429)
    t.match(headers, { 'content-type': 'text/html; charset=utf-8', 'retry-after': /^\d+$/ })
  })
})

t.test('has the log-in routes on hosts with a session, and nowhere else', async (t) => {
  const own = { path: '/login', auth: false, respond: { body: 'my own' } }
  const keys = { list: [{ id: 'alice', secret: 'key' }] }
  const at = (host: string, rest: object = {}): object => ({ ...page, host, ...rest })
  const cases: { name: string; config: object; login: Record<string, number> }[] = [
    { name: 'no auth', config: { routes: [page] }, login: { 'any.example': 404 } },
    {
      name: 'a session that no route takes',
      config: { auth: { ...auth, global: false }, routes: [page] },
      login: { 'any.example': 404 }
    },
    {
      name: 'a session that every route turns off',
      config: { auth, routes: [{ ...page, auth: false }] },
      login: { 'any.example': 404 }
    },
    {
      name: 'ways that are all but the session',
      config: { auth: { ...auth, apiKeys: keys, by: ['apiKeys'] }, routes: [page] },
      login: { 'any.example': 404 }
    },
    {
      name: 'keys alone',
      config: { auth: { apiKeys: keys }, routes: [page] },
      login: { 'any.example': 404 }
    },
    { name: 'a route of all hosts', config: { auth, routes: [page] }, login: { 'any.example': 200 } },
    {
      name: 'a route of one host',
      config: { auth, routes: [at('a.example')] },
      login: { 'a.example': 200, 'A.EXAMPLE:8080': 200, 'b.example': 404 }
    },
    {
      name: 'routes of several hosts, of which one is public',
      config: { auth, routes: [at('a.example'), at('*.b.example'), at('c.example', { auth: false })] },
      login: { 'a.example': 200, 'x.b.example': 200, 'c.example': 404 }
    },
    {
      name: 'a route of all hosts beside one of a host that takes every path',
      config: { auth, routes: [page, at('a.example', { path: '/*' })] },
      login: { 'a.example': 200, 'b.example': 200 }
    },
    {
      name: 'what only a route says',
      config: { routes: [{ ...page, auth }] },
      login: { 'any.example': 200 }
    }
  ]
  for (const { name, config, login } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, config)
      for (const [host, status] of Object.entries(login)) {
        const answer = await app.inject({ url: '/login', headers: { host } })
        t.equal(answer.statusCode, status, `GET /login on ${host}`)
        if (status === 200) t.match(answer.body, 'Log in', 'the page')
        const posted = await logIn(app, { payload: ada, headers: { host } })
        t.equal(posted.statusCode, status, `POST /login on ${host}`)
        const cookie = cookieOf(posted)
        const who = await app.inject({ url: '/session', headers: { host, cookie } })
        t.equal(who.statusCode, status, `GET /session on ${host}`)
        if (status === 200)
          t.equal((await app.inject({ url: page.path, headers: { host, cookie } })).statusCode, 200)
      }
    })

  t.test("a user's own exact route wins", async (t) => {
    const app = await gateway(t, { auth, routes: [page, own] })
    for (const method of ['GET', 'POST'] as const)
      t.equal((await app.inject({ method, url: '/login' })).body, 'my own', method)
    t.equal((await app.inject('/session')).statusCode, 401, 'the others stay')
  })

  t.test("a user's own route of one method leaves the others", async (t) => {
    const app = await gateway(t, { auth, routes: [page, { ...own, methods: ['GET'] }] })
    t.equal((await app.inject('/login')).body, 'my own')
    t.equal((await logIn(app)).body, 'Successfully authenticated')
  })

  t.test('a route for all paths does not replace them', async (t) => {
    const app = await gateway(t, { auth, routes: [{ path: '/*', respond: { body: 'mine' } }] })
    t.match((await app.inject('/login')).body, 'Log in')
    t.equal((await logIn(app)).body, 'Successfully authenticated')
  })

  t.test('under configured paths', async (t) => {
    const routes = { login: '/in', logout: '/out', who: '/me' }
    const app = await gateway(t, { ...config, session: { routes } })
    for (const url of ['/login', '/logout', '/session']) t.equal((await app.inject(url)).statusCode, 404, url)
    t.match((await app.inject('/in')).body, 'action="/in"')
    const answer = await app.inject({ method: 'POST', url: '/in', payload: ada })
    const cookie = cookieOf(answer)
    t.equal(answer.statusCode, 200)
    t.equal((await app.inject({ url: '/me', headers: { cookie } })).statusCode, 200)
    t.match((await app.inject({ url: '/in', headers: { cookie } })).body, 'action="/out"')
    t.equal((await app.inject({ method: 'POST', url: '/out', headers: { cookie } })).statusCode, 200)
    const sent = await app.inject({ url: '/private', headers: { 'sec-fetch-mode': 'navigate' } })
    t.equal(sent.headers.location, '/in?return_to=%2Fprivate')
  })
})

t.test('ends the throttling in time although the date is set back', async (t) => {
  const moved = movableClock(t)
  const app = await gateway(t, config)
  const failed = async (): Promise<number> =>
    (await logIn(app, { payload: { ...ada, password: 'wrong' } })).statusCode
  let status = await failed()
  while (status === 401) status = await failed()
  t.equal(status, 429)
  moved.setDate(-60 * MINUTE)
  moved.advance(5 * MINUTE)
  t.equal((await logIn(app)).statusCode, 200)
})
