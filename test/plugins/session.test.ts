import { createHook } from 'node:async_hooks'
import { createHmac, randomBytes, scryptSync } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { hashPassword } from '../../plugins/auth/index.ts'
import type { MemorySessions } from '../../plugins/session/stores/memory.ts'
import { Keep } from '../../src/index.ts'
import {
  ask,
  gateway,
  listening,
  movableClock,
  raw,
  SECRET,
  type Seen,
  statusOf,
  upstream
} from '../helpers.ts'

const ada = { username: 'ada', password: 'lovelace' }
const list = [
  { name: 'ada', secret: 'lovelace', roles: ['staff'] },
  { name: 'bob', secret: 'builder' }
]
const auth = { session: true, users: { list } }
const page = { path: '/private', respond: { body: 'for known callers' } }
const config = { auth, routes: [page, { path: '/public', auth: false, respond: { body: 'for all' } }] }

const form = (fields: Record<string, string>, headers: Record<string, string> = {}): InjectOptions => ({
  payload: new URLSearchParams(fields).toString(),
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
})

const logIn = (app: FastifyInstance, more: InjectOptions = { payload: ada }) =>
  app.inject({ method: 'POST', url: '/login', ...more })

/** Reads the pair that a client sends back. */
const cookieOf = ({ headers }: LightMyRequestResponse): string =>
  String(headers['set-cookie'] ?? '').split(';')[0] ?? ''

const statusWith = async (app: FastifyInstance, cookie: string, url = '/private'): Promise<number> =>
  (await app.inject({ url, headers: { cookie } })).statusCode

/** Finds the gateway's store of sessions, to count what is in it. */
const storeOf = (app: FastifyInstance, keep: Keep): MemorySessions =>
  keep.lease<MemorySessions>(app, 'session', () => {
    throw new Error('the gateway keeps its sessions elsewhere')
  })

/** Signs an id as @fastify/session does. */
const signed = (id: string, secret = SECRET): string =>
  `${id}.${createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')}`

/** Moves the clock of the process: sessions and throttles last for minutes, which no test can wait for. */
const clock = (t: Test): ((ms: number) => void) => movableClock(t).advance

const MINUTE = 60_000

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
    { name: 'a navigation', more: form(ada, navigation), status: 303, location: '/' },
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
      location: '/'
    },
    {
      name: 'a navigation of an old browser',
      more: form(ada, { accept: 'text/html' }),
      status: 303,
      location: '/'
    },
    {
      name: 'a navigation whose content type is in capitals',
      more: form(ada, { ...navigation, 'content-type': 'Application/X-WWW-Form-Urlencoded' }),
      status: 303,
      location: '/'
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
      location: '/login'
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

t.test('a log-in replaces the current session with the new user', async (t) => {
  const users = {
    list: [
      { name: 'ada', secret: 'lovelace' },
      { name: 'bob', secret: 'builder' }
    ]
  }
  const cases = [
    { name: 'the same ones', payload: ada, status: 200, who: 'ada', isNew: false },
    { name: 'none', payload: {}, status: 200, who: 'ada', isNew: false },
    {
      name: "another user's",
      payload: { username: 'bob', password: 'builder' },
      status: 200,
      who: 'bob',
      isNew: true
    },
    {
      name: 'wrong ones',
      payload: { username: 'bob', password: 'wrong' },
      status: 401,
      who: 'ada',
      isNew: false
    }
  ]
  for (const { name, payload, status, who, isNew } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { ...config, auth: { session: true, users } })
      const before = cookieOf(await logIn(app))
      const answer = await logIn(app, { payload, headers: { cookie: before } })
      t.equal(answer.statusCode, status)
      t.equal(answer.headers['set-cookie'] !== undefined, isNew)
      const now = isNew ? cookieOf(answer) : before
      t.match((await app.inject({ url: '/session', headers: { cookie: now } })).json(), { id: who })
      t.equal(await statusWith(app, before), isNew ? 401 : 200, 'the session before')
    })
})

