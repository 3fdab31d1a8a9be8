import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { validate } from '@readme/openapi-parser'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/index.ts'
import { mapDocumentReferences } from '../../src/lib/openapi/map-references.ts'
import { describeGateway } from '../../src/openapi/document.ts'
import { gateway, SECRET, sallyport } from '../helpers.ts'

// The descriptions are checked by a validator that others wrote: the schema of OpenAPI 3.1 and its rules.

// The command line is run as a user does.
t.setTimeout(600_000)

interface Operation {
  operationId: string
  description?: string
  parameters?: readonly { name: string; in: string; required?: boolean; schema: object }[]
  requestBody?: { required?: boolean; content: Record<string, { schema: unknown }> }
  responses: Record<string, { $ref?: string; description?: string }>
  security?: readonly Record<string, string[]>[]
  [key: string]: unknown
}

interface Document {
  openapi: string
  info: Record<string, unknown>
  servers?: readonly { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, Record<string, unknown>>>
}

const env = { SESSION_SECRET: SECRET }

const isValid = async (t: Test, document: object): Promise<void> => {
  const result = await validate(structuredClone(document) as never)
  t.strictSame(result.valid ? [] : result.errors, [])
}

/** Describes a config, and checks that the description is a valid document. */
async function describe(t: Test, config: object, host?: string): Promise<Document> {
  const { document } = describeGateway(await loadConfig(config, env), host)
  await isValid(t, document)
  return document as unknown as Document
}

const proxy = { upstream: 'http://127.0.0.1:9' }
const keys = { list: [{ id: 'ada', secret: 'a key that is long enough' }] }

const operationAt = ({ paths }: Document, method: string, path: string): Operation => {
  const operation = paths[path]?.[method]
  if (operation === undefined) throw new Error(`no ${method} ${path} in ${Object.keys(paths).join()}`)
  return operation
}

t.test('paths of the config become paths of OpenAPI', async (t) => {
  const cases: readonly [
    what: string,
    routes: readonly object[],
    paths: Record<string, readonly string[]>
  ][] = [
    ['exact', [{ path: '/a' }], { '/a': [] }],
    ['the root', [{ path: '/' }], { '/': [] }],
    ['everything', [{ path: '/*' }], { '/{path}': ['path'] }],
    ['a parameter', [{ path: '/orders/:id' }], { '/orders/{id}': ['id'] }],
    ['a wildcard', [{ path: '/a/*' }], { '/a/{path}': ['path'] }],
    [
      'a wildcard behind a parameter of that name',
      [{ path: '/a/:path/*' }],
      { '/a/{path}/{rest}': ['path', 'rest'] }
    ],
    ['a final slash', [{ path: '/a/' }], { '/a/': [] }],
    ['characters that a URL has encoded', [{ path: '/my docs/é' }], { '/my%20docs/%C3%A9': [] }],
    ['several paths', [{ path: ['/a', '/b/:x'] }], { '/a': [], '/b/{x}': ['x'] }],
    [
      'two names of one parameter',
      [
        { path: '/a/:id', methods: ['GET'] },
        { path: '/a/:name', methods: ['DELETE'] }
      ],
      { '/a/{id}': ['id'] }
    ],
    [
      'a wildcard beside a parameter, a segment further down',
      [{ path: '/a/*' }, { path: '/a/:id' }],
      { '/a/{id}': ['id'], '/a/{id}/{path}': ['id', 'path'] }
    ],
    [
      'wildcards at two depths',
      [{ path: '/a/*' }, { path: '/a/:id/*' }, { path: '/a/:id' }],
      {
        '/a/{id}': ['id'],
        '/a/{id}/{path}': ['id', 'path'],
        '/a/{id}/{path}/{path2}': ['id', 'path', 'path2']
      }
    ],
    [
      'one wildcard with two entries',
      [
        { path: '/a/*', methods: ['GET'] },
        { path: '/a/*', methods: ['POST'] }
      ],
      { '/a/{path}': ['path'] }
    ],
    ['a group', [{ path: '/g', routes: [{ path: '/a/:x', proxy }] }], { '/g/a/{x}': ['x'] }]
  ]
  for (const [what, routes, expected] of cases)
    t.test(what, async (t) => {
      const document = await describe(t, {
        routes: routes.map((route) => ('routes' in route ? route : { ...route, proxy }))
      })
      t.strictSame(Object.keys(document.paths), Object.keys(expected))
      for (const [path, names] of Object.entries(expected))
        for (const operation of Object.values(document.paths[path] ?? {}))
          t.strictSame(
            (operation.parameters ?? []).map((parameter) => [
              parameter.in,
              parameter.name,
              parameter.required
            ]),
            names.map((name) => ['path', name, true])
          )
    })

  t.test('a narrowed parameter has its expression as a pattern', async (t) => {
    const document = await describe(t, { routes: [{ path: '/orders/:id(\\d+)', methods: ['GET'], proxy }] })
    t.strictSame(operationAt(document, 'get', '/orders/{id}').parameters, [
      { name: 'id', in: 'path', required: true, schema: { type: 'string', pattern: '^(\\d+)$' } }
    ])
  })
})

t.test('the methods of a route are operations', async (t) => {
  const cases: readonly [what: string, route: object, methods: readonly string[]][] = [
    [
      'those that it names, HEAD beside GET understood',
      { methods: ['DELETE', 'GET'], proxy },
      ['get', 'delete']
    ],
    [
      'HEAD and OPTIONS where they are named alone',
      { methods: ['HEAD', 'OPTIONS'], proxy },
      ['options', 'head']
    ],
    ['the usual ones where none is named', { proxy }, ['get', 'put', 'post', 'delete', 'patch']],
    ['GET of what the gateway itself responds', { respond: { body: 'x' } }, ['get']],
    ['GET of a redirect', { redirect: { to: '/b' } }, ['get']],
    ['GET of files', { files: { root: '.' } }, ['get']]
  ]
  for (const [what, route, methods] of cases)
    t.test(what, async (t) => {
      const { paths } = await describe(t, { routes: [{ path: '/a', ...route }] })
      t.strictSame(Object.keys(paths['/a'] ?? {}), methods)
    })

  t.test('methods that OpenAPI 3.1 does not have are left out', async (t) => {
    const config = { routes: [{ path: '/a', methods: ['PROPFIND'], proxy }] }
    t.strictSame((await describe(t, config)).paths, {})
    const { omitted } = describeGateway(await loadConfig(config, env))
    t.strictSame(omitted, ['PROPFIND /a (/a) is left out, since OpenAPI 3.1 has no such method'])
  })
})

t.test('credentials', async (t) => {
  const jwt = { jwks: 'https://issuer.test/jwks.json', audience: 'api', issuer: 'https://issuer.test' }
  const users = { list: [{ name: 'ada', secret: 'lovelace' }] }
  const session = { type: 'apiKey', in: 'cookie', name: 'sid' }
  const cases: readonly [what: string, auth: object, security: readonly object[], schemes: object][] = [
    ['a token', { jwt }, [{ jwt: [] }], { jwt: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } }],
    [
      'a token in another place',
      { jwt: { ...jwt, from: ['header:authorization', 'query:token'] } },
      [{ jwt: [] }, { 'jwt-query-token': [] }],
      { 'jwt-query-token': { type: 'apiKey', in: 'query', name: 'token' } }
    ],
    [
      'an API key',
      { apiKeys: { ...keys, from: ['header:x-api-key', 'query:key'] } },
      [{ apiKey: [] }, { 'apiKey-query-key': [] }],
      {
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
        'apiKey-query-key': { type: 'apiKey', in: 'query', name: 'key' }
      }
    ],
    [
      'name and password',
      { basic: true, users },
      [{ basic: [] }],
      { basic: { type: 'http', scheme: 'basic' } }
    ],
    ['a session', { session: true, users }, [{ session: [] }], { session }],
    [
      'another service',
      { forward: { upstream: 'http://127.0.0.1:9' } },
      [{ forward: [] }],
      { forward: { type: 'apiKey', in: 'header', name: 'Authorization', description: /service decides/ } }
    ],
    [
      'tokens of the provider at which users log in',
      {
        session: true,
        oidc: { issuer: 'https://issuer.test', clientId: 'x' },
        jwt,
        require: { roles: ['a'] }
      },
      [{ session: ['a'] }, { jwt: ['a'] }],
      {
        jwt: {
          type: 'openIdConnect',
          openIdConnectUrl: 'https://issuer.test/.well-known/openid-configuration'
        }
      }
    ],
    ['one of several strategies', { jwt, apiKeys: keys, by: ['jwt'] }, [{ jwt: [] }], {}],
    ['none needed', { jwt, optional: true }, [{ jwt: [] }, {}], {}],
    ['none needed in report mode', { jwt, mode: 'report' }, [{ jwt: [] }, {}], {}],
    [
      'all scopes, and one of the roles',
      { jwt, require: { roles: ['admin', 'staff'], scopes: ['read'] } },
      [{ jwt: ['read', 'admin'] }, { jwt: ['read', 'staff'] }],
      {}
    ]
  ]
  for (const [what, auth, security, schemes] of cases)
    t.test(what, async (t) => {
      const document = await describe(t, { routes: [{ path: '/a', methods: ['GET'], auth, proxy }] })
      t.strictSame(operationAt(document, 'get', '/a').security, security)
      t.match(document.components['securitySchemes'], schemes)
    })

  t.test('two schemes of one name have two names', async (t) => {
    const auth = (name: string): object => ({ apiKeys: { ...keys, from: [`header:${name}`] } })
    const { components } = await describe(t, {
      routes: [
        { path: '/a', auth: auth('x-api-key'), proxy },
        { path: '/b', auth: auth('X-API-KEY'), proxy }
      ]
    })
    t.strictSame(Object.keys(components['securitySchemes'] ?? {}), ['apiKey', 'apiKey-2'])
  })

  t.test('a public route needs none', async (t) => {
    const document = await describe(t, {
      auth: { jwt },
      routes: [{ path: '/a', methods: ['GET'], auth: false, proxy }]
    })
    t.equal(operationAt(document, 'get', '/a').security, undefined)
  })

  t.test('the values of required claims are not shown', async (t) => {
    const document = await describe(t, {
      routes: [{ path: '/a', auth: { jwt, require: { claims: { tenant: 'acme' } } }, proxy }]
    })
    t.match(operationAt(document, 'get', '/a').description, /`tenant`/)
    t.notMatch(JSON.stringify(document), 'acme')
  })
})

