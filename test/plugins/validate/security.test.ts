import { createHmac } from 'node:crypto'
import t from 'tap'
import { gateway, type Scope, SECRET, sallyport, upstream } from '../../helpers.ts'

type TestScope = Scope & { testdir(files: Record<string, string>): string }

const SCHEMES = `
components:
  securitySchemes:
    token: { type: http, scheme: Bearer }
    oauth: { type: oauth2, flows: {} }
    key: { type: apiKey, in: header, name: X-Api-Key }
    cookie: { type: apiKey, in: cookie, name: sid }
    password: { type: http, scheme: basic }
    certificate: { type: mutualTLS }
    digest: { type: http, scheme: digest }
`

const shop = `openapi: "3.1.0"
security: [{ token: [] }]
paths:
  /default: { get: {} }
  /read: { get: { security: [{ oauth: [read] }] } }
  /write: { get: { security: [{ oauth: [read, write] }] } }
  /key: { get: { security: [{ key: [] }] } }
  /either: { get: { security: [{ key: [] }, { token: [] }] } }
  /both: { get: { security: [{ oauth: [read], key: [] }] } }
  /optional: { get: { security: [{}, { oauth: [write] }] } }
  /public: { get: { security: [] } }
  /basic: { get: { security: [{ password: [] }] } }
${SCHEMES}`

const auth = {
  openapi: true,
  jwt: { secret: SECRET, algorithms: ['HS256'], issuer: 'me' },
  apiKeys: { list: [{ id: 'partner', secret: 'a key of the tests, long enough for that' }] },
  users: { list: [{ name: 'ann', secret: 'a password of the tests' }] },
  basic: true
}

function configFile(t: TestScope, document: string, group: object, root: object = {}): string {
  const folder = t.testdir({
    'shop.yaml': document,
    'gateway.json': JSON.stringify({
      ...root,
      routes: [{ path: '/shop', operations: 'shop.yaml', ...group }]
    })
  })
  return `${folder}/gateway.json`
}

function token(scope: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iss: 'me', sub: 'bob', scope, exp: Math.floor(Date.now() / 1000) + 60 })}`
  return `Bearer ${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
}

const proxied = async (t: Scope): Promise<object> => ({
  proxy: { upstream: await upstream(t, (_, response) => void response.end('ok')), rewrite: '/' }
})

const KEY = { 'x-api-key': 'a key of the tests, long enough for that' }
const BASIC = { authorization: `Basic ${Buffer.from('ann:a password of the tests').toString('base64')}` }

t.test('each operation wants the security that the document says', async (t) => {
  const app = await gateway(t, configFile(t, shop, { ...(await proxied(t)), auth }))
  const none = {}
  const reader = { authorization: token('read') }
  const writer = { authorization: token('read write') }
  const cases: [path: string, headers: Record<string, string>, status: number][] = [
    ['default', none, 401],
    ['default', reader, 200],
    ['default', KEY, 401],
    ['default', { authorization: 'Bearer x.y.z' }, 401],
    ['read', none, 401],
    ['read', reader, 200],
    ['read', { authorization: token('') }, 403],
    ['write', reader, 403],
    ['write', writer, 200],
    ['key', KEY, 200],
    ['key', reader, 401],
    ['either', KEY, 200],
    ['either', reader, 200],
    ['either', none, 401],
    ['both', KEY, 401],
    ['both', reader, 401],
    ['both', { ...KEY, ...reader }, 200],
    ['both', { ...KEY, authorization: token('') }, 403],
    ['optional', none, 200],
    ['optional', writer, 200],
    ['optional', { authorization: 'Bearer x.y.z' }, 401],
    ['public', none, 200],
    ['basic', BASIC, 200],
    ['basic', reader, 401]
  ]
  for (const [path, headers, status] of cases)
    t.equal(
      (await app.inject({ url: `/shop/${path}`, headers })).statusCode,
      status,
      `${path} ${Object.keys(headers).join()} ${status}`
    )
})

t.test('the group adds to what the document wants, and never takes away', async (t) => {
  const app = await gateway(
    t,
    configFile(t, shop, {
      ...(await proxied(t)),
      auth: { ...auth, global: false, optional: true, require: { scopes: ['shop'] } },
      routes: [{ path: '/hand', auth: { openapi: false, optional: false } }]
    })
  )
  for (const [path, scope, status] of [
    ['default', undefined, 401],
    ['read', 'read', 403],
    ['read', 'shop', 403],
    ['read', 'shop read', 200],
    ['public', undefined, 200],
    ['hand', undefined, 401],
    ['hand', 'shop', 200]
  ] as const) {
    const headers = scope === undefined ? {} : { authorization: token(scope) }
    t.equal((await app.inject({ url: `/shop/${path}`, headers })).statusCode, status, `${path} ${scope}`)
  }
})

