import { createHook } from 'node:async_hooks'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { text } from 'node:stream/consumers'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { createRemoteJWKSet, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  ask,
  bodyOf,
  certificate,
  echo,
  gateway,
  listening,
  noOpenssl,
  raw,
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

t.test('accepts HTTP Basic if it is on', async (t) => {
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
  t.test('users alone do not switch it on', async (t) => {
    const app = await gateway(t, { auth: { users, session: true }, routes: [page] })
    t.equal((await app.inject({ url: '/a', headers: basic('ada', 'lovelace') })).statusCode, 401)
  })
  t.test(
    'beside a session it is not in WWW-Authenticate, since browsers would open a password dialog',
    async (t) => {
      const app = await gateway(t, { auth: { users, session: true, basic: true }, routes: [page] })
      const answer = await app.inject('/a')
      t.equal(answer.headers['www-authenticate'], 'Session')
      t.equal((await app.inject({ url: '/a', headers: basic('ada', 'lovelace') })).statusCode, 200)
    }
  )
})

t.test('accepts names and passwords in either Unicode normalization form', async (t) => {
  const users = {
    list: [
      { name: 'jos\u00e9', secret: 'caf\u00e9' },
      { name: 'rene\u0301', secret: 'cre\u0300me' }
    ]
  }
  const app = await gateway(t, {
    auth: { users, basic: true, session: true, identity: { 'x-id': 'id' } },
    routes: [{ path: '/a', respond: { body: '{caller.id}' } }]
  })
  const cases: [string, string, number][] = [
    ['jos\u00e9', 'caf\u00e9', 200],
    ['jose\u0301', 'cafe\u0301', 200],
    ['ren\u00e9', 'cre\u0300me', 200],
    ['jose', 'cafe', 401],
    ['jos\u00e9', 'cafe', 401]
  ]
  for (const [username, password, expected] of cases) {
    const { statusCode } = await app.inject({ url: '/a', headers: basic(username, password) })
    t.equal(statusCode, expected, `${username}:${password}`)
    const entered = await app.inject({ method: 'POST', url: '/login', payload: { username, password } })
    t.equal(entered.statusCode, expected, 'at the log-in as well')
  }
})

t.test('hashes a password once a minute, and throttles failed attempts', async (t) => {
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

t.test('asks a forward-auth service and forwards the headers of its response', async (t) => {
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
          timeout: '2s',
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

  t.test('sends any response but a 2xx to the client', async (t) => {
    const unknown = await ask(`${url}/ops`)
    t.equal(unknown.status, 401)
    t.equal(unknown.text, 'who are you?')
    t.equal(unknown.headers.get('www-authenticate'), 'Token')
    const redirected = await ask(`${url}/ops`, as('redirect'))
    t.equal(redirected.status, 302)
    t.equal(redirected.headers.get('location'), 'https://login.example')
    t.same(redirected.headers.getSetCookie(), ['a=1', 'b=2'])
  })
  t.test('answers 503 without internal details if the service does not respond', async (t) => {
    for (const token of ['broken', 'slow', 'huge']) {
      const away = await ask(`${url}/ops`, as(token))
      t.equal(away.status, 503, token)
      t.match(JSON.parse(away.text), { code: 'SP_ERR_AUTH_UNAVAILABLE' })
    }
    await line(({ msg }) => /^authentication service unavailable/.test(String(msg)))
    t.match(
      lines.find(({ status }) => status === 401),
      { refusedBy: 'auth', code: 'SP_ERR_AUTH_FORWARD' }
    )
  })
})

/** Starts a gateway with TLS, and a client of HTTP/2 for it. */
async function overTls(t: Test, config: object): Promise<{ port: number; client: ClientHttp2Session }> {
  const { ca, key } = certificate(t)
  const file = ca.replace('.pem', '.key')
  writeFileSync(file, key)
  const { port } = await listening(t, { tls: { certificates: [{ cert: ca, key: file }] }, ...config })
  const client = http2.connect(`https://localhost:${port}`, { ca: readFileSync(ca) })
  t.teardown(() => client.destroy())
  return { port, client }
}

/** Asks over HTTP/2. */
async function askOver(
  client: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders
): Promise<{ headers: IncomingHttpHeaders & http2.IncomingHttpStatusHeader; text: string }> {
  const stream = client.request(headers)
  stream.end()
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders & http2.IncomingHttpStatusHeader]
  return { headers: head, text: await text(stream) }
}

const lowerNames = ({ rawHeaders }: Seen): string[] =>
  rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())

t.test(
  'asks the service about HTTP/2 requests like about HTTP/1.1 requests',
  { skip: noOpenssl },
  async (t) => {
    const seen: Seen[] = []
    const up = await upstream(t, echo)
    const { client } = await overTls(t, {
      auth: { forward: { upstream: await decider(t, seen), path: '/check', copy: ['x-user'] } },
      routes: [{ path: '/*', proxy: { upstream: up } }]
    })
    const answer = await askOver(client, { ':path': '/a?b=1', cookie: ['a=1', 'b=2'], 'x-token': 'ada' })
    t.equal(answer.headers[':status'], 200)
    const [question] = seen as [Seen]
    t.match(question.headers, {
      cookie: 'a=1; b=2',
      'x-forwarded-uri': '/a?b=1',
      'x-forwarded-proto': 'https'
    })
    t.notOk(lowerNames(question).some((name) => name.startsWith(':')))
    t.equal(lowerNames(question).filter((name) => name === 'cookie').length, 1)
    t.match(JSON.parse(answer.text), { headers: { cookie: 'a=1; b=2', 'x-user': 'ada' } })
  }
)

t.test('sends the service no fields about the resource or the connection', async (t) => {
  const seen: Seen[] = []
  const { port } = await listening(t, {
    auth: {
      forward: {
        upstream: await decider(t, seen),
        copy: ['x-user'],
        caller: { id: 'x-user', roles: 'X-Roles' }
      }
    },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t, echo) } }]
  })
  for (const header of [
    'If-None-Match: *',
    'If-Match: "a"',
    'If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT',
    'If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT',
    'If-Range: "a"',
    'If: (<urn:uuid:a>)',
    'Range: bytes=5-',
    'Content-Type: text/plain',
    'Content-Range: bytes 0-1/2',
    'Content-Encoding: gzip',
    'HTTP2-Settings: AAAA',
    'TE: trailers',
    'Proxy-Authorization: Basic YTpi',
    'X-Roles: admin',
    'X_Roles: admin',
    'X-User: root'
  ]) {
    seen.length = 0
    const name = header.slice(0, header.indexOf(':')).toLowerCase()
    const answer = await raw(
      port,
      `PUT / HTTP/1.1\r\nHost: a\r\nX-Token: ada\r\n${header}\r\nConnection: close\r\nContent-Length: 1\r\n\r\na`
    )
    t.match(answer, /^HTTP\/1.1 200 /, header)
    t.notOk(lowerNames(seen[0] as Seen).includes(name), header)
    if (name.endsWith('roles'))
      t.notMatch(answer, /admin/, 'no upstream sees a name of "caller" from a client')
  }
  seen.length = 0
  const nominated = await raw(
    port,
    'GET / HTTP/1.1\r\nHost: a\r\nX-Token: ada\r\nX-Tenant: b\r\nConnection: close, X-Tenant\r\n\r\n'
  )
  t.notMatch(nominated, /x-tenant/i)
  t.notOk(seen[0]?.headers['x-tenant'], 'the service judges what the upstream gets')
})