t.test('the errors of a route are those that its gates can give', async (t) => {
  const off = {
    limits: { body: false, headers: false, headerCount: false, url: false, time: false, bodyRate: false }
  }
  const cases: readonly [what: string, route: object, get: readonly string[], post: readonly string[]][] = [
    ['of none', { ...off }, [], []],
    ['of limits', {}, ['414', '431', '504'], ['408', '413', '414', '431', '504']],
    ['of a rate limit', { ...off, rateLimit: { max: 5 } }, ['429'], ['429']],
    ['of a rate limit in report mode', { ...off, rateLimit: { max: 5, mode: 'report' } }, [], []],
    ['of a store', { ...off, rateLimit: { max: 5, onStoreFailure: 'deny' } }, ['429', '503'], ['429', '503']],
    ['of addresses', { ...off, ipAccess: { deny: ['10.0.0.1'] } }, ['403'], ['403']],
    ['of overload', { ...off, overload: {} }, ['503'], ['503']],
    ['of authentication', { ...off, auth: { apiKeys: keys } }, ['401'], ['401']],
    [
      'of authorization',
      { ...off, auth: { apiKeys: keys, require: { roles: ['a'] } } },
      ['401', '403'],
      ['401', '403']
    ],
    [
      'of csrf, for methods that are not safe',
      { ...off, auth: { basic: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } } },
      ['401', '429'],
      ['401', '403', '429']
    ],
    ['of a schema', { ...off, validate: { body: {} } }, ['400'], ['400', '413', '415']],
    ['of a fault', { ...off, fault: { status: 418 } }, ['418'], ['418']]
  ]
  for (const [what, route, get, post] of cases)
    t.test(what, async (t) => {
      const document = await describe(t, {
        routes: [{ path: '/a', methods: ['GET', 'POST'], respond: { status: 299 }, ...route }]
      })
      for (const [method, statuses] of [
        ['get', get],
        ['post', post]
      ] as const)
        t.strictSame(
          Object.keys(operationAt(document, method, '/a').responses).filter((status) => status !== '299'),
          statuses,
          method
        )
    })

  t.test('each is a problem document with its codes and headers', async (t) => {
    const document = await describe(t, {
      rateLimit: { max: 5, maxInFlight: 1 },
      routes: [{ path: '/a', methods: ['GET'], proxy }]
    })
    const { responses } = operationAt(document, 'get', '/a')
    t.strictSame(responses['429'], {
      $ref: '#/components/responses/429-RATE_LIMIT_EXCEEDED-RATE_LIMIT_IN_FLIGHT'
    })
    t.match(document.components['responses']?.['429-RATE_LIMIT_EXCEEDED-RATE_LIMIT_IN_FLIGHT'], {
      description: 'Too Many Requests: `SP_ERR_RATE_LIMIT_EXCEEDED`, `SP_ERR_RATE_LIMIT_IN_FLIGHT`',
      headers: {
        'Retry-After': { $ref: '#/components/headers/Retry-After' },
        RateLimit: {},
        'RateLimit-Policy': {}
      },
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
    })
    t.match(responses['default'], { headers: { RateLimit: {} } }, 'and the response has what is left')
    t.strictSame(Object.keys(responses), ['429', '414', '431', '502', '503', '504', 'default'].toSorted())
  })
})

