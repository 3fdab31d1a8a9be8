import type { HTTPMethods } from 'fastify'
import t from 'tap'
import { ask, gateway, listening, raw, readableLog, type Seen, statusOf, upstream } from '../helpers.ts'
import { apiKeys, both, cookieOf, keys, sha256, users, who } from './callers.ts'

t.test('accepts a request that any of the strategies accepts', async (t) => {
  const cases: {
    name: string
    auth: object
    as?: string
    headers?: Record<string, string>
    url?: string
    status: number
    says: string
    challenge?: string
  }[] = [
    { name: 'nobody', auth: both, status: 401, says: 'SP_ERR_AUTH_MISSING', challenge: 'Session, ApiKey' },
    {
      name: 'nobody, with sessions',
      auth: { session: true, users },
      status: 401,
      says: 'SP_ERR_AUTH_MISSING',
      challenge: 'Session'
    },
    {
      name: 'nobody, with API keys',
      auth: { apiKeys },
      status: 401,
      says: 'SP_ERR_AUTH_MISSING',
      challenge: 'ApiKey'
    },
    {
      name: 'nobody, where keys alone count',
      auth: { ...both, by: ['apiKeys'] },
      status: 401,
      says: 'SP_ERR_AUTH_MISSING',
      challenge: 'ApiKey'
    },
    { name: 'a session', auth: both, as: 'ada', status: 200, says: 'ada|staff,chief|' },
    {
      name: 'a session, where keys alone count',
      auth: { ...both, by: ['apiKeys'] },
      as: 'ada',
      status: 401,
      says: 'SP_ERR_AUTH_MISSING'
    },
    {
      name: 'a key, where sessions alone count',
      auth: { ...both, by: ['session'] },
      headers: { 'x-api-key': 'key of alice' },
      status: 401,
      says: 'SP_ERR_AUTH_MISSING',
      challenge: 'Session'
    },
    {
      name: 'a key in a header',
      auth: both,
      headers: { 'x-api-key': 'key of alice' },
      status: 200,
      says: 'alice|staff|orders:read,orders:write'
    },
    {
      name: 'a key in a query',
      auth: both,
      url: '/who?a=1&apikey=key%20of+alice',
      status: 200,
      says: 'alice|staff|orders:read,orders:write'
    },
    {
      name: 'the second key of a caller',
      auth: both,
      headers: { 'x-api-key': 'second key of alice' },
      status: 200,
      says: 'alice||'
    },
    {
      name: 'a key that has not expired',
      auth: both,
      headers: { 'x-api-key': 'key of carol' },
      status: 200,
      says: 'carol||'
    },
    {
      name: 'a key that has expired',
      auth: both,
      headers: { 'x-api-key': 'key of dave' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG',
      challenge: 'Session, ApiKey'
    },
    {
      name: 'a wrong key',
      auth: both,
      headers: { 'x-api-key': 'key of eve' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'an empty key',
      auth: both,
      headers: { 'x-api-key': '' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'the hash of a key',
      auth: both,
      headers: { 'x-api-key': sha256('key of alice') },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a key that every object has',
      auth: both,
      headers: { 'x-api-key': '__proto__' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'the same in a query',
      auth: both,
      url: '/who?apikey=__proto__',
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a wrong key beside a session',
      auth: both,
      as: 'ada',
      headers: { 'x-api-key': 'key of eve' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a wrong key in the query beside a right one in the header',
      auth: both,
      headers: { 'x-api-key': 'key of alice' },
      url: '/who?apikey=key+of+eve',
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a right and a wrong key in one query',
      auth: both,
      url: '/who?apikey=key+of+alice&apikey=key+of+eve',
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a key beside a session, which comes first',
      auth: both,
      as: 'bob',
      headers: { 'x-api-key': 'key of alice' },
      status: 200,
      says: 'bob||'
    },
    {
      name: 'a key beside a cookie that is stale',
      auth: both,
      headers: { 'x-api-key': 'key of alice', cookie: 'sid=stale.cookie' },
      status: 200,
      says: 'alice|staff|orders:read,orders:write'
    },
    { name: 'nobody, where that is fine', auth: { ...both, optional: true }, status: 200, says: '||' },
    {
      name: 'a stale cookie, where nobody is fine',
      auth: { ...both, optional: true },
      headers: { cookie: 'sid=stale.cookie' },
      status: 200,
      says: '||'
    },
    {
      name: 'a session, where nobody is fine',
      auth: { ...both, optional: true },
      as: 'bob',
      status: 200,
      says: 'bob||'
    },
    {
      name: 'a wrong key, where nobody is fine',
      auth: { ...both, optional: true },
      headers: { 'x-api-key': 'key of eve' },
      status: 401,
      says: 'SP_ERR_AUTH_WRONG'
    },
    {
      name: 'a role that is required',
      auth: { ...both, require: { roles: ['admin', 'staff'] } },
      as: 'ada',
      status: 200,
      says: 'ada|staff,chief|'
    },
    {
      name: 'a role that is missing',
      auth: { ...both, require: { roles: ['admin', 'chief'] } },
      headers: { 'x-api-key': 'key of alice' },
      status: 403,
      says: 'Forbidden: requires one of the roles admin, chief'
    },
    {
      name: 'a role that is the beginning of another',
      auth: { ...both, require: { roles: ['staf'] } },
      as: 'ada',
      status: 403,
      says: 'Forbidden: requires one of the roles staf'
    },
    {
      name: 'a key with the role, beside a session without it',
      auth: { ...both, require: { roles: ['staff'] } },
      as: 'bob',
      headers: { 'x-api-key': 'key of alice' },
      status: 403,
      says: 'Forbidden: requires one of the roles staff'
    },
    {
      name: 'scopes that are required',
      auth: { ...both, require: { scopes: ['orders:read', 'orders:write'] } },
      headers: { 'x-api-key': 'key of alice' },
      status: 200,
      says: 'alice|staff|orders:read,orders:write'
    },
    {
      name: 'a scope that is missing',
      auth: { ...both, require: { scopes: ['orders:read', 'orders:delete'] } },
      headers: { 'x-api-key': 'key of alice' },
      status: 403,
      says: 'Forbidden: requires the scope orders:delete'
    },
    {
      name: 'a claim that is missing',
      auth: { ...both, require: { claims: { email: '*@example.com' } } },
      as: 'ada',
      status: 403,
      says: 'Forbidden: requires the claim email'
    },
    {
      name: 'nobody, where that is fine and a role is required',
      auth: { ...both, optional: true, require: { roles: ['staff'] } },
      status: 200,
      says: '||'
    },
    {
      name: 'a caller without the role, where nobody is fine',
      auth: { ...both, optional: true, require: { roles: ['staff'] } },
      as: 'bob',
      status: 403,
      says: 'Forbidden: requires one of the roles staff'
    }
  ]
  for (const { name, auth, as, headers = {}, url = '/who', status, says, challenge } of cases)
    t.test(name, async (t) => {
      const strategies = { ...auth, optional: undefined, require: undefined, by: undefined }
      const app = await gateway(t, {
        auth: JSON.parse(JSON.stringify(strategies)),
        routes: [
          { ...who, auth },
          { path: '/other', respond: {} }
        ]
      })
      const cookie = as === undefined ? {} : { cookie: await cookieOf(app, as) }
      const answer = await app.inject({ url, headers: { ...headers, ...cookie } })
      t.equal(answer.statusCode, status)
      if (status === 200) t.equal(answer.body, says)
      else if (status === 401) t.equal(answer.json().code, says)
      else t.match(answer.json(), { code: 'SP_ERR_AUTH_LACKING', detail: says })
      if (status === 401) t.match(answer.headers['www-authenticate'], challenge ?? 'ApiKey')
      else t.equal(answer.headers['www-authenticate'], undefined)
      t.notMatch(answer.body, /key of (eve|dave)/, 'no credential is in the response')
    })
})

t.test('applies to the routes that the config names', async (t) => {
  const app = await gateway(t, {
    auth: { global: false, apiKeys },
    routes: [
      { ...who, path: '/silent' },
      { ...who, path: '/asking', auth: true },
      {
        path: '/group',
        auth: { require: { roles: ['staff'] } },
        routes: [
          { ...who, path: '/in' },
          { ...who, path: '/out', auth: false },
          { ...who, path: '/all', auth: { require: false } }
        ]
      }
    ]
  })
  const get = async (url: string, key?: string): Promise<number> =>
    (await app.inject({ url, headers: key === undefined ? {} : { 'x-api-key': key } })).statusCode
  for (const [url, nobody, carol, alice] of [
    ['/silent', 200, 200, 200],
    ['/asking', 401, 200, 200],
    ['/group/in', 401, 403, 200],
    ['/group/out', 200, 200, 200],
    ['/group/all', 401, 200, 200],
    ['/nothing', 404, 404, 404],
    ['/-/live', 200, 200, 200]
  ] as const) {
    t.equal(await get(url), nobody, `${url} for nobody`)
    t.equal(await get(url, 'key of carol'), carol, `${url} for a caller`)
    t.equal(await get(url, 'key of alice'), alice, `${url} for one of the staff`)
  }
})

t.test('reads keys from a file, and from several places in order', async (t) => {
  const folder = t.testdir({ 'keys.json': JSON.stringify(keys.filter(({ key }) => key !== undefined)) })
  const app = await gateway(t, {
    auth: { apiKeys: { from: ['query:k', 'header:X-Key'], file: `${folder}/keys.json` } },
    routes: [who]
  })
  const as = async (url: string, headers: Record<string, string> = {}): Promise<string> =>
    (await app.inject({ url, headers })).body.split('|')[0] ?? ''
  t.equal(await as('/who?k=key+of+carol'), 'carol')
  t.equal(await as('/who', { 'x-key': 'key of alice' }), 'alice')
  t.equal(await as('/who?k=key+of+carol', { 'x-key': 'key of alice' }), 'carol')
  t.match(await as('/who', { 'x-api-key': 'key of alice' }), 'SP_ERR_AUTH_MISSING')
  const { port } = await listening(t, { auth: { apiKeys }, routes: [who] })
  const twice = await raw(
    port,
    'GET /who HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-api-key: key of alice\r\nX-API-Key: key of alice\r\n\r\n'
  )
  t.equal(statusOf(twice), 401, 'a header that comes twice is no key')
})

t.test('reports invalid entries of API keys', async (t) => {
  const hash = sha256('key')
  const cases: [name: string, key: unknown, says: RegExp][] = [
    ['a key in the clear', { id: 'a', key: 'topsecret' }, /expected "sha256:" and 64 hex digits/],
    ['neither a key nor its hash', { id: 'a' }, /expected a "key" for "a"/],
    ['both of them', { id: 'a', key: hash, secret: 'topsecret' }, /expected a "key" for "a"/],
    ['nobody', { key: hash }, /expected an id/],
    [
      'roles that are one text',
      { id: 'a', key: hash, roles: 'administrator' },
      /expected a list of strings as the roles of "a"/
    ],
    [
      'scopes that are numbers',
      { id: 'a', key: hash, scopes: [1] },
      /expected a list of strings as the scopes of "a"/
    ],
    ['a secret that is a number', { id: 'a', secret: 12345 }, /expected a string as the secret of "a"/],
    [
      'a day that there is not',
      { id: 'a', key: hash, expires: '2027-13-41' },
      /expected a date as "expires" of "a"/
    ],
    ['a day that is a number', { id: 'a', key: hash, expires: 2027 }, /expected a date as "expires" of "a"/],
    ['a word that keys have not', { id: 'a', key: hash, admin: true }, /unknown option "admin"/],
    ['a text', 'topsecret', /entry 1: expected an object/]
  ]
  const loadError = async (config: object): Promise<string> =>
    gateway(t, config).then(
      () => 'sound',
      (error: Error) => error.message
    )
  for (const [name, key, says] of cases) {
    const folder = t.testdir({ 'keys.json': JSON.stringify([key]) })
    const message = await loadError({ auth: { apiKeys: { file: `${folder}/keys.json` } }, routes: [who] })
    t.match(message, says, name)
    t.notMatch(message, /topsecret|12345/, 'no secret is printed back')
  }
  for (const [auth, says] of [
    [{ ...both, by: ['apiKeys', 'sessions'] }, /sessions/],
    [{ apiKeys, by: ['session'] }, /expected a strategy that is defined here \(apiKeys\), got "session"/],
    [{ apiKeys, identity: { 'x-user': 'nickname' } }, /expected id, name, email, roles, scopes or claims/],
    [{ apiKeys: { from: ['cookie:key'], list: keys } }, /"header:NAME" or "query:NAME"/]
  ] as const)
    t.match(await loadError({ auth, routes: [who] }), says)
})

t.test('redirects page loads to the log-in and answers everything else 401', async (t) => {
  const page = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  const cases: {
    name: string
    auth?: object
    method?: HTTPMethods
    headers: Record<string, string>
    url?: string
    location?: string
  }[] = [
    { name: 'a navigation', headers: page, location: '/login?return_to=%2Fwho' },
    { name: 'a HEAD of one', method: 'HEAD', headers: page, location: '/login?return_to=%2Fwho' },
    {
      name: 'a navigation with a query',
      headers: page,
      url: '/who?a=b&c=%20d%26',
      location: '/login?return_to=%2Fwho%3Fa%3Db%26c%3D%2520d%2526'
    },
    {
      name: 'a navigation over plain HTTP',
      headers: { 'upgrade-insecure-requests': '1' },
      location: '/login?return_to=%2Fwho'
    },
    { name: 'a fetch', headers: { 'sec-fetch-mode': 'cors' } },
    {
      name: 'a fetch that says what navigations say',
      headers: { 'sec-fetch-mode': 'cors', 'upgrade-insecure-requests': '1', accept: 'text/html' }
    },
    { name: 'a program', headers: {} },
    { name: 'a form', method: 'POST', headers: page },
    { name: 'a navigation, where a status was asked for', auth: { challenge: 'status' }, headers: page },
    {
      name: 'a program, where the log-in was asked for',
      auth: { challenge: 'login' },
      headers: {},
      location: '/login?return_to=%2Fwho'
    },
    { name: 'a navigation, where keys alone count', auth: { by: ['apiKeys'] }, headers: page },
    { name: 'a navigation with a wrong key', headers: { ...page, 'x-api-key': 'key of eve' } }
  ]
  for (const { name, auth = {}, method = 'GET', headers, url = '/who', location } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { auth: both, routes: [{ ...who, auth }] })
      const answer = await app.inject({ method, url, headers })
      t.equal(answer.statusCode, location === undefined ? 401 : 303)
      t.equal(answer.headers.location, location)
      t.equal(answer.headers['cache-control'], 'no-store')
      if (location === undefined) return
      const { statusCode, headers: back } = await app.inject({
        method: 'POST',
        url: location,
        payload: 'username=ada&password=lovelace',
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-mode': 'navigate' }
      })
      t.equal(statusCode, 303)
      t.equal(back.location, url, 'and back again after the log-in')
    })
})

t.test('sends identity headers that no client can forge', async (t) => {
  const shop = { proxy: { upstream: await upstream(t) } }
  const { app, port, url } = await listening(t, {
    auth: { ...both, identity: { 'x-user-id': 'id', 'X-User-Roles': 'roles', 'x-mail': 'email' } },
    routes: [
      { path: '/private', ...shop },
      { path: '/optional', auth: { optional: true }, ...shop },
      { path: '/public', auth: false, ...shop },
      { path: '/other', auth: { identity: { 'x-scopes': 'scopes', 'x-mail': false } }, ...shop },
      { path: '/group', auth: false, routes: [{ path: '/deep/*', proxy: { ...shop.proxy, rewrite: '/' } }] }
    ]
  })
  const cookie = await cookieOf(app)
  const seen = async (path: string, headers: Record<string, string>): Promise<Seen['headers']> => {
    const { status, text } = await ask(url + path, { headers })
    t.equal(status, 200)
    return (JSON.parse(text) as Seen).headers
  }
  const identityOf = ({
    'x-user-id': id,
    'x-user-roles': roles,
    'x-mail': mail,
    'x-scopes': scopes
  }: Seen['headers']) => [id, roles, mail, scopes]
  const key = { 'x-api-key': 'key of alice' }
  t.same(identityOf(await seen('/private', { cookie })), ['ada', 'staff,chief', 'ada@example.com', undefined])
  t.same(identityOf(await seen('/optional', { cookie })), [
    'ada',
    'staff,chief',
    'ada@example.com',
    undefined
  ])
  t.same(identityOf(await seen('/private', key)), ['alice', 'staff', '', undefined])
  t.same(identityOf(await seen('/other', key)), ['alice', 'staff', undefined, 'orders:read,orders:write'])
  t.same(identityOf(await seen('/optional', {})), [undefined, undefined, undefined, undefined])
  t.same(identityOf(await seen('/public', { cookie })), [undefined, undefined, undefined, undefined])

  const names = ['x-user-id', 'x-user-roles', 'x-mail', 'x-scopes']
  const spellings = names.flatMap((name) => [
    name,
    name.toUpperCase(),
    name.replaceAll('-', '_'),
    name.toUpperCase().replaceAll('-', '_'),
    name.replaceAll('-', '.'),
    name.replace('-', '_')
  ])
  const forged = [...spellings, ...spellings].map((name) => `${name}: mallory\r\n`).join('')
  const rest = `host: localhost\r\nconnection: close\r\nx-user-identity: kept\r\nx-user: kept\r\n${forged}`
  for (const [path, credential] of [
    ['/private', `cookie: ${cookie}\r\n`],
    ['/private', 'x-api-key: key of alice\r\n'],
    ['/optional', `cookie: ${cookie}\r\n`],
    ['/optional', ''],
    ['/public', ''],
    ['/public', `cookie: ${cookie}\r\n`],
    ['/other', 'x-api-key: key of alice\r\n'],
    ['/group/deep/x', '']
  ] as const) {
    const answer = await raw(port, `GET ${path} HTTP/1.1\r\n${credential}${rest}\r\n`)
    t.equal(statusOf(answer), 200)
    t.notMatch(answer, 'mallory', `${path} with ${credential.trim() || 'nothing'}`)
    t.equal(answer.match(/"kept"/g)?.length, 4, 'names that only look alike pass')
  }

  t.test('a client cannot remove them with Connection', async (t) => {
    const answer = await raw(
      port,
      `GET /private HTTP/1.1\r\nhost: localhost\r\nconnection: close, x-user-id, x-mail\r\ncookie: ${cookie}\r\n\r\n`
    )
    t.match(answer, '"x-user-id":"ada"')
    t.match(answer, '"x-mail":"ada@example.com"')
  })
})

t.test('neither forwards nor logs a key in the query', async (t) => {
  const { log, lines } = readableLog('trace')
  const { url } = await listening(
    t,
    {
      auth: { apiKeys },
      routes: [
        { path: '/shop/*', proxy: { upstream: await upstream(t) } },
        { path: '/report', auth: { mode: 'report' }, proxy: { upstream: await upstream(t) } },
        { path: '/old', redirect: { to: '/shop/new' } }
      ]
    },
    { log }
  )
  for (const [sent, seen] of [
    ['/shop/a?apikey=key+of+alice', '/shop/a'],
    ['/shop/a?b=%2f+c&apikey=key%20of%20alice', '/shop/a?b=%2f+c'],
    ['/shop/a?apikey=key+of+alice&&b=%zz', '/shop/a?&b=%zz'],
    ['/shop/a?apikey=key+of+alice&apikey=key+of+alice&b', '/shop/a?b'],
    ['/shop/a?%61pikey=key+of+alice&apikeys=1', '/shop/a?apikeys=1'],
    ['/report?apikey=key+of+eve&b=1', '/report?b=1']
  ] as const) {
    const { status, text } = await ask(url + sent)
    t.equal(status, 200)
    t.equal((JSON.parse(text) as Seen).url, seen, sent)
  }
  const { status, headers } = await ask(`${url}/old?a=1&apikey=key+of+alice`)
  t.equal(status, 308)
  t.match(headers.get('location'), /\/shop\/new\?a=1$/)
  await ask(`${url}/shop/a?apikey=key+of+eve`)
  const written = JSON.stringify(lines)
  t.match(written, '"path":"/shop/a"')
  t.notMatch(written, /key(\+|%20| )of/)
})

t.test('in report mode accepts every request and logs what it would have refused', async (t) => {
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      auth: { ...both, mode: 'report', require: { roles: ['staff'] } },
      csrf: { mode: 'report' },
      routes: [who]
    },
    { log }
  )
  const cookie = await cookieOf(app, 'bob')
  const good = await cookieOf(app)
  const evil = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
  for (const { more, says, reports } of [
    { more: {}, says: '||', reports: ['auth SP_ERR_AUTH_MISSING'] },
    { more: { 'sec-fetch-mode': 'navigate' }, says: '||', reports: ['auth SP_ERR_AUTH_LOGIN'] },
    { more: { 'x-api-key': 'key of eve' }, says: '||', reports: ['auth SP_ERR_AUTH_WRONG'] },
    { more: { cookie }, says: 'bob||', reports: ['auth SP_ERR_AUTH_LACKING'] },
    { more: { cookie: good, ...evil }, says: 'ada|staff,chief|', reports: ['csrf SP_ERR_CSRF_CROSS_SITE'] },
    {
      more: { cookie, ...evil },
      says: 'bob||',
      reports: ['auth SP_ERR_AUTH_LACKING', 'csrf SP_ERR_CSRF_CROSS_SITE']
    },
    { more: { cookie: good }, says: 'ada|staff,chief|', reports: undefined }
  ]) {
    const { statusCode, body } = await app.inject({
      method: 'sec-fetch-mode' in more ? 'GET' : 'POST',
      url: '/who',
      headers: more as Record<string, string>
    })
    t.equal(statusCode, 200)
    t.equal(body, says)
    const line = lines.findLast(({ path }) => path === '/who')
    t.same(line?.['wouldRefuse'], reports)
    t.equal(line?.['refusedBy'], undefined)
  }
})

t.test('does not forward a key unless passOn names it', async (t) => {
  const { url } = await listening(t, {
    auth: { global: false, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
    routes: [
      { path: '/kept', proxy: { upstream: await upstream(t) }, auth: true },
      { path: '/passed', proxy: { upstream: await upstream(t) }, auth: { passOn: ['apiKeys'] } }
    ]
  })
  const seenAt = async (path: string): Promise<Seen> =>
    JSON.parse((await ask(`${url}${path}`, { headers: { 'x-api-key': 'key' } })).text) as Seen
  t.equal((await seenAt('/kept')).headers['x-api-key'], undefined)
  t.equal((await seenAt('/passed')).headers['x-api-key'], 'key')
})

t.test('encodes identity headers so that no two names look alike to an upstream', async (t) => {
  const names = ['ada', '\u0430da', 'a%20da', 'ada\u2028', 'ad\u00e4', 'lone \ud800']
  const { url } = await listening(t, {
    auth: {
      apiKeys: { list: names.map((id, i) => ({ id, secret: `key ${i}` })) },
      identity: { 'x-user': 'id' }
    },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
  })
  const seen: (string | undefined)[] = []
  for (const i of names.keys())
    seen.push(
      (JSON.parse((await ask(`${url}/x`, { headers: { 'x-api-key': `key ${i}` } })).text) as Seen).headers[
        'x-user'
      ]
    )
  t.strictSame(seen, ['ada', '%D0%B0da', 'a%2520da', 'ada%E2%80%A8', 'ad%C3%A4', 'lone %EF%BF%BD'])
})