const renews: RequestListener = (request, response) => {
  const headers = {
    'set-cookie': ['sso=new; Path=/; HttpOnly', 'sid=forged'],
    'x-user': 'ada',
    'x-plan': 'gold',
    'x-secret': 's',
    'access-control-allow-origin': 'https://evil.example',
    vary: 'X-Token'
  }
  response.writeHead(request.headers['x-token'] === undefined ? 401 : 202, headers).end('no')
}

t.test('sends only the headers in copyBack to the client', { skip: noOpenssl }, async (t) => {
  const up = await upstream(t, (_request, response) =>
    response.writeHead(200, { 'set-cookie': 'app=1', 'x-plan': 'theirs' }).end('hello')
  )
  const { client } = await overTls(t, {
    session: { cookie: { name: 'sid' } },
    cors: { origins: ['https://app.example'], credentials: true },
    auth: {
      forward: { upstream: await upstream(t, renews), copyBack: ['Set-Cookie', 'x-plan', 'x-missing'] }
    },
    routes: [
      { path: '/up', proxy: { upstream: up } },
      { path: '/in', respond: { body: 'in' } },
      { path: '/boss', auth: { require: { roles: ['boss'] } }, respond: { body: 'in' } }
    ]
  })
  const known = { 'x-token': 'a', origin: 'https://app.example' }
  const cookies = { '/up': ['app=1', 'sso=new; Path=/; HttpOnly'], '/in': ['sso=new; Path=/; HttpOnly'] }
  for (const [path, expected] of Object.entries(cookies)) {
    const { headers } = await askOver(client, { ':path': path, ...known })
    t.match(headers, {
      ':status': 200,
      'x-plan': 'gold',
      'access-control-allow-origin': 'https://app.example'
    })
    t.same(headers['set-cookie'], expected, 'but never the session cookie of the gateway')
    t.notOk(headers['x-secret'])
  }
  const refused = await askOver(client, { ':path': '/boss', ...known })
  t.equal(refused.headers[':status'], 403)
  t.same(refused.headers['set-cookie'], cookies['/in'], 'a refusal renews the cookie as well')
  const declined = await askOver(client, { ':path': '/in', origin: 'https://app.example' })
  t.match(declined.headers, {
    ':status': 401,
    'x-secret': 's',
    'access-control-allow-origin': 'https://app.example',
    vary: 'Origin, X-Token'
  })
  t.same(declined.headers['set-cookie'], ['sso=new; Path=/; HttpOnly'])
})