t.test('the schemas of validate', async (t) => {
  const folder = t.testdir({
    'common.json': JSON.stringify({
      $defs: { price: { type: 'number' }, item: { properties: { price: { $ref: '#/$defs/price' } } } }
    })
  })
  const config = join(folder, 'gateway.json')
  await writeFile(
    config,
    JSON.stringify({
      routes: [
        {
          path: '/orders/:id',
          methods: ['GET', 'PUT'],
          proxy,
          validate: {
            params: { properties: { id: { type: 'integer' } } },
            query: {
              properties: {
                limit: { type: 'integer', description: 'How many.' },
                page: { $ref: '#/$defs/page' }
              },
              required: ['limit'],
              $defs: { page: { type: 'integer' } }
            },
            headers: { properties: { 'X-Tenant': { type: 'string' }, Authorization: {} } },
            body: {
              type: 'object',
              properties: { parent: { $ref: '#' }, items: { items: { $ref: 'common.json#/$defs/item' } } }
            }
          }
        }
      ]
    })
  )
  const { document: described } = describeGateway(await loadConfig(config, env))
  await isValid(t, described)
  const document = described as unknown as Document
  const { parameters, requestBody } = operationAt(document, 'put', '/orders/{id}')
  t.strictSame(
    parameters?.map(({ schema: _schema, ...rest }) => rest),
    [
      { name: 'id', in: 'path', required: true },
      { name: 'limit', in: 'query', required: true, description: 'How many.' },
      { name: 'page', in: 'query' },
      { name: 'X-Tenant', in: 'header' }
    ],
    'are parameters'
  )
  t.strictSame(parameters?.[0]?.schema, { type: 'integer' })
  t.equal(operationAt(document, 'get', '/orders/{id}').requestBody, undefined)
  t.strictSame(requestBody, {
    required: true,
    content: { 'application/json': { schema: { $ref: '#/components/schemas/putOrdersId-body' } } }
  })
  t.strictSame(
    document.components['schemas']?.['putOrdersId-body'],
    {
      type: 'object',
      properties: {
        parent: { $ref: '#/components/schemas/putOrdersId-body' },
        items: { items: { $ref: '#/components/schemas/putOrdersId-body/$defs/common/$defs/item' } }
      },
      $defs: {
        common: {
          $defs: {
            price: { type: 'number' },
            item: {
              properties: {
                price: { $ref: '#/components/schemas/putOrdersId-body/$defs/common/$defs/price' }
              }
            }
          }
        }
      }
    },
    'with the files that they refer to'
  )
  t.notMatch(JSON.stringify(document), folder, 'and without the names of folders')
})

