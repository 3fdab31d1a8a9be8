import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { exportJWK, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, sallyport } from '../helpers.ts'

const ISSUER = 'https://id.example.com'
const METADATA = '/.well-known/oauth-protected-resource'
const open = { respond: { body: 'hello' } }

interface Issuer {
  /** The options of `jwt`. */
  readonly jwt: { readonly issuer: string; readonly keys: string; readonly resource: true }
  sign(audience: string, scope?: string): Promise<string>
}

/** Makes an issuer whose keys are in a file. */
async function makeIssuer(t: Test): Promise<Issuer> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keys = `${t.testdir({})}/keys.json`
  writeFileSync(keys, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] }))
  return {
    jwt: { issuer: ISSUER, keys, resource: true },
    sign: (audience, scope = '') =>
      new SignJWT({ sub: 'ada', scope })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer(ISSUER)
        .setAudience(audience)
        .setExpirationTime('5m')
        .sign(privateKey)
  }
}

interface Asked {
  readonly host?: string
  readonly token?: string
}

const ask = (app: FastifyInstance, url: string, { host = 'tools.example.com', token }: Asked = {}) =>
  app.inject({
    url,
    headers: { host, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  })

const publicUrl = 'https://tools.example.com'

t.test('is the place that sets it', async (t) => {
  const { jwt, sign } = await makeIssuer(t)
  const auth = { jwt }
  const cases = [
    { name: 'the root', config: { auth, routes: [{ path: '/a', ...open }] }, url: '/a', at: '' },
    { name: 'a route', config: { routes: [{ path: '/mcp', auth, ...open }] }, url: '/mcp', at: '/mcp' },
    {
      name: 'a route with a wildcard',
      config: { routes: [{ path: '/mcp/*', auth, ...open }] },
      url: '/mcp/a/b',
      at: '/mcp'
    },
    {
      name: 'a route for every path',
      config: { routes: [{ path: '/*', auth, ...open }] },
      url: '/a',
      at: ''
    },
    {
      name: 'a group',
      config: { routes: [{ path: '/api', auth, routes: [{ path: '/a/:id', ...open }] }] },
      url: '/api/a/1',
      at: '/api'
    },
    {
      name: 'a group in which a route changes another option',
      config: {
        routes: [{ path: '/api', auth, routes: [{ path: '/a', auth: { jwt: { leeway: '1s' } }, ...open }] }]
      },
      url: '/api/a',
      at: '/api'
    },
    {
      name: 'a route inside the root',
      config: {
        auth: { jwt: { ...jwt, resource: false } },
        routes: [{ path: '/mcp', auth: { jwt: { resource: true } }, ...open }]
      },
      url: '/mcp',
      at: '/mcp'
    },
    {
      name: 'a route with a space in its path',
      config: { routes: [{ path: '/my tools', auth, ...open }] },
      url: '/my%20tools',
      at: '/my%20tools'
    },
    {
      name: 'a list of issuers',
      config: { routes: [{ path: '/mcp', auth: { jwt: [jwt] }, ...open }] },
      url: '/mcp',
      at: '/mcp'
    }
  ]
  for (const { name, config, url, at } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { publicUrl, ...config })
      const metadata = await ask(app, METADATA + at)
      t.equal(metadata.statusCode, 200)
      t.match(metadata.headers['content-type'], /^application\/json/)
      t.same(metadata.json(), {
        resource: publicUrl + at,
        authorization_servers: [ISSUER],
        bearer_methods_supported: ['header']
      })
      const refused = await ask(app, url)
      t.equal(refused.statusCode, 401)
      t.equal(refused.headers['www-authenticate'], `Bearer resource_metadata="${publicUrl}${METADATA}${at}"`)
      t.equal((await ask(app, url, { token: await sign(publicUrl + at) })).statusCode, 200)
      t.equal((await ask(app, url, { token: await sign('https://other.example.com') })).statusCode, 401)
      t.equal((await ask(app, url, { token: await sign(`${publicUrl}/other`) })).statusCode, 401)
    })
})