const bearer = { authorization: 'Bearer of-the-service' }
const keyAndBasic = {
  users,
  basic: true,
  apiKeys: { from: ['header:x-api-key'], list: [{ id: 'key', secret: 'key' }] }
}
const keyInAuthorization = {
  apiKeys: { from: ['header:authorization'], list: [{ id: 'key', secret: 'sk-1' }] }
}
const jwt = { secret: 's'.repeat(64), algorithms: ['HS256'] }
const token = new SignJWT({ sub: 'tok' })
  .setProtectedHeader({ alg: 'HS256' })
  .setExpirationTime('1h')
  .sign(Buffer.from(jwt.secret))

t.test('hides a credential by its scheme, for the accepted strategies', async (t) => {
  const up = await upstream(t, echo)
  const signed = `Bearer ${await token}`
  const cases: [string, object, Record<string, string>, Record<string, string | undefined>][] = [
    [
      'a Bearer beside a key passes',
      keyAndBasic,
      { 'x-api-key': 'key', ...bearer },
      { ...bearer, 'x-api-key': undefined }
    ],
    ['Basic lets in and stays', keyAndBasic, basic('ada', 'lovelace'), { authorization: undefined }],
    [
      'Basic is passed on to any caller',
      { ...keyAndBasic, passOn: ['basic'] },
      { 'x-api-key': 'key', ...basic('ada', 'lovelace') },
      { ...basic('ada', 'lovelace'), 'x-api-key': undefined }
    ],
    [
      'a key is passed on to any caller',
      { ...keyAndBasic, passOn: ['apiKeys'] },
      { 'x-api-key': 'key', ...basic('ada', 'lovelace') },
      { authorization: undefined, 'x-api-key': 'key' }
    ],
    ['and where nobody has to be known', { ...keyAndBasic, optional: true }, bearer, bearer],
    [
      'a strategy that does not count hides nothing',
      { ...keyAndBasic, by: ['apiKeys'] },
      { 'x-api-key': 'key', ...basic('no', 'body') },
      basic('no', 'body')
    ],
    [
      'a Bearer that is the key',
      keyInAuthorization,
      { authorization: 'Bearer sk-1' },
      { authorization: undefined, 'x-id': 'key' }
    ],
    [
      'a key behind ApiKey',
      keyInAuthorization,
      { authorization: 'apikey  sk-1' },
      { authorization: undefined, 'x-id': 'key' }
    ],
    [
      'a key alone',
      keyInAuthorization,
      { authorization: 'sk-1' },
      { authorization: undefined, 'x-id': 'key' }
    ],
    [
      'another scheme is none',
      { ...keyInAuthorization, optional: true },
      { authorization: 'Negotiate abc' },
      { authorization: 'Negotiate abc' }
    ],
    [
      'a key where tokens count too',
      { ...keyInAuthorization, jwt },
      { authorization: 'Bearer sk-1' },
      { authorization: undefined, 'x-id': 'key' }
    ],
    [
      'a token where keys count too',
      { ...keyInAuthorization, jwt },
      { authorization: signed },
      { authorization: undefined, 'x-id': 'tok' }
    ],
    [
      'of which only the token is passed on',
      { ...keyInAuthorization, jwt, passOn: ['jwt'] },
      { authorization: signed },
      { authorization: signed, 'x-id': 'tok' }
    ],
    [
      'and the key is not',
      { ...keyInAuthorization, jwt, passOn: ['jwt'] },
      { authorization: 'Bearer sk-1' },
      { authorization: undefined, 'x-id': 'key' }
    ]
  ]
  for (const [name, auth, headers, expected] of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, {
        auth: { ...auth, identity: { 'x-id': 'id' } },
        routes: [{ path: '/a', proxy: { upstream: up } }]
      })
      const answer = await app.inject({ url: '/a', headers })
      t.equal(answer.statusCode, 200)
      const seen = answer.json<Seen>().headers
      for (const [header, value] of Object.entries(expected)) t.equal(seen[header], value, header)
    })
  for (const value of ['Bearer sk-2', 'ApiKey sk-2', 'sk-2', 'Bearer'])
    t.test(`"${value}" is no key`, async (t) => {
      const app = await gateway(t, { auth: { ...keyInAuthorization, jwt }, routes: [page] })
      t.equal((await app.inject({ url: '/a', headers: { authorization: value } })).statusCode, 401)
    })
})

