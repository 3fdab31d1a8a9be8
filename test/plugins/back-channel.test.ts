import { generateKeyPairSync } from 'node:crypto'
import { createServer, type RequestListener, request as send } from 'node:http'
import https from 'node:https'
import type { FastifyInstance } from 'fastify'
import { exportJWK, type JWK, SignJWT } from 'jose'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import {
  clock,
  gateway,
  listening,
  noOpenssl,
  originOf,
  readableLog,
  type Scope,
  upstream
} from '../helpers.ts'
import { provider, Visitor } from '../provider.ts'

t.setTimeout(600_000)

const ISSUER = 'https://login.example.com/realms/shop'
const CERTS = '/realms/shop/certs'

/** A provider in a private network: it answers by the path alone, and keeps what it was asked. */
interface Inside {
  readonly listener: RequestListener
  readonly asked: { path: string; host: string; proto: string; forwardedHost: string }[]
  readonly document: Record<string, unknown>
  /** Answers with this status instead, once. */
  failOnce: number | undefined
  rotate(): Promise<void>
  sign(claims?: object): Promise<string>
}

async function inside(): Promise<Inside> {
  let pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let count = 0
  let keys: JWK[] = []
  const made: Inside = {
    asked: [],
    document: { issuer: ISSUER, jwks_uri: `https://login.example.com${CERTS}` },
    failOnce: undefined,
    listener: ({ url = '', headers }, response) => {
      made.asked.push({
        path: url,
        host: headers.host ?? '',
        proto: String(headers['x-forwarded-proto']),
        forwardedHost: String(headers['x-forwarded-host'])
      })
      const fail = made.failOnce
      made.failOnce = undefined
      if (fail !== undefined) response.writeHead(fail).end()
      else if (url === CERTS) response.end(JSON.stringify({ keys }))
      else if (url === '/realms/shop/.well-known/openid-configuration')
        response.end(JSON.stringify(made.document))
      else response.writeHead(404).end()
    },
    async rotate() {
      pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      keys = [{ ...(await exportJWK(pair.publicKey)), kid: `key ${++count}`, alg: 'ES256' }]
    },
    sign: (claims = {}) =>
      new SignJWT({ sub: 'ada', iss: ISSUER, exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: `key ${count}` })
        .sign(pair.privateKey)
  }
  await made.rotate()
  return made
}

const REFUSED = 'http://127.0.0.1:1'

const routes = [{ path: '/a', respond: { body: 'hello' } }]

const status = async (app: FastifyInstance, token: string): Promise<number> =>
  (await app.inject({ url: '/a', headers: { authorization: `Bearer ${token}` } })).statusCode

t.test('fetches keys through an upstream, by a path or by discovery', async (t) => {
  const login = { proto: 'https', forwardedHost: 'login.example.com' }
  const cases: [name: string, jwks: object, upstream: object, asked: object[]][] = [
    ['path', { path: CERTS }, {}, [{ path: CERTS }]],
    ['host', { path: CERTS }, { host: 'login.example.com' }, [{ path: CERTS, host: 'login.example.com' }]],
    [
      'discovery',
      {},
      {},
      [
        { path: '/realms/shop/.well-known/openid-configuration', ...login },
        { path: CERTS, ...login }
      ]
    ]
  ]
  for (const [name, jwks, options, asked] of cases)
    t.test(name, async (t) => {
      const from = await inside()
      const url = await upstream(t, from.listener)
      const app = await gateway(t, {
        upstreams: { keycloak: { url, ...options } },
        auth: { jwt: { issuer: ISSUER, jwks: { upstream: 'keycloak', ...jwks } } },
        routes
      })
      t.equal(await status(app, await from.sign()), 200)
      t.match(from.asked, asked)
      t.equal(from.asked.length, asked.length)
      await from.rotate()
      t.equal(await status(app, await from.sign()), 200, 'a new key')
      t.equal(await status(app, await from.sign({ iss: 'https://other.example.com' })), 401)
    })
})