t.test('the fallback of a proxy is described under each status that it is sent with', async (t) => {
  const absent = 'The service does not respond.'
  const replaced = 'The service responds with an error.'
  const either = 'The service does not respond, or responds with an error.'
  const cases: [fallback: object, described: Record<string, string>][] = [
    [{}, { 503: absent }],
    [{ status: 200 }, { 200: absent }],
    [{ on: ['404', 410] }, { 404: replaced, 410: replaced, 503: absent }],
    [{ on: ['502-503'] }, { 502: replaced, 503: either }],
    [{ on: ['404'], status: 200 }, { 200: either }]
  ]
  for (const [fallback, described] of cases) {
    const document = await describe(t, {
      routes: [{ path: '/a', methods: ['GET'], proxy: { ...proxy, fallback: { ...fallback, body: 'ours' } } }]
    })
    const { responses } = operationAt(document, 'get', '/a')
    for (const status of ['200', '404', '410', '502', '503'])
      t.equal(responses[status]?.description, described[status], `${JSON.stringify(fallback)}: ${status}`)
  }
})

t.test('the response of an aggregate has the keys that its legs make', async (t) => {
  const upstream = 'http://127.0.0.1:9'
  const user = { upstream, path: '/user', pick: ['name', 'address.city', 'tags.*.id'] }
  const orders = { upstream, path: '/orders', fallback: [] }
  const userSchema = {
    properties: {
      name: {},
      address: { properties: { city: {} } },
      tags: { items: { properties: { id: {} } } }
    }
  }
  const cases: readonly [what: string, aggregate: object, schema: object][] = [
    [
      'each under its name',
      { legs: { user, orders: { ...orders, as: 'latest' } } },
      { type: 'object', properties: { user: userSchema, latest: {} }, required: ['user', 'latest'] }
    ],
    [
      'as "body" says',
      {
        legs: { user, legacy: { upstream, path: '/legacy', required: false } },
        body: {
          kind: 'me',
          profile: '{legs.user}',
          text: 'Hi {legs.user.name}',
          city: '{legs.user.address.city}',
          old: '{legs.legacy}',
          more: { list: ['{legs.legacy}'] }
        }
      },
      {
        type: 'object',
        properties: {
          kind: { const: 'me' },
          profile: userSchema,
          text: { type: 'string' },
          city: {},
          old: {},
          more: { type: 'object', properties: { list: { type: 'array', items: {} } }, required: ['list'] }
        },
        required: ['kind', 'profile', 'more']
      }
    ],
    [
      'those of all with "merge"',
      {
        legs: { user, mail: { upstream, path: '/mail', rename: { 'a.mail': 'mail' } } },
        merge: ['user', 'mail']
      },
      { type: 'object', properties: { ...userSchema.properties, mail: {} } }
    ],
    [
      'a list for "each", with the names of what is missing',
      {
        legs: {
          ids: { upstream, path: '/ids' },
          items: { upstream, path: '/i/{item.id}', each: '{legs.ids}', pick: ['id'], required: false }
        },
        partial: 'body'
      },
      {
        properties: {
          items: { type: 'array', items: { anyOf: [{ properties: { id: {} } }, { const: null }] } },
          _partial: { type: 'array' }
        },
        required: ['ids']
      }
    ]
  ]
  for (const [what, aggregate, schema] of cases)
    t.test(what, async (t) => {
      const document = await describe(t, { routes: [{ path: '/me', aggregate }] })
      t.strictSame(Object.keys(document.paths['/me'] ?? {}), ['get'])
      const { responses } = operationAt(document, 'get', '/me')
      t.match(responses['200'], { content: { 'application/json': { schema } } })
      t.ok(responses['502'])
    })
})