t.test('removes Authorization and Cookie only if identity writes them', async (t) => {
  const up = await upstream(t, echo)
  const auth = { apiKeys: { list: [{ id: 'key', secret: 'key' }] } }
  const writes = { identity: { authorization: 'id', cookie: 'id' } }
  const app = await gateway(t, {
    routes: [
      { path: '/writes', auth: { ...auth, ...writes, optional: true }, proxy: { upstream: up } },
      { path: '/other', auth, proxy: { upstream: up } },
      { path: '/open', proxy: { upstream: up } }
    ]
  })
  const own = { ...bearer, cookie: 'a=1' }
  const seenAt = async (url: string, headers: Record<string, string>): Promise<Seen['headers']> =>
    (await app.inject({ url, headers })).json<Seen>().headers
  t.match(await seenAt('/writes', { ...own, 'x-api-key': 'key' }), { authorization: 'key', cookie: 'key' })
  const nobody = await seenAt('/writes', own)
  t.notOk(nobody['authorization'] ?? nobody['cookie'], 'nor does a client say them where nobody calls')
  t.match(await seenAt('/other', { ...own, 'x-api-key': 'key' }), own)
  t.match(await seenAt('/open', own), own)
})

t.test('refuses a static value for an identity header', async (t) => {
  const keys = { apiKeys: { list: [{ id: 'key', secret: 'key' }] } }
  const pem = `${t.testdir()}/key.pem`
  const { privateKey } = generateKeyPairSync('ed25519')
  writeFileSync(pem, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const proxy = { upstream: 'http://localhost:1' }
  const forward = { upstream: 'http://localhost:1', copy: ['x-user'], caller: { id: 'x-sub' } }
  const set = (name: string, value: string | false = 'root'): object => ({
    headers: { request: { [name]: value } }
  })
  const cases: [string, object, boolean][] = [
    [
      'at the root',
      { auth: { ...keys, identity: { 'x-user': 'id' } }, ...set('X-User'), routes: [{ path: '/a', proxy }] },
      false
    ],
    [
      'on a route',
      { auth: { ...keys, identity: { 'x-user': 'id' } }, routes: [{ path: '/a', proxy, ...set('x-user') }] },
      false
    ],
    [
      'in another spelling',
      { auth: { ...keys, identity: { 'x-user': 'id' } }, routes: [{ path: '/a', proxy, ...set('x_user') }] },
      false
    ],
    [
      'that another route writes',
      {
        routes: [
          { path: '/a', auth: { ...keys, identity: { 'x-user': 'id' } }, proxy },
          { path: '/b', proxy, ...set('x-user') }
        ]
      },
      false
    ],
    ['that a service tells', { auth: { forward }, routes: [{ path: '/a', proxy, ...set('x-user') }] }, false],
    [
      'that a service names callers by',
      { auth: { forward }, routes: [{ path: '/a', proxy, ...set('x-sub') }] },
      false
    ],
    [
      'that is signed',
      { auth: { ...keys, assertion: { key: pem } }, routes: [{ path: '/a', proxy, ...set('x-caller') }] },
      false
    ],
    [
      'to remove it',
      {
        auth: { ...keys, identity: { 'x-user': 'id' } },
        routes: [{ path: '/a', proxy, ...set('x-user', false) }]
      },
      true
    ],
    [
      'Authorization here',
      {
        routes: [
          { path: '/a', auth: { ...keys, identity: { authorization: 'id' } }, proxy, ...set('authorization') }
        ]
      },
      false
    ],
    [
      'Authorization elsewhere',
      {
        routes: [
          { path: '/a', auth: { ...keys, identity: { authorization: 'id' } }, proxy },
          { path: '/b', proxy, ...set('authorization') }
        ]
      },
      true
    ],
    [
      'that nobody writes',
      { auth: { ...keys, identity: { 'x-user': 'id' } }, routes: [{ path: '/a', proxy, ...set('x-other') }] },
      true
    ]
  ]
  for (const [name, config, fine] of cases)
    if (fine) await t.resolves(loadConfig(config, {}), name)
    else
      await t.rejects(
        loadConfig(config, {}),
        { message: /headers\.request\.[\w-]+: ".*" is an identity header that "auth" sends to upstreams/i },
        name
      )
})

t.test('supports a strategy of the root that only one route accepts', async (t) => {
  const file = `${t.testdir()}/key.pem`
  const { privateKey } = generateKeyPairSync('ed25519')
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const forward = { upstream: await decider(t, []) }
  for (const auth of [
    { forward },
    { forward, users, basic: true },
    { users, basic: true, assertion: { key: file } },
    { users, basic: true, apiKeys: { list: [{ id: 'a', secret: 'b' }] } },
    { jwt }
  ]) {
    const app = await gateway(t, { auth: { global: false, ...auth }, routes: [{ ...page, auth: true }] })
    t.equal((await app.inject('/a')).statusCode, 401, JSON.stringify(Object.keys(auth)))
  }
})

t.test('signs assertions that upstreams can verify', async (t) => {
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

t.test('reports strategies without their required options', async (t) => {
  const dir = t.testdir({ 'no.pem': 'x', 'weak.pem': '' })
  writeFileSync(
    `${dir}/weak.pem`,
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  )
  const apiKeys = { list: [{ id: 'a', secret: 'b' }] }
  const cases: [object, RegExp][] = [
    [{ basic: true }, /auth\.basic: expected "users" beside "basic", got none/],
    [{ forward: { upstream: 'auht' } }, /auth\.forward\.upstream: No upstream "auht"; did you mean "auth"\?/],
    [
      { forward: { upstream: 'auth', copy: ['x-user', 'Set-Cookie'] } },
      /auth\.forward\.copy\[1\]: expected a request header, got "Set-Cookie".*"copyBack": \["set-cookie"\]/
    ],
    [{ forward: { upstream: 'auth', copy: ['Host'] } }, /auth\.forward\.copy\[0\]: "Host" can't be copied/],
    [
      { forward: { upstream: 'auth', caller: { id: 'content-length' } } },
      /auth\.forward\.caller\.id: "content-length" can't be copied/
    ],
    [
      { forward: { upstream: 'auth', copyBack: ['connection'] } },
      /auth\.forward\.copyBack\[0\]: "connection" can't be copied/
    ],
    [
      { forward: { upstream: 'auth', copyBack: ['Access-Control-Allow-Origin'] } },
      /auth\.forward\.copyBack\[0\]: "Access-Control-Allow-Origin" can't be copied; "cors" sets it/
    ],
    [{ apiKeys, assertion: { key: `${dir}/no.pem` } }, /auth\.assertion\.key: expected a private key in PEM/],
    [
      { apiKeys, assertion: { key: `${dir}/weak.pem` } },
      /auth\.assertion\.key: expected a key of type RSA .*, got rsa/
    ],
    [
      { apiKeys, assertion: { key: `${dir}/gone.pem` } },
      /auth\.assertion\.key: There is no file .*gone\.pem/
    ],
    [
      { apiKeys, by: ['jwt'] },
      /auth\.by\[0\]: expected a strategy that is defined here \(apiKeys\), got "jwt"/
    ],
    [
      { oidc: { issuer: 'https://a.example', clientId: 'x' } },
      /auth\.oidc: expected "session": true beside "oidc"/
    ],
    [
      { session: true, oidc: { issuer: 'http://a.example', clientId: 'x' } },
      /auth\.oidc\.issuer: expected https, got/
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

// Every pair of a strategy in and something required: what a caller with it, one without it, and one with a wrong credential get.
t.test('each strategy with each requirement answers 200, 401 or 403 as documented', async (t) => {
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
    routes: ['session', 'jwt', 'apiKeys', 'basic', 'forward'].flatMap((strategy) => [
      { path: `/${strategy}/any`, auth: { by: [strategy] }, respond: {} },
      { path: `/${strategy}/role`, auth: { by: [strategy], require: { roles: ['staff'] } }, respond: {} },
      { path: `/${strategy}/scope`, auth: { by: [strategy], require: { scopes: ['read'] } }, respond: {} },
      {
        path: `/${strategy}/claim`,
        auth: { by: [strategy], require: { claims: { plan: 'gold' } } },
        respond: {}
      },
      { path: `/${strategy}/optional`, auth: { by: [strategy], optional: true }, respond: {} }
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
  const cases: [strategy: string, who: string, headers: Record<string, string>, expected: number[]][] = [
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
  for (const [strategy, who, headers, expected] of cases)
    t.test(`${strategy}: ${who}`, async (t) => {
      for (const [i, path] of paths.entries())
        t.equal((await app.inject({ url: `/${strategy}/${path}`, headers })).statusCode, expected[i], path)
    })
  for (const strategy of ['session', 'jwt', 'apiKeys', 'basic'])
    t.test(`${strategy}: anonymous`, async (t) => {
      for (const path of paths)
        t.equal((await app.inject(`/${strategy}/${path}`)).statusCode, path === 'optional' ? 200 : 401, path)
    })
})

t.test(
  'the first strategy that succeeds sets the caller, and a wrong credential beside it is refused',
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