t.test('discovers the keys from the issuer', async (t) => {
  const from = await inside()
  const origin = await upstream(t, from.listener)
  const issuer = `${origin}/realms/shop`
  Object.assign(from.document, { issuer, jwks_uri: origin + CERTS })
  const app = await gateway(t, { auth: { jwt: { issuer } }, routes })
  t.equal(await status(app, await from.sign({ iss: issuer })), 200)
  t.equal(await status(app, await from.sign()), 401, 'another issuer')
})

t.test('logs what was requested and what came, and says nothing of it in the response', async (t) => {
  const discovery = `${ISSUER}/.well-known/openid-configuration`
  const cases: [name: string, document: object, jwks: object, cause: string][] = [
    [
      'another issuer',
      { issuer: 'http://keycloak:8080/realms/shop' },
      {},
      `expected the issuer "${ISSUER}" from ${discovery}, got "http://keycloak:8080/realms/shop"; set "issuer" exactly as the provider writes it`
    ],
    ['no issuer', { issuer: undefined }, {}, `expected the issuer "${ISSUER}" from ${discovery}, got none`],
    ['no keys', { jwks_uri: undefined }, {}, `expected an https "jwks_uri" from ${discovery}, got none`],
    ['another path', {}, { path: '/nothing' }, 'expected 200 from /nothing, got 404']
  ]
  for (const [name, document, jwks, cause] of cases)
    t.test(name, async (t) => {
      const from = await inside()
      Object.assign(from.document, document)
      const { log, line } = readableLog()
      const app = await gateway(
        t,
        {
          upstreams: { keycloak: { url: await upstream(t, from.listener) } },
          auth: { jwt: { issuer: ISSUER, jwks: { upstream: 'keycloak', ...jwks } } },
          routes
        },
        { log }
      )
      const authorization = `Bearer ${await from.sign()}`
      const { statusCode, body } = await app.inject({ url: '/a', headers: { authorization } })
      t.equal(statusCode, 503)
      t.notMatch(body, /keycloak|realms|nothing/)
      const { cause: logged, upstream: named } = await line(({ msg }) => msg === 'jwks fetch failed')
      t.match(logged, cause)
      t.equal(named, 'keycloak')
    })
})

t.test('uses the retries, failover and balance of the upstream', async (t) => {
  const from = await inside()
  const url = await upstream(t, from.listener)
  const config = (more: object) => ({
    upstreams: { keycloak: { targets: [REFUSED, url], ...more } },
    auth: { jwt: { issuer: ISSUER, jwks: { upstream: 'keycloak', path: CERTS } } },
    routes
  })
  for (const more of [{}, { balance: 'hash' }, { sticky: {} }, { balance: 'hash', hashOn: 'cookie:a' }]) {
    const app = await gateway(t, config(more))
    if (!('balance' in more)) from.failOnce = 503
    t.equal(await status(app, await from.sign()), 200, JSON.stringify(more))
  }
})

t.test('trusts the authority of the upstream', { skip: noOpenssl }, async (t) => {
  const ca = authority(t)
  const { cert, key } = ca.issue('/CN=keycloak', 'DNS:keycloak')
  const from = await inside()
  const url = (await originOf(t, https.createServer({ cert, key }, from.listener))).replace('http', 'https')
  for (const [tls, expected] of [
    [{ ca: ca.certFile }, 200],
    [{}, 503]
  ] as const) {
    const app = await gateway(t, {
      upstreams: { keycloak: { url, host: 'keycloak', tls } },
      auth: { jwt: { issuer: ISSUER, jwks: { upstream: 'keycloak', path: CERTS } } },
      routes
    })
    t.equal(await status(app, await from.sign()), expected)
  }
})