t.test('the operations of a document are below the path of its route', async (t) => {
  const folder = t.testdir({
    'shop.yaml': `openapi: 3.0.3
info: { title: Shop, version: '1' }
servers: [{ url: 'https://shop.test/v1' }]
paths:
  /orders/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: string } }
    get:
      operationId: readOrder
      summary: Reads an order
      responses:
        '200':
          description: The order.
          content: { application/json: { schema: { $ref: '#/components/schemas/Order' } } }
        '404': { $ref: 'common.yaml#/NotFound' }
    delete: { responses: { '204': { description: Gone. } } }
  /orders:
    $ref: 'common.yaml#/Orders'
components:
  schemas:
    Order:
      type: object
      properties:
        parent: { $ref: '#/components/schemas/Order' }
        note: { type: string, nullable: true }
    Problem: { type: string }
`,
    'common.yaml': `Orders:
  get: { responses: { default: { description: All., content: { application/json: { schema: { $ref: '#/List' } } } } } }
List: { type: array, items: { $ref: 'shop.yaml#/components/schemas/Order' } }
NotFound: { description: None. }
`
  })
  const write = async (validate: object, others: readonly object[] = []): Promise<Document> => {
    const config = join(folder, 'gateway.json')
    const shop = { path: '/shop/:tenant/*', auth: { apiKeys: keys }, validate, proxy }
    await writeFile(config, JSON.stringify({ routes: [shop, ...others] }))
    const { document } = describeGateway(await loadConfig(config, env))
    await isValid(t, document)
    t.notMatch(JSON.stringify(document), folder)
    return document as unknown as Document
  }
  const document = await write({ openapi: 'shop.yaml', undeclared: 'reject' })
  t.strictSame(Object.keys(document.paths), ['/shop/{tenant}/orders', '/shop/{tenant}/orders/{id}'])
  const operation = operationAt(document, 'get', '/shop/{tenant}/orders/{id}')
  t.match(operation, {
    operationId: 'readOrder',
    summary: 'Reads an order',
    parameters: [{ name: 'tenant' }, { name: 'id' }],
    security: [{ apiKey: [] }],
    responses: {
      200: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Order' } } } },
      400: { $ref: '#/components/responses/400-VALIDATE_INVALID' },
      401: {},
      404: { $ref: '#/components/x-files/common.yaml/NotFound' }
    }
  })
  t.equal(operation.responses['default'], undefined)
  t.match(document.components['schemas'], {
    Order: { properties: { note: { type: ['string', 'null'] } } },
    Problem: { type: 'object' },
    'Problem-2': { type: 'string' }
  })

  const open = await write({ openapi: 'shop.yaml', servers: true })
  t.strictSame(
    Object.keys(open.paths),
    ['/shop/{tenant}/v1/orders', '/shop/{tenant}/v1/orders/{id}', '/shop/{tenant}/{path}'],
    'below the path of the server, beside what else passes'
  )
  const other = { path: '/shop/:tenant/orders/:id', methods: ['GET'], respond: {} }
  const beside = await write({ openapi: 'shop.yaml', undeclared: 'reject' }, [other])
  t.match(beside.paths['/shop/{tenant}/orders/{id}'], {
    get: { operationId: 'getShopTenantOrdersId' },
    delete: {}
  })
})