t.test('creates a new session id at every log-in, whatever the client sends', async (t) => {
  const app = await gateway(t, config)
  const ended = cookieOf(await logIn(app))
  await app.inject({ method: 'POST', url: '/logout', headers: { cookie: ended } })
  const seen = new Set<string>()
  for (const [name, cookie] of [
    ['no cookie', 'other=1'],
    ['an id that somebody made up', 'sid=made-up'],
    ['an id of a fixed text', `sid=${'A'.repeat(32)}.${'A'.repeat(43)}`],
    ['a signed id that was never given out', `sid=${signed('A'.repeat(32))}`],
    ['the id of a session that has ended', ended],
    ['two ids', `sid=${signed('A'.repeat(32))}; sid=${signed('B'.repeat(32))}`]
  ] as const)
    t.test(name, async (t) => {
      const { statusCode, headers, ...rest } = await logIn(app, { payload: ada, headers: { cookie } })
      const given = cookieOf({ headers, ...rest } as LightMyRequestResponse)
      t.equal(statusCode, 200)
      t.equal([headers['set-cookie']].flat().length, 1)
      t.match(given, /^sid=[\w-]{32}\./)
      const id = given.slice(4, 36)
      t.notOk(cookie.includes(id), 'a new id')
      t.notOk(seen.has(id), 'an id that nobody else has')
      seen.add(id)
      t.equal(await statusWith(app, cookie), 401, 'what came with the log-in is worth nothing')
      t.equal(await statusWith(app, given), 200)
    })

  t.test('a log-in does not reuse the session of a removed user', async (t) => {
    const keep = new Keep()
    const both = await gateway(t, config, { keep })
    const before = cookieOf(await logIn(both, { payload: { username: 'bob', password: 'builder' } }))
    const alone = await gateway(
      t,
      { ...config, auth: { session: true, users: { list: [list[0]] } } },
      { keep }
    )
    const answer = await logIn(alone, { payload: ada, headers: { cookie: before } })
    t.equal(answer.body, 'Successfully authenticated')
    t.not(cookieOf(answer).slice(0, 36), before.slice(0, 36))
    t.equal(await statusWith(alone, before), 401)
  })
})