t.test('fetches keys through the upstream of the newest config', async (t) => {
  const from = await inside()
  const pass = clock(t)
  const keep = new Keep()
  const config = {
    upstreams: { keycloak: { url: await upstream(t, from.listener) } },
    auth: { jwt: { issuer: ISSUER, jwks: { upstream: 'keycloak', path: CERTS } } },
    routes
  }
  const first = await gateway(t, config, { keep })
  t.equal(await status(first, await from.sign()), 200)
  const second = await gateway(t, config, { keep })
  await first.close()
  t.equal(await status(second, await from.sign({ jti: 'one' })), 200)
  t.equal(from.asked.length, 1, 'the keys outlive a reload')
  pass(60)
  await from.rotate()
  t.equal(await status(second, await from.sign()), 200, 'its upstream is open')
  const broken = await gateway(t, config, { keep })
  await broken.close()
  pass(60)
  await from.rotate()
  t.equal(await status(second, await from.sign()), 200, 'one that closed is not used')
  const other = await inside()
  const moved = await gateway(
    t,
    { ...config, upstreams: { keycloak: { url: await upstream(t, other.listener) } } },
    { keep }
  )
  t.equal(await status(moved, await from.sign()), 401, 'the keys of another place are not those of this one')
  t.equal(await status(moved, await other.sign()), 200)
})

t.test('reports invalid places of keys', async (t) => {
  const jwks = { upstream: 'keycloak', path: CERTS }
  const cases: [jwt: object, fault: RegExp][] = [
    [{ issuer: 'shop' }, /auth\.jwt\.issuer: expected a URL, from which the keys are discovered, got "shop"/],
    [{ issuer: 'http://login.example.com' }, /auth\.jwt\.issuer: expected https, got/],
    [
      { jwks: { upstream: 'keyclaok', path: '/' } },
      /jwks\.upstream: No upstream "keyclaok"; did you mean "keycloak"/
    ],
    [
      { jwks: { upstream: 'keycloak' } },
      /auth\.jwt\.jwks: expected a "path" beside "upstream", or an "issuer"/
    ],
    [{ jwks: { ...jwks, path: 'certs' } }, /expected a path that begins with "\/", got "certs"/],
    [{ jwks, secret: 'x'.repeat(32) }, /auth\.jwt\.secret: expected one of "jwks", "keys" and "secret"/],
    [{ issuer: ISSUER, algorithms: ['HS256'] }, /algorithms\[0\]: expected an algorithm for public keys/]
  ]
  for (const [jwt, fault] of cases)
    await t.rejects(
      loadConfig({ upstreams: { keycloak: { url: 'http://keycloak:8080' } }, auth: { jwt }, routes }, {}),
      { message: fault },
      JSON.stringify(jwt)
    )
})

/** Starts a second way to a provider, as a private network has one; returns its origin and the requests that came by it. */
async function privateWay(t: Scope, issuer: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const { hostname, port, host } = new URL(issuer)
  const server = createServer((request, response) => {
    const { method, url, headers } = request
    asked.push(`${method} ${url?.split('?', 1)[0]}`)
    const onward = send({ hostname, port, method, path: url, headers: { ...headers, host, 'x-inside': '1' } })
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward)
  })
  return { url: await originOf(t, server), asked }
}

t.test('sends all requests of the gateway to the provider through the upstream', async (t) => {
  const real = await provider(t)
  const way = await privateWay(t, real.issuer)
  const outside: string[] = []
  real.answerFirst(({ method, url, headers }) => {
    if (headers['x-inside'] === undefined) outside.push(`${method} ${url?.split('?', 1)[0]}`)
    return false
  })
  const { url } = await listening(t, {
    upstreams: { keycloak: { url: way.url } },
    auth: {
      session: true,
      oidc: {
        issuer: real.issuer,
        upstream: 'keycloak',
        clientId: 'gateway',
        clientSecret: 'a secret of the client',
        scopes: ['openid', 'email', 'profile', 'offline_access'],
        params: { prompt: 'consent' }
      }
    },
    routes: [{ path: '/private', respond: { body: 'for {caller.id}' } }]
  })
  real.know(url)
  const ada = new Visitor()
  t.equal((await ada.logInAs('ada', `${url}/private`)).text, 'for ada')
  const page = await ada.open(`${real.issuer}/session/end`)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  await ada.open(`${real.issuer}/session/end/confirm`, { form: { xsrf, logout: 'yes' } })
  const ended = await ada.open(`${url}/private`, { stop: (at) => at.startsWith(real.issuer) })
  t.match(ended.url, real.issuer, 'a logout token ended the session')
  const bob = new Visitor()
  t.equal((await bob.logInAs('bob', `${url}/private`)).text, 'for bob')
  clock(t)(120)
  t.equal((await bob.open(`${url}/private`)).text, 'for bob', 'after a refresh of the tokens')
  for (const each of ['GET /.well-known/openid-configuration', 'POST /token', 'GET /me', 'GET /jwks']) {
    t.ok(way.asked.includes(each), `${each} came by the private way`)
    t.notOk(outside.includes(each), `${each} came by no other`)
  }
  t.equal(way.asked.filter((each) => each === 'POST /token').length, 3, 'two log-ins and a refresh')
})