t.test('references are changed where names look like fields, and not in values', async (t) => {
  const reference = { $ref: '#/old' }
  const changed = { $ref: '#/new' }
  const cases: readonly (readonly [what: string, before: unknown, after: unknown])[] = [
    ['an example of that name', { examples: { default: reference } }, { examples: { default: changed } }],
    ['the value of an example', { examples: { a: { value: reference, dataValue: reference } } }, undefined],
    ['the examples of a schema', { examples: [reference] }, undefined],
    ['a scheme', { securitySchemes: { default: reference } }, { securitySchemes: { default: changed } }],
    ['a webhook', { webhooks: { example: reference } }, { webhooks: { example: changed } }],
    ['a media type', { mediaTypes: { enum: reference } }, { mediaTypes: { enum: changed } }],
    [
      'the headers of an encoding',
      { encoding: { const: { headers: { value: reference } } } },
      { encoding: { const: { headers: { value: changed } } } }
    ],
    ['a property', { properties: { value: reference } }, { properties: { value: changed } }],
    ['a default', { default: reference }, undefined]
  ]
  for (const [what, before, after = before] of cases)
    t.strictSame(
      mapDocumentReferences(before, () => '#/new'),
      after,
      what
    )
})

t.test('documents of others', async (t) => {
  const fileOf = (name: string): string =>
    fileURLToPath(new URL(`../../node_modules/@readme/oas-examples/${name}.json`, import.meta.url))
  for (const name of [
    '3.0/json/petstore',
    '3.1/json/petstore',
    '3.1/json/train-travel',
    '3.0/json/security',
    '3.0/json/callbacks'
  ])
    t.test(name, async (t) => {
      const validates = { path: '/a/*', validate: { openapi: fileOf(name) }, proxy }
      const { paths } = await describe(t, { routes: [validates, { ...validates, path: '/b/*' }] })
      t.ok(Object.keys(paths).length > 3)
    })
})

t.test('the texts of openapi', async (t) => {
  const config = {
    openapi: { info: { title: 'Shop', version: '2.1.0', description: 'All of it.' } },
    routes: [
      {
        path: '/a',
        methods: ['GET'],
        openapi: { summary: 'Lists', tags: ['shop'], deprecated: true },
        proxy
      },
      { path: '/hidden', openapi: false, proxy },
      {
        path: '/g',
        openapi: false,
        routes: [
          { path: '/a', proxy },
          { path: '/b', openapi: true, proxy }
        ]
      }
    ]
  }
  const { info, paths } = await describe(t, config)
  t.strictSame(info, { title: 'Shop', description: 'All of it.', version: '2.1.0' })
  t.strictSame(Object.keys(paths), ['/a', '/g/b'], 'false leaves routes out')
  t.match(paths['/a']?.['get'], { summary: 'Lists', tags: ['shop'], deprecated: true })
})