t.test('sets the attributes of the session cookie', async (t) => {
  const trusting = { trustedProxies: ['loopback'] }
  const cases: {
    name: string
    more: object
    headers?: Record<string, string>
    from?: string
    cookie: string
    secure: boolean
    sameSite?: string
  }[] = [
    { name: 'over plain HTTP', more: {}, cookie: 'sid', secure: false },
    {
      name: 'behind a proxy that says https and is not trusted',
      more: {},
      headers: { 'x-forwarded-proto': 'https' },
      cookie: 'sid',
      secure: false
    },
    {
      name: 'behind a proxy that says https and is trusted',
      more: trusting,
      headers: { 'x-forwarded-proto': 'https' },
      cookie: 'sid',
      secure: true
    },
    {
      name: 'behind a trusted proxy that says http',
      more: trusting,
      headers: { 'x-forwarded-proto': 'http' },
      cookie: 'sid',
      secure: false
    },
    {
      name: 'from a peer beside the trusted proxies',
      more: trusting,
      headers: { 'x-forwarded-proto': 'https' },
      from: '198.51.100.7',
      cookie: 'sid',
      secure: false
    },
    {
      name: 'where browsers come by https, though the proxy in front does not say so',
      more: { publicUrl: 'https://api.example.com' },
      cookie: '__Host-sid',
      secure: true
    },
    {
      name: 'where browsers come by https and the proxy says so',
      more: { publicUrl: 'https://api.example.com', ...trusting },
      headers: { 'x-forwarded-proto': 'https' },
      cookie: '__Host-sid',
      secure: true
    },
    {
      name: 'where browsers come by http',
      more: { publicUrl: 'http://intranet.example.com' },
      cookie: 'sid',
      secure: false
    },
    {
      name: 'under a name of its own',
      more: { publicUrl: 'https://api.example.com', session: { cookie: { name: 'shop' } } },
      cookie: 'shop',
      secure: true
    },
    {
      name: 'strictly for its own site',
      more: { session: { cookie: { sameSite: 'strict' } } },
      cookie: 'sid',
      secure: false,
      sameSite: 'Strict'
    },
    {
      name: 'strictly for its own site, over https',
      more: { ...trusting, session: { cookie: { sameSite: 'strict' } } },
      headers: { 'x-forwarded-proto': 'https' },
      cookie: 'sid',
      secure: true,
      sameSite: 'Strict'
    }
  ]
  for (const { name, more, headers = {}, from = '127.0.0.1', cookie, secure, sameSite = 'Lax' } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { ...config, ...more })
      const peer = { headers, remoteAddress: from }
      const answer = await logIn(app, { payload: ada, ...peer })
      const parts = (text: unknown): string[] => String(text).split('; ').slice(1).sort()
      const flags = ['HttpOnly', 'Path=/', `SameSite=${sameSite}`, ...(secure ? ['Secure'] : [])]
      t.equal(cookieOf(answer).split('=')[0], cookie)
      t.same(parts(answer.headers['set-cookie']), flags, 'no Domain, no Expires, and nothing else')
      t.equal(await statusWith(app, cookieOf(answer)), 200)

      const out = await app.inject({
        method: 'POST',
        url: '/logout',
        ...peer,
        headers: { ...headers, cookie: cookieOf(answer) }
      })
      const cleared = parts(out.headers['set-cookie']).filter((part) => !/^(Max-Age|Expires)=/.test(part))
      t.same(cleared, flags, 'is cleared by the flags it was set with')
    })
})

t.test('sets no cookie and stores nothing for anonymous visitors', async (t) => {
  const keep = new Keep()
  const app = await gateway(t, { ...config, auth: { ...auth, optional: true } }, { keep })
  const visit = async (url: string, more: InjectOptions = {}): Promise<void> => {
    const { headers } = await app.inject({ url, ...more })
    if (headers['set-cookie'] !== undefined) t.fail(`a cookie from ${url}`)
  }
  for (let i = 0; i < 1000; i++)
    await visit(
      i % 2 === 0 ? '/private' : '/public',
      i % 4 < 2 ? {} : { headers: { cookie: `sid=${signed(`${i}`)}` } }
    )
  for (const url of ['/login', '/session', '/nothing', '/-/ready']) await visit(url)
  await visit('/logout', { method: 'POST' })
  await visit('/login', { method: 'POST', payload: { username: 'ada', password: 'wrong' } })
  t.equal(storeOf(app, keep).size, 0)
  t.match(await logIn(app), { statusCode: 200 })
  t.equal(storeOf(app, keep).size, 1, 'only who logs in is remembered')
})

t.test('rotates secrets: the first signs, all are accepted', async (t) => {
  const keep = new Keep()
  const [first, second] = ['first secret '.repeat(4), 'second secret '.repeat(4)] as const
  const withSecrets = (secrets: string[]): Promise<FastifyInstance> =>
    gateway(t, { ...config, session: { secrets } }, { keep })
  const before = await withSecrets([first])
  const during = await withSecrets([second, first])
  const after = await withSecrets([second])
  const old = cookieOf(await logIn(before))
  const young = cookieOf(await logIn(during))
  t.equal(await statusWith(during, old), 200, 'an old cookie while both hold')
  t.equal(await statusWith(after, young), 200, 'a cookie of then, once the old secret is gone')
  t.equal(await statusWith(before, young), 401, 'it was not signed with the old secret')
  t.equal(await statusWith(after, old), 401, 'an old cookie, once its secret is gone')
})

