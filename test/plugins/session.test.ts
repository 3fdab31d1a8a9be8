import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
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
import {
  ada,
  auth,
  clock,
  config,
  cookieOf,
  list,
  logIn,
  MINUTE,
  page,
  signed,
  statusWith,
  storeOf
} from '../login.ts'

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

t.test('reports invalid session options', async (t) => {
  const folder = t.testdir({
    'twice.json': JSON.stringify([list[0], { ...list[0], secret: 'other' }]),
    'roles.json': JSON.stringify([{ ...list[0], roles: 'administrator' }]),
    'word.json': JSON.stringify([{ ...list[0], admin: true }]),
    'plain.json': JSON.stringify([{ name: 'ada', password: 'lovelace' }]),
    'nobody.json': '[{}, {}]',
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
      says: /expected an argon2id, scrypt or bcrypt hash/
    },
    { name: 'a word that users have not', config: withFile('word'), says: /unknown option "admin"/ },
    { name: 'users without names', config: withFile('nobody'), says: /entry 1: expected a name/ },
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