t.test('hosts are servers', async (t) => {
  const config = {
    publicUrl: 'https://api.example.com:8443',
    routes: [
      { path: '/a', proxy },
      { path: '/b', host: 'api.example.com', proxy },
      { path: '/c', host: ['shop.example.com', '*.example.org'], methods: ['GET'], proxy },
      { path: '/a', host: 'shop.example.com', methods: ['GET'], openapi: { summary: 'of the shop' }, proxy }
    ]
  }
  const document = await describe(t, config)
  t.strictSame(document.servers, [{ url: 'https://api.example.com:8443' }])
  t.equal(document.paths['/b']?.['get']?.['servers'], undefined)
  t.match(document.paths['/c']?.['get']?.['servers'], [
    { url: 'https://{label}.example.org:8443', variables: { label: { default: 'www' } } },
    { url: 'https://shop.example.com:8443' }
  ])

  t.test('--host leaves those of the host, which win over those of all hosts', async (t) => {
    const { paths } = await describe(t, config, 'shop.example.com')
    t.strictSame(Object.keys(paths), ['/a', '/c'])
    t.equal(paths['/a']?.['get']?.['summary'], 'of the shop')
    const { paths: others } = await describe(t, config, 'x.example.org')
    t.strictSame(Object.keys(others), ['/a', '/c'])
  })

  t.test('what can not be described twice is named', async (t) => {
    const { omitted } = describeGateway(await loadConfig(config, env))
    t.match(omitted, [/^GET \/a \(\/a\) of shop\.example\.com is left out, since another route/])
    t.equal(omitted.length, 1)
  })
})

t.test('the order of the config does not matter', async (t) => {
  const routes = [
    { path: '/a/:id', methods: ['GET'], proxy, rateLimit: { max: 4 } },
    { path: '/a/:name', methods: ['PUT'], proxy, auth: { apiKeys: keys } },
    { path: '/a/*', proxy, validate: { body: { properties: { a: { $ref: '#' } } } } },
    { path: '/b', host: 'b.test', proxy, auth: { apiKeys: { ...keys, from: ['header:X-Api-Key'] } } },
    { path: '/b', host: 'c.test', proxy },
    {
      path: '/g',
      routes: [
        { path: '/z', respond: {} },
        { path: '/y', respond: {} }
      ]
    }
  ]
  const text = async (list: readonly object[]): Promise<string> =>
    JSON.stringify(await describe(t, { routes: list }))
  const first = await text(routes)
  t.equal(await text(routes), first)
  t.equal(await text(routes.toReversed()), first)
  t.equal(await text([...routes.slice(3), ...routes.slice(0, 3)]), first)
})

t.test('an extension describes itself', async (t) => {
  const file = (name: string): string =>
    fileURLToPath(new URL(`../../examples/extensions/${name}`, import.meta.url))
  const document = await describe(t, {
    extensions: [{ module: file('tenant.ts'), before: 'rateLimit' }],
    tenant: { known: ['acme'] },
    routes: [{ path: '/a', respond: {} }]
  })
  t.match(operationAt(document, 'get', '/a'), {
    parameters: [{ name: 'x-tenant', in: 'header', required: true }],
    responses: { 404: { $ref: '#/components/responses/404-TENANT_UNKNOWN' } }
  })
})