t.test('ends a session after its idle and its absolute timeout', async (t) => {
  const session = { idle: '10m', absolute: '1h' }
  t.test('idle', async (t) => {
    const wait = clock(t)
    const app = await gateway(t, { ...config, session })
    const cookie = cookieOf(await logIn(app))
    wait(9 * MINUTE)
    t.equal(await statusWith(app, cookie), 200, 'after 9 minutes')
    wait(9 * MINUTE)
    t.equal(await statusWith(app, cookie), 200, 'after 9 more')
    wait(10 * MINUTE)
    t.equal(await statusWith(app, cookie), 401, 'after 10 idle ones')
    t.equal((await logIn(app, { payload: ada, headers: { cookie } })).body, 'Successfully authenticated')
  })
  t.test('idle, whatever the date is set to meanwhile', async (t) => {
    for (const minutes of [30, -120]) {
      const moved = movableClock(t)
      const app = await gateway(t, { ...config, session })
      const cookie = cookieOf(await logIn(app))
      moved.setDate(minutes * MINUTE)
      t.equal(await statusWith(app, cookie), 200, `with the date ${minutes} minutes on`)
      moved.advance(11 * MINUTE)
      t.equal(await statusWith(app, cookie), 401, 'after 11 idle minutes')
    }
  })
  t.test('too old', async (t) => {
    const wait = clock(t)
    const keep = new Keep()
    const app = await gateway(t, { ...config, session }, { keep })
    const cookie = cookieOf(await logIn(app))
    for (let minutes = 9; minutes < 60; minutes += 9) {
      wait(9 * MINUTE)
      t.equal(await statusWith(app, cookie), 200, `after ${minutes} minutes, never idle`)
    }
    wait(6 * MINUTE)
    t.equal(await statusWith(app, cookie), 401, 'after an hour')
    t.equal(storeOf(app, keep).size, 0, 'nothing is left of it')
  })
  t.test('by the options of now, after a reload', async (t) => {
    const wait = clock(t)
    const keep = new Keep()
    const cookie = cookieOf(await logIn(await gateway(t, { ...config, session }, { keep })))
    const app = await gateway(t, { ...config, session: { idle: '2m', absolute: '1h' } }, { keep })
    wait(5 * MINUTE)
    t.equal(await statusWith(app, cookie), 200, 'it was promised ten minutes')
    wait(2 * MINUTE)
    t.equal(await statusWith(app, cookie), 401, 'from then on it has two')
  })
})

t.test('ignores a forged, foreign or malformed cookie', async (t) => {
  const app = await gateway(t, config)
  const good = cookieOf(await logIn(app))
  const foreign = cookieOf(await logIn(await gateway(t, config)))
  const [id = '', signature = ''] = good.slice(4).split('.')
  const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  t.equal(await statusWith(app, good), 200, 'the cookie itself')
  t.equal(await statusWith(app, `a=1; ${good}; b`), 200, 'among others')
  for (const [name, cookie] of [
    ['a changed signature', `sid=${id}.${flipped}`],
    ['a changed id', `sid=${id.slice(1)}A.${signature}`],
    ['a cut signature', good.slice(0, -1)],
    ['no signature', `sid=${id}`],
    ['an empty signature', `sid=${id}.`],
    ['another secret', `sid=${signed(id, 'another secret of 32 characters and more')}`],
    ['a session of another gateway with the same secret', foreign],
    ['nothing', 'sid='],
    ['a dot', 'sid=.'],
    ['a broken percent-encoding', 'sid=%ZZ%E0%A4%A'],
    ['an encoded NUL', `sid=%00${good.slice(4)}`],
    ['quotes that never close', `sid="${good.slice(4)}`],
    ['no equals sign', 'sid'],
    ['a name in another case', good.replace('sid', 'SID')],
    ['a name that every object has', `__proto__=${good.slice(4)}; sid=__proto__`],
    ['twelve thousand characters', `sid=${'x'.repeat(12_000)}`],
    ['a thousand of them', 'sid=x; '.repeat(1000)]
  ] as const) {
    const { statusCode, headers, body } = await app.inject({ url: '/private', headers: { cookie } })
    t.equal(statusCode, 401, name)
    t.equal(JSON.parse(body).code, 'SP_ERR_AUTH_MISSING')
    t.notMatch(body, /node_modules|\.[jt]s:/, 'no stack')
    t.equal(headers['set-cookie'], undefined)
  }

  t.test('bytes that are no text, and cookies beyond all limits, over a real socket', async (t) => {
    const { port } = await listening(t, config)
    const get = (cookie: string): Promise<string> =>
      raw(port, `GET /private HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: ${cookie}\r\n\r\n`)
    t.equal(statusOf(await get('sid=\xff\xfe\x80')), 401)
    const large = await get(`sid=${'x'.repeat(20_000)}`)
    t.equal(statusOf(large), 431)
    t.notMatch(large, /node_modules|\.[jt]s:/)
  })
})

