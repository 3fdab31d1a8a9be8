import http2 from 'node:http2'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { SignJWT } from 'jose'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import { accessLogLine, gateway, listening, noOpenssl, readableLog, SECRET } from '../helpers.ts'
import { cookieOf, sha256, users } from './callers.ts'

const secret = 'a secret shared with the issuer, 32 characters and more'
const jwt = { secret, algorithms: ['HS256'], issuer: 'https://id.test', audience: 'api' }
const apiKeys = {
  list: [
    { id: 'shop', key: sha256('key of shop'), scopes: ['orders:write'], roles: ['partner'] },
    { id: 'blog', key: sha256('key of blog') },
    { id: 'ada', key: sha256('key of ada') }
  ]
}
const key = (id: string): Record<string, string> => ({ 'x-api-key': `key of ${id}` })

/** Signs a token of a user. */
async function token(sub: string, claims: Record<string, unknown> = {}): Promise<Record<string, string>> {
  const jwt = await new SignJWT({ iss: 'https://id.test', aud: 'api', ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(sub)
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret))
  return { authorization: `Bearer ${jwt}` }
}

const auth = { jwt, apiKeys, users, session: true, by: ['apiKeys+jwt', 'session'] }
const who = { path: '/who', respond: { body: '{caller.id}' } }

t.test(
  'a pair must succeed together, its last is the caller, and a 401 names what is missing first',
  async (t) => {
    const app = await gateway(t, { auth, routes: [who] })
    const cookie = await cookieOf(app)
    const ada = await token('ada')
    const cases: [string, Record<string, string>, number, string][] = [
      ['nothing', {}, 401, 'Session, ApiKey'],
      ['the key alone', key('shop'), 401, 'Session, Bearer'],
      ['the token alone', ada, 401, 'Session, ApiKey'],
      ['both', { ...key('shop'), ...ada }, 200, 'ada'],
      ['both, of one owner', { ...key('ada'), ...ada }, 200, 'ada'],
      ['a wrong key beside a token', { 'x-api-key': 'guess', ...ada }, 401, 'Session, ApiKey'],
      [
        'a wrong token beside a key',
        { ...key('shop'), authorization: 'Bearer a.b.c' },
        401,
        'Session, Bearer error="invalid_token"'
      ],
      [
        'a wrong token alone',
        { authorization: 'Bearer a.b.c' },
        401,
        'Session, Bearer error="invalid_token"'
      ],
      [
        'a key as the token',
        { ...key('shop'), authorization: 'Bearer key of shop' },
        401,
        'Session, Bearer error="invalid_token"'
      ],
      ['a session', { cookie }, 200, 'ada'],
      ['a session and a key', { cookie, ...key('shop') }, 200, 'ada'],
      ['a session and a wrong key', { cookie, 'x-api-key': 'guess' }, 401, 'Session, ApiKey'],
      ['a session and a pair', { cookie, ...key('shop'), ...(await token('eve')) }, 200, 'eve']
    ]
    for (const [name, headers, expected, text] of cases) {
      const answer = await app.inject({ url: '/who', headers })
      t.equal(answer.statusCode, expected, name)
      t.equal(expected === 200 ? answer.body : answer.headers['www-authenticate'], text, name)
    }
  }
)

t.test('requirements judge the caller, or the strategy that they name', async (t) => {
  const route = (path: string, require: object) => ({ ...who, path, auth: { require } })
  const app = await gateway(t, {
    auth,
    routes: [
      route('/key', { apiKeys: { scopes: ['orders:write'] } }),
      route('/caller', { scopes: ['orders:write'] }),
      route('/both', { roles: ['staff'], apiKeys: { roles: ['partner'] } }),
      route('/claim', { jwt: { claims: { tenant: 'acme' } } })
    ]
  })
  const plain = await token('ada')
  const staff = await token('ada', { roles: ['staff'], tenant: 'acme' })
  const scoped = await token('ada', { scope: 'orders:write' })
  const cookie = await cookieOf(app)
  const cases: [string, string, Record<string, string>, string | undefined][] = [
    ['a key with the scope', '/key', { ...key('shop'), ...plain }, undefined],
    [
      'another key, with the scope in the token',
      '/key',
      { ...key('blog'), ...scoped },
      'the scope orders:write, of apiKeys'
    ],
    ['a session without a key', '/key', { cookie }, 'a credential of apiKeys'],
    ['a session beside a key', '/key', { cookie, ...key('shop') }, undefined],
    ['a token with the scope', '/caller', { ...key('blog'), ...scoped }, undefined],
    ['the scope in the key only', '/caller', { ...key('shop'), ...plain }, 'the scope orders:write'],
    ['both', '/both', { ...key('shop'), ...staff }, undefined],
    ['one', '/both', { ...key('shop'), ...plain }, 'one of the roles staff'],
    ['the other', '/both', { ...key('blog'), ...staff }, 'one of the roles partner, of apiKeys'],
    ['a claim', '/claim', { ...key('blog'), ...staff }, undefined],
    [
      'another claim',
      '/claim',
      { ...key('blog'), ...(await token('ada', { tenant: 'evil' })) },
      'the claim tenant, of jwt'
    ]
  ]
  for (const [name, url, headers, missing] of cases) {
    const answer = await app.inject({ url, headers })
    t.equal(answer.statusCode, missing === undefined ? 200 : 403, name)
    if (missing !== undefined) t.equal(answer.json().detail, `Forbidden: requires ${missing}`, name)
  }
})