t.test('takes an origin with a final slash as the audience, as clients write it', async (t) => {
  const { jwt, sign } = await makeIssuer(t)
  const app = await gateway(t, { publicUrl, auth: { jwt }, routes: [{ path: '/a', ...open }] })
  t.equal((await ask(app, '/a', { token: await sign(`${publicUrl}/`) })).statusCode, 200)
})

t.test('leaves an audience that is set', async (t) => {
  const { jwt, sign } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl,
    auth: { jwt: { ...jwt, audience: 'api' } },
    routes: [{ path: '/a', ...open }]
  })
  t.equal((await ask(app, '/a', { token: await sign('api') })).statusCode, 200)
  t.equal((await ask(app, '/a', { token: await sign(publicUrl) })).statusCode, 401)
})

t.test('names the scopes of the routes in the metadata, and those of the route in a challenge', async (t) => {
  const { jwt, sign } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl,
    auth: { jwt },
    routes: [
      { path: '/a', auth: { require: { scopes: ['a:read', 'a:write'] } }, ...open },
      { path: '/b', auth: { require: { jwt: { scopes: ['b'] }, scopes: ['a:read'] } }, ...open },
      { path: '/c', auth: false, ...open }
    ]
  })
  t.same((await ask(app, METADATA)).json().scopes_supported, ['a:read', 'a:write', 'b'])
  const about = `resource_metadata="${publicUrl}${METADATA}", scope="a:read a:write"`
  const cases = [
    { name: 'no token', token: undefined, status: 401, challenge: `Bearer ${about}` },
    {
      name: 'a wrong token',
      token: 'x.y.z',
      status: 401,
      challenge: `Bearer error="invalid_token", ${about}`
    },
    {
      name: 'a token without the scopes',
      token: await sign(publicUrl, 'a:read'),
      status: 403,
      challenge: `Bearer error="insufficient_scope", ${about}`
    }
  ]
  for (const { name, token, status, challenge } of cases) {
    const answer = await ask(app, '/a', token === undefined ? {} : { token })
    t.equal(answer.statusCode, status, name)
    t.equal(answer.headers['www-authenticate'], challenge, name)
  }
  t.equal((await ask(app, '/a', { token: await sign(publicUrl, 'a:read a:write') })).statusCode, 200)
})

t.test('has a resource for each named host', async (t) => {
  const { jwt, sign } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl: 'http://localhost:3000',
    routes: [{ host: ['one.example.com', 'localhost'], path: '/mcp', auth: { jwt }, ...open }]
  })
  for (const [host, origin] of [
    ['one.example.com', 'https://one.example.com'],
    ['localhost:3000', 'http://localhost:3000']
  ] as const) {
    t.equal((await ask(app, `${METADATA}/mcp`, { host })).json().resource, `${origin}/mcp`)
    const refused = await ask(app, '/mcp', { host })
    t.equal(refused.headers['www-authenticate'], `Bearer resource_metadata="${origin}${METADATA}/mcp"`)
    t.equal((await ask(app, '/mcp', { host, token: await sign(`${origin}/mcp`) })).statusCode, 200)
  }
  t.equal((await ask(app, `${METADATA}/mcp`, { host: 'two.example.com' })).statusCode, 404)
})

t.test('names each issuer, and how tokens are sent', async (t) => {
  const { jwt } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl,
    auth: {
      jwt: [
        { ...jwt, from: ['header:Authorization', 'query:access_token'] },
        { ...jwt, issuer: 'https://partner.example.net' },
        { ...jwt, issuer: 'https://private.example.net', resource: false, audience: 'x' }
      ],
      apiKeys: { list: [{ id: 'a', secret: 'a secret that is long' }] }
    },
    routes: [{ path: '/a', ...open }]
  })
  t.same((await ask(app, METADATA)).json(), {
    resource: publicUrl,
    authorization_servers: [ISSUER, 'https://partner.example.net'],
    bearer_methods_supported: ['header', 'query']
  })
  t.match((await ask(app, '/a')).headers['www-authenticate'], /^Bearer resource_metadata="[^"]+", ApiKey$/)
})