t.test('forwards all cookies but the session cookie', async (t) => {
  const shop = { proxy: { upstream: await upstream(t) } }
  const routes = [
    { path: '/private', ...shop },
    { path: '/public', auth: false, ...shop }
  ]
  const cases: [sent: string, seen: string | undefined][] = [
    ['SESSION', undefined],
    ['SESSION;', undefined],
    ['a=1; SESSION', 'a=1'],
    ['SESSION; b=2', 'b=2'],
    ['a=1; SESSION; b=2', 'a=1; b=2'],
    ['a=1;SESSION;b=2', 'a=1;b=2'],
    ['a=1; SESSION; SESSION; b=2', 'a=1; b=2'],
    ['SESSION; NAME=second; b=2', 'b=2'],
    ['SESSION; NAME =spaced; b=2', 'b=2'],
    ['SESSION; myNAME=1; NAME2=2; b=NAME', 'myNAME=1; NAME2=2; b=NAME'],
    ['SESSION; a="x=y"; b', 'a="x=y"; b']
  ]
  for (const more of [
    {},
    { publicUrl: 'https://api.example.com' },
    { session: { cookie: { name: 'shop.id' } } }
  ])
    t.test(JSON.stringify(more), async (t) => {
      const { app, port, url } = await listening(t, { auth, routes, ...more })
      const session = cookieOf(await logIn(app))
      const fill = (text: string): string =>
        text.replaceAll('SESSION', session).replaceAll('NAME', session.split('=')[0] ?? '')
      for (const path of ['/private', '/public'])
        for (const [sent, seen] of cases) {
          const { status, text } = await ask(url + path, { headers: { cookie: fill(sent) } })
          t.equal(status, 200)
          const { cookie } = (JSON.parse(text) as Seen).headers
          t.equal(cookie, seen === undefined ? undefined : fill(seen), `${path} ${sent}`)
        }
      const two = await raw(
        port,
        `GET /private HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nCookie: a=1\r\nCOOKIE: ${session}\r\ncookie: b=2\r\n\r\n`
      )
      t.equal(statusOf(two), 200)
      t.notMatch(two, session.split('=')[1], 'nor in one of several headers')
      t.match(two, /a=1/)
      t.match(two, /b=2/)
    })
})

t.test('keeps sessions over a reload, except those of removed users', async (t) => {
  const keep = new Keep()
  const file = t.testdir({ 'users.json': JSON.stringify(list) })
  const users = { file: `${file}/users.json` }
  const old = await gateway(t, { ...config, auth: { session: true, users } }, { keep })
  const cookies = {
    ada: cookieOf(await logIn(old)),
    bob: cookieOf(await logIn(old, { payload: { username: 'bob', password: 'builder' } }))
  }
  t.testdir({ 'users.json': JSON.stringify([{ ...list[0], roles: ['chief'] }]) })
  const next = await gateway(t, { ...config, auth: { session: true, users } }, { keep })
  await old.close()
  t.equal(await statusWith(next, cookies.ada), 200)
  t.equal(await statusWith(next, cookies.bob), 401, 'his session has nobody any more')
  const { body } = await next.inject({ url: '/session', headers: { cookie: cookies.ada } })
  t.match(JSON.parse(body), { id: 'ada', roles: ['chief'] }, 'the roles are those of now')
  t.equal(await statusWith(next, cookies.bob, '/session'), 401)
  t.equal((await logIn(next, { payload: { username: 'bob', password: 'builder' } })).statusCode, 401)
})