t.test('what can not be mapped is an error of the config', async (t) => {
  const group = await proxied(t)
  const one = (security: string): string =>
    `openapi: "3.1.0"\npaths:\n  /a: { get: { security: ${security} } }\n${SCHEMES}`
  const here = String.raw`gateway\.json:1:\d+ routes\[0\]\.auth\.openapi: `
  const there = String.raw`GET /a \(.*shop\.yaml:3:9\)`
  const cases: [what: string, document: string, auth: object, message: string][] = [
    [
      'two of one kind together',
      one('[{ token: [], oauth: [] }]'),
      auth,
      `${here}expected security schemes of different kinds together, got token and oauth; .*, at ${there}`
    ],
    [
      'scopes of an application beside a user',
      one('[{ token: [], key: [read] }]'),
      auth,
      `${here}expected scopes for the scheme of the caller alone, got some for "key"; .*, at ${there}`
    ],
    [
      'no strategy',
      one('[{ certificate: [] }]'),
      auth,
      `${here}expected "clientCertificate" here for the security scheme "certificate", got jwt, apiKeys, basic, at ${there}`
    ],
    [
      'a strategy that "by" leaves out',
      one('[{ key: [] }]'),
      { ...auth, by: ['jwt'] },
      `${here}expected "apiKeys" here .*got jwt, at ${there}`
    ],
    [
      'another place of the key',
      one('[{ cookie: [] }]'),
      auth,
      `${here}expected an API key in a header or in the query, .* one in a cookie, .*, at ${there}`
    ],
    ['an unknown kind', one('[{ digest: [] }]'), auth, `${here}.*got "digest", at ${there}`],
    [
      'an unknown scheme',
      one('[{ none: [] }]'),
      auth,
      `${here}.*got "none", which it does not have, at ${there}`
    ],
    ['no list', one('{ token: [] }'), auth, `${here}expected a list in "security", at ${there}`],
    ['a list of lists', one('[[]]'), auth, `${here}expected a list of objects in "security", at ${there}`],
    [
      'no scopes',
      one('[{ token: read }]'),
      auth,
      `${here}expected a list of scopes for the security scheme "token", at ${there}`
    ],
    ['null', one('null'), auth, `${here}expected a list in "security", at ${there}`],
    [
      'scopes that differ',
      one('[{ oauth: [read] }, { key: [] }]'),
      auth,
      `${here}expected the same scopes .*oauth or key, .*at ${there}`
    ],
    [
      'no security at all',
      'openapi: "3.1.0"\npaths: { /a: { get: {} } }\n',
      auth,
      `${here}expected a document with operations that want security`
    ],
    [
      'one route for two that differ',
      `openapi: "3.1.0"\npaths:\n  /a: { get: { security: [{ token: [] }] }, head: { security: [] } }\n${SCHEMES}`,
      auth,
      `${here}expected the same security for operations that are one route, got others for ${there} and HEAD /a`
    ]
  ]
  for (const [what, document, auth, message] of cases)
    await t.rejects(
      gateway(t, configFile(t, document, { ...group, auth })),
      { message: new RegExp(message) },
      what
    )
})

t.test('a route whose security is not known is an error', async (t) => {
  const group = await proxied(t)
  for (const [what, value] of [
    ['a written route of the group', { ...group, auth, routes: [{ path: '/hand' }] }],
    [
      'a route with a document',
      { ...group, operations: undefined, path: '/shop/*', auth, validate: { openapi: 'shop.yaml' } }
    ]
  ] as const)
    await t.rejects(
      gateway(t, configFile(t, shop, value)),
      { message: /auth\.openapi: expected only routes that "operations" adds, .*"openapi": false/ },
      what
    )
  await t.rejects(
    gateway(t, configFile(t, shop, group, { auth })),
    { message: / auth\.openapi: expected only routes/ },
    'the root'
  )
})

t.test('check names routes that are public only because nothing is said', async (t) => {
  const document = `openapi: "3.1.0"\npaths:\n  /a: { get: { operationId: a } }\n  /b: { get: { security: [] } }\n  /c: { get: { security: [{ token: [] }] } }\n${SCHEMES}`
  const { stdout, stderr } = await sallyport([
    'check',
    '-c',
    configFile(t, document, { ...(await proxied(t)), auth })
  ])
  t.match(`${stdout}${stderr}`, /public, since neither the operation nor the document has "security": a;/)
  t.notMatch(`${stdout}${stderr}`, /want security; "auth" would give it/)
})