t.test('is read by pages of every origin, without a credential', async (t) => {
  const { jwt } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl,
    auth: { jwt },
    cors: { origins: ['https://chat.example.com'] },
    routes: [{ path: '/mcp', ...open }]
  })
  const { headers } = await app.inject({
    url: METADATA,
    headers: { host: 'tools.example.com', origin: 'https://inspector.example.net' }
  })
  t.equal(headers['access-control-allow-origin'], '*')
  const preflight = await app.inject({
    method: 'OPTIONS',
    url: METADATA,
    headers: {
      host: 'tools.example.com',
      origin: 'https://inspector.example.net',
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'mcp-protocol-version'
    }
  })
  t.equal(preflight.statusCode, 204)
  t.equal(preflight.headers['access-control-allow-origin'], '*')
  t.equal(preflight.headers['access-control-allow-headers'], 'mcp-protocol-version')
})

t.test('leaves a route of the config at the place of the metadata', async (t) => {
  const { jwt } = await makeIssuer(t)
  const app = await gateway(t, {
    publicUrl,
    auth: { jwt },
    routes: [
      { path: '/a', ...open },
      { path: METADATA, auth: false, respond: { body: 'mine' } }
    ]
  })
  t.equal((await ask(app, METADATA)).body, 'mine')
})

t.test('is refused where its identifier is not known', async (t) => {
  const { jwt } = await makeIssuer(t)
  const auth = { jwt }
  const cases = [
    {
      name: 'without an origin',
      config: { auth, routes: [{ path: '/a', ...open }] },
      message:
        /expected "publicUrl" at the root beside "resource": true, or a route with a "host", got neither/
    },
    {
      name: 'with a pattern of hosts',
      config: { publicUrl, auth, routes: [{ host: '*.example.com', path: '/a', ...open }] },
      message: /expected named hosts where "resource" is true, got "\*\.example\.com"/
    },
    {
      name: 'with a parameter',
      config: { publicUrl, routes: [{ path: '/:tenant/mcp', auth, ...open }] },
      message: /expected a path without parameters where "resource" is true, got "\/:tenant\/mcp"/
    },
    {
      name: 'with two paths',
      config: { publicUrl, routes: [{ path: ['/a', '/b'], auth, ...open }] },
      message: /expected one path where "resource" is true, got \/a and \/b/
    }
  ]
  for (const { name, config, message } of cases) await t.rejects(gateway(t, config), { message }, name)
  const { issuer: _issuer, ...withoutIssuer } = jwt
  for (const [options, message] of [
    [withoutIssuer, /expected an "issuer" that is a URL beside "resource": true, got none/],
    [{ ...jwt, issuer: 'shop' }, /expected an "issuer" that is a URL beside "resource": true, got "shop"/]
  ] as const)
    await t.rejects(
      loadConfig({ publicUrl, auth: { jwt: options }, routes: [{ path: '/a', ...open }] }, {}),
      { message }
    )
})

t.test('needs no audience', async (t) => {
  const { jwt } = await makeIssuer(t)
  const keys = readFileSync(jwt.keys)
  const warned = async (resource: boolean): Promise<string> => {
    const config = { publicUrl, auth: { jwt: { ...jwt, resource } }, routes: [{ path: '/a', ...open }] }
    const cwd = t.testdir({ 'gateway.json': JSON.stringify(config) })
    writeFileSync(`${cwd}/keys.json`, keys)
    return (await sallyport(['check'], { cwd })).stdout
  }
  t.match(await warned(false), 'set "audience"')
  t.notMatch(await warned(true), 'audience')
})