t.test('ends the least recently used session when the store is full', async (t) => {
  const keep = new Keep()
  const app = await gateway(t, config, { keep })
  const first = cookieOf(await logIn(app))
  const second = cookieOf(await logIn(app))
  const store = storeOf(app, keep)
  const created = Date.now()
  for (let i = store.size; i < 100_001; i++) store.set(`id ${i}`, { user: 'ada', created }, () => {})
  t.equal(store.size, 100_000)
  t.equal(await statusWith(app, first), 401)
  t.equal(await statusWith(app, second), 200)
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

  t.test('a route that takes everything leaves them', async (t) => {
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

t.test('reports invalid session options', async (t) => {
  const folder = t.testdir({
    'twice.json': JSON.stringify([list[0], { ...list[0], secret: 'other' }]),
    'roles.json': JSON.stringify([{ ...list[0], roles: 'administrator' }]),
    'word.json': JSON.stringify([{ ...list[0], admin: true }]),
    'plain.json': JSON.stringify([{ name: 'ada', password: 'lovelace' }]),
    'object.json': '{}',
    'broken.json': '[{'
  })
  const withFile = (file: string): object => ({
    ...config,
    auth: { session: true, users: { file: `${folder}/${file}.json` } }
  })
  const cases: { name: string; config: object; env?: Record<string, string>; says: RegExp }[] = [
    { name: 'no secret', config, env: {}, says: /set SESSION_SECRET in the environment/ },
    { name: 'a short secret', config, env: { SESSION_SECRET: 'short' }, says: /32 characters or more/ },
    {
      name: 'a short secret among others',
      config: { ...config, session: { secrets: [SECRET, 'short'] } },
      says: /session\.secrets\[1\].*32 characters or more, got 5/
    },
    {
      name: 'nobody who could log in',
      config: { ...config, auth: { session: true } },
      says: /expected "users" or "oidc"/
    },
    {
      name: 'a way that is not there',
      config: { ...config, auth: true },
      says: /expected an authentication strategy/
    },
    { name: 'a file that is not there', config: withFile('missing'), says: /There is no file / },
    { name: 'a file that is no JSON', config: withFile('broken'), says: /expected JSON in the file/ },
    { name: 'a file that is no list', config: withFile('object'), says: /expected a list of callers/ },
    {
      name: 'a password in the clear',
      config: withFile('plain'),
      says: /expected an argon2id or scrypt hash/
    },
    { name: 'a word that users have not', config: withFile('word'), says: /unknown option "admin"/ },
    { name: 'roles that are one text', config: withFile('roles'), says: /expected a list of strings/ },
    {
      name: 'a name that two have',
      config: withFile('twice'),
      says: /expected unique user names, got "ada" twice/
    }
  ]
  for (const { name, config, env = { SESSION_SECRET: SECRET }, says } of cases)
    t.test(name, async (t) => {
      const error = await gateway(t, config, { env }).then(
        () => undefined,
        (error: Error) => error
      )
      t.match(error?.message, says)
      t.notMatch(error?.message, /lovelace|short"/, 'no secret is printed back')
    })

  t.test('a user name with different data in two places', async (t) => {
    const other = { session: true, users: { list: [{ name: 'ada', secret: 'byron' }] } }
    await t.rejects(
      gateway(t, { ...config, routes: [page, { ...page, path: '/other', auth: other }] }),
      /expected unique user names in the whole gateway, got "ada" twice/
    )
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