t.test('log-ins are 503 while the upstream of the provider is unavailable', async (t) => {
  const { log, line } = readableLog()
  const app = await gateway(
    t,
    {
      upstreams: { keycloak: { url: 'http://127.0.0.1:1' } },
      auth: { session: true, oidc: { issuer: ISSUER, upstream: 'keycloak', clientId: 'gateway' } },
      routes
    },
    { log }
  )
  const { statusCode, body } = await app.inject('/login')
  t.equal(statusCode, 503)
  t.notMatch(body, '127.0.0.1')
  t.match(await line(({ msg }) => msg === 'oidc provider discovery failed'), { cause: 'ECONNREFUSED' })
})

t.test('sends no browser from an https issuer to a page without TLS', async (t) => {
  const { log, line } = readableLog()
  const url = await upstream(t, (_request, response) =>
    response.setHeader('content-type', 'application/json').end(
      JSON.stringify({
        issuer: ISSUER,
        authorization_endpoint: 'http://login.example.com/authorize',
        token_endpoint: 'http://keycloak:8080/token',
        jwks_uri: 'http://keycloak:8080/certs'
      })
    )
  )
  const oidc = { issuer: ISSUER, upstream: 'keycloak', clientId: 'gateway' }
  const stage = async (more: object): Promise<FastifyInstance> =>
    gateway(
      t,
      { upstreams: { keycloak: { url } }, auth: { session: true, oidc: { ...oidc, ...more } }, routes },
      { log }
    )
  t.equal((await (await stage({})).inject('/login')).statusCode, 503)
  t.match(
    (await line(({ msg }) => msg === 'oidc provider discovery failed'))['cause'],
    /got "http:\/\/login.example.com\/authorize"/
  )
  const authorization = 'https://login.example.com/authorize'
  const named = await (await stage({ endpoints: { authorization } })).inject('/login')
  t.match(named.headers.location, /^https:\/\/login\.example\.com\/authorize\?/)
})

t.test('reports invalid upstreams and endpoints of a provider', async (t) => {
  const cases: [oidc: object, fault: RegExp | undefined][] = [
    [{ upstream: 'keyclaok' }, /auth\.oidc\.upstream: No upstream "keyclaok"; did you mean "keycloak"/],
    [{ endpoints: { token: 'http://keycloak:8080/token' } }, /endpoints\.token: expected https/],
    [{ issuer: 'http://127.evil.example' }, /auth\.oidc\.issuer: expected https/],
    [{ upstream: 'keycloak', endpoints: { token: 'http://keycloak:8080/token' } }, undefined],
    [
      { upstream: 'keycloak', endpoints: { authorization: 'http://keycloak:8080/auth' } },
      /endpoints\.authorization: expected https/
    ]
  ]
  for (const [oidc, fault] of cases) {
    const loaded = loadConfig(
      {
        upstreams: { keycloak: { url: 'http://keycloak:8080' } },
        auth: { session: true, oidc: { issuer: ISSUER, clientId: 'gateway', ...oidc } },
        routes
      },
      { SESSION_SECRET: 'a secret of the tests, 32 characters and more' }
    )
    if (fault === undefined) await t.resolves(loaded)
    else await t.rejects(loaded, { message: fault }, JSON.stringify(oidc))
  }
})