t.test('sallyport openapi', async (t) => {
  const fileOf = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
  for (const name of ['gateway.json', 'examples/tutorial/gateway.json', 'examples/extensions/gateway.json'])
    t.test(`describes ${name}`, async (t) => {
      const variables = { ...env, PASSWORD: 'lovelace' }
      const { code, stdout, stderr } = await sallyport(['openapi', '-c', fileOf(name)], { env: variables })
      t.equal(code, 0)
      t.equal(stderr, '')
      await isValid(t, JSON.parse(stdout) as object)
      t.notMatch(stdout, /127\.0\.0\.1|localhost|lovelace|argon2/, 'without addresses and secrets')
    })

  t.test('prints the same as YAML', async (t) => {
    const { stdout } = await sallyport(['openapi', '--yaml', '-c', fileOf('gateway.json')])
    t.match(stdout, /^openapi: 3\.1\.0\n/)
    const { document } = describeGateway(await loadConfig(fileOf('gateway.json'), env))
    t.strictSame(parse(stdout), document)
  })

  t.test('warns of what it leaves out', async (t) => {
    const folder = t.testdir({
      'gateway.json': JSON.stringify({
        routes: ['a.test', 'b.test'].map((host) => ({ path: '/', host, respond: {} }))
      })
    })
    const all = await sallyport(['openapi'], { cwd: folder })
    t.equal(all.code, 0)
    t.match(all.stderr, /^warning: GET \/ \(\/\) of b\.test is left out.*--host/)
    const one = await sallyport(['openapi', '--host', 'B.test'], { cwd: folder })
    t.equal(one.stderr, '')
    t.match(JSON.parse(one.stdout), { servers: [{ url: 'https://b.test' }], paths: { '/': {} } })
  })

  t.test('refuses a config with errors, and both formats', async (t) => {
    const folder = t.testdir({ 'gateway.json': '{ "routes": [{ "path": "/a" }] }' })
    const wrong = await sallyport(['openapi'], { cwd: folder })
    t.equal(wrong.code, 1)
    t.equal(wrong.stdout, '')
    const shop = t.testdir({
      'gateway.json': JSON.stringify({
        routes: [{ path: '/*', validate: { openapi: 'shop.yaml' }, respond: {} }]
      }),
      'shop.yaml': 'openapi: 3.1.0\n  paths: ['
    })
    const malformed = await sallyport(['openapi'], { cwd: shop })
    t.equal(malformed.code, 1)
    t.equal(malformed.stdout, '')
    t.match(malformed.stderr, /^gateway\.json:1:\d+ routes\[0\]\.validate\.openapi: .* shop\.yaml:2:8 /)
    const both = await sallyport(['openapi', '--json', '--yaml'], { cwd: folder })
    t.equal(both.code, 2)
  })
})

t.test('errors are described with the media types that they are sent with', async (t) => {
  const folder = t.testdir({ 'page.html': '<p>{status}' })
  const config = {
    errors: {
      format: 'text',
      bodies: {
        '4xx': { 'application/vnd.api+json': { errors: [{ status: '{status}', title: '{title}' }] } },
        '503': {
          json: { code: '{code}', to: '{query.to}', at: ['{path}', 1], is: { on: true } },
          text: 'busy'
        }
      },
      pages: { '5xx': `${folder}/page.html` }
    },
    routes: [
      { path: '/401', auth: { basic: true, users: { list: [{ name: 'ada', secret: 'a secret' }] } } },
      { path: '/503', fault: { status: 503 } },
      { path: '/502', fault: { status: 502 } },
      {
        path: '/own',
        fault: { status: 503 },
        errors: { format: 'problem+json', bodies: false, pages: false }
      },
      { path: '/off', fault: { status: 503 }, errors: false }
    ].map((route) => ({ ...route, respond: {} }))
  }
  const [json, text, html] = ['application/json', 'text/plain', 'text/html']
  const problem = 'application/problem+json'
  const cases: [path: string, status: number, types: string[]][] = [
    ['/401', 401, ['application/vnd.api+json', text]],
    ['/503', 503, [json, text, html]],
    ['/502', 502, [problem, text, html]],
    ['/own', 503, [problem]],
    ['/off', 503, [json, text, html]]
  ]
  const document = await describe(t, config)
  const app = await gateway(t, config)
  const contentAt = (path: string, status: number): Record<string, { schema: unknown }> => {
    const { $ref = '' } = operationAt(document, 'get', path).responses[status] ?? {}
    const response = document.components['responses']?.[$ref.replace(/.*\//, '')]
    return response?.['content'] as Record<string, { schema: unknown }>
  }
  for (const [path, status, types] of cases) {
    t.strictSame(Object.keys(contentAt(path, status)).toSorted(), types.toSorted(), path)
    for (const accept of [...types, '*/*']) {
      const { headers, statusCode } = await app.inject({ url: path, headers: { accept } })
      const type = String(headers['content-type']).split(';', 1)[0] ?? ''
      t.equal(statusCode, status)
      if (accept === '*/*') t.ok(types.includes(type), `${path}: ${type} is described`)
      else t.equal(type, accept, `${path} sends it`)
    }
  }
  t.strictSame(contentAt('/503', 503)[json], {
    schema: {
      type: 'object',
      required: ['code', 'at', 'is'],
      properties: {
        code: { type: 'string' },
        to: { type: 'string' },
        at: { type: 'array', items: { anyOf: [{ type: 'string' }, { type: 'number' }] } },
        is: { type: 'object', required: ['on'], properties: { on: { type: 'boolean' } } }
      }
    }
  })
})