/** Sends requests and returns their statuses. */
const statuses = async (app: FastifyInstance, ...requests: Record<string, string>[]): Promise<number[]> => {
  const found: number[] = []
  for (const headers of requests) found.push((await app.inject({ url: '/who', headers })).statusCode)
  return found
}

t.test('a limit counts the caller, or that of a strategy', async (t) => {
  const [ada, bob] = [await token('ada'), await token('bob')]
  t.test('by the caller, whatever the key', async (t) => {
    const app = await gateway(t, { auth, rateLimit: { max: 1, by: 'caller' }, routes: [who] })
    t.same(
      await statuses(app, { ...key('shop'), ...ada }, { ...key('blog'), ...ada }, { ...key('shop'), ...bob }),
      [200, 429, 200]
    )
  })
  t.test('by the key, whoever the caller', async (t) => {
    const app = await gateway(t, {
      auth,
      rateLimit: { max: 1, by: 'apiKeys', tiers: { partner: { max: 2 } } },
      routes: [who]
    })
    t.same(
      await statuses(
        app,
        { ...key('blog'), ...ada },
        { ...key('blog'), ...bob },
        { ...key('shop'), ...ada },
        { ...key('shop'), ...bob },
        { ...key('shop'), ...bob }
      ),
      [200, 429, 200, 200, 429],
      'and by the roles of the key'
    )
  })
  t.test('equal ids of two strategies are two callers', async (t) => {
    const app = await gateway(t, {
      auth: { jwt, apiKeys },
      rateLimit: { max: 1, by: 'caller' },
      routes: [who]
    })
    t.same(await statuses(app, ada, key('ada'), ada, key('ada')), [200, 200, 429, 429])
  })
})

t.test('passes on what half a pair sent, and refuses nothing, in report mode', async (t) => {
  const log = readableLog()
  const app = await gateway(t, { auth: { ...auth, mode: 'report' }, routes: [who] }, { log: log.log })
  const answer = await app.inject({ url: '/who', headers: key('shop') })
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, '', 'half a pair is no caller')
  t.match(JSON.stringify(await accessLogLine(log, answer)), /SP_ERR_AUTH_MISSING/)
})

t.test('a pair of a client certificate and a token', { skip: noOpenssl }, async (t) => {
  const ca = authority(t)
  const server = ca.issue('/CN=localhost', 'DNS:localhost')
  const own = ca.issue('/CN=shop', 'DNS:shop.test')
  const { served } = await listening(t, {
    tls: {
      certificates: [{ key: server.keyFile, cert: server.certFile }],
      clientCertificates: { ca: ca.certFile, required: false }
    },
    auth: { jwt, clientCertificate: true, by: ['clientCertificate+jwt'] },
    routes: [who]
  })
  const origin = `https://localhost:${served.address.port}`
  /** Sends a request by HTTP/2. */
  const ask = async (
    headers: Record<string, string>,
    own: object = {}
  ): Promise<[unknown, unknown, string]> => {
    const session = http2.connect(origin, { ca: ca.cert, ...own })
    t.teardown(() => session.destroy())
    const stream = session.request({ ':path': '/who', ...headers })
    const head = new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve as never))
    const body = await text(stream)
    const { ':status': status, 'www-authenticate': challenge } = await head
    return [status, challenge, body]
  }
  const ada = await token('ada')
  t.same(await ask(ada, own), [200, undefined, 'ada'])
  t.same((await ask({}, own)).slice(0, 2), [401, 'Bearer'])
  t.same((await ask(ada)).slice(0, 2), [401, 'Bearer'], 'a certificate has no scheme to name')
})

t.test('errors of pairs', async (t) => {
  const cases: [string, object, RegExp][] = [
    [
      'an unknown strategy',
      { by: ['apiKeys+tokens'] },
      /auth\.by\[0\]: expected a strategy \(session, jwt, .*\) or a pair such as "apiKeys\+jwt"/
    ],
    [
      'one that is not defined',
      { by: ['apiKeys+basic'] },
      /expected a strategy that is defined here \(session, jwt, apiKeys\), got "basic"/
    ],
    ['the same twice', { by: ['jwt+jwt'] }, /expected different strategies in a pair, got "jwt\+jwt"/],
    [
      'two in one header',
      { apiKeys: { ...apiKeys, from: ['header:authorization'] } },
      /expected credentials from different places in a pair, got apiKeys and jwt/
    ],
    [
      'a requirement of a strategy that is not accepted',
      { by: ['jwt'], require: { apiKeys: { roles: ['x'] } } },
      /auth\.require\.apiKeys: expected a strategy that is accepted here \(jwt\), got "apiKeys"/
    ]
  ]
  for (const [name, changed, message] of cases)
    await t.rejects(
      loadConfig({ auth: { ...auth, ...changed }, routes: [who] } as never, { SESSION_SECRET: SECRET }),
      { message },
      name
    )
})
