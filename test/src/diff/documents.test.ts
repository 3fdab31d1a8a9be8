import t from 'tap'
import { type Config, diff } from './diffs.ts'

const UPSTREAM = 'http://127.0.0.1:4001'

/** The fields of a document, and the options of the route that has it. */
interface Documented {
  readonly paths: object
  readonly [field: string]: unknown
}

type Case = readonly [
  what: string,
  before: Documented,
  after: Documented,
  found: readonly string[],
  options?: readonly [before: Config, after: Config]
]

const ID = { name: 'id', in: 'path', required: true, schema: { type: 'integer' } }
const query = (schema: object, more: object = {}): object => ({ name: 'q', in: 'query', schema, ...more })
const get = (...parameters: readonly object[]): Documented => ({
  paths: { '/orders': { get: { parameters } } }
})
const post = (content: object | undefined, more: object = {}): Documented => ({
  paths: { '/orders': { post: content === undefined ? {} : { requestBody: { content, ...more } } } }
})
const json = (schema: object): object => ({ 'application/json': { schema } })
const at = (...paths: readonly string[]): Documented => ({
  paths: Object.fromEntries(paths.map((path) => [path, { get: {} }]))
})
const REJECT = { undeclared: 'reject' }
const closed = [REJECT, REJECT] as const
const strict = [{ unknown: { query: 'reject' } }, { unknown: { query: 'reject' } }] as const
const MORE = 'widened-access accepts more: '
const LESS = 'narrowed-access accepts less: '
const MAYBE = "widened-access may accept more, which can't be decided: "

const CASES: readonly Case[] = [
  [
    'a new operation where others are refused',
    at('/a'),
    at('/a', '/b'),
    [`${MORE}GET /b, which it did not have`],
    closed
  ],
  [
    'an operation less where others are refused',
    at('/a', '/b'),
    at('/a'),
    [`${LESS}GET /b, which it no longer has`],
    closed
  ],
  ['a new operation where others pass', at('/a'), at('/a', '/b'), [`${LESS}GET /b, which was not validated`]],
  [
    'an operation less where others pass',
    at('/a', '/b'),
    at('/a'),
    [`${MORE}GET /b, which is not validated`]
  ],
  ['a path that another one matches', at('/a/{x}', '/a/b'), at('/a/{x}'), [], closed],
  [
    'a path without a text that it had',
    at('/a/{x}.pdf'),
    at('/a/{x}'),
    [`${MORE}GET /a/{x}, which it did not have`],
    closed
  ],
  [
    'another name of a parameter',
    { paths: { '/a/{id}': { get: { parameters: [ID] } } } },
    { paths: { '/a/{no}': { get: { parameters: [{ ...ID, name: 'no' }] } } } },
    []
  ],
  [
    'a parameter of the path that takes any text',
    { paths: { '/a/{id}': { get: { parameters: [ID] } } } },
    at('/a/{id}'),
    [`${MORE}GET /a/{id} (path id)`]
  ],
  [
    'a method more where others are refused',
    at('/a'),
    { paths: { '/a': { get: {}, put: {} } } },
    [`${MORE}PUT /a, which it did not have`],
    closed
  ],
  ['HEAD beside GET', at('/a'), { paths: { '/a': { get: {}, head: {} } } }, [], closed],
  [
    'HEAD that wants less than GET',
    get(query({}, { required: true })),
    { paths: { '/orders': { get: { parameters: [query({}, { required: true })] }, head: {} } } },
    [`${MORE}HEAD /orders (query q)`]
  ],
  [
    'order and texts',
    { paths: { '/a': { get: { summary: 'one' } }, '/b': {} } },
    {
      info: { title: 'Other', version: '2' },
      paths: { '/b': {}, '/a': { get: { description: 'two', tags: ['x'] } } }
    },
    []
  ],
  [
    'a schema that moves to components',
    get(query({ type: 'integer', minimum: 1 })),
    {
      ...get(query({ $ref: '#/components/schemas/Page' })),
      components: { schemas: { Page: { type: 'integer', minimum: 1, title: 'Page' } } }
    },
    []
  ],
  [
    'a lower minimum',
    get(query({ type: 'integer', minimum: 1 })),
    get(query({ type: 'integer', minimum: 0 })),
    [`${MORE}GET /orders (query q)`]
  ],
  [
    'a higher minimum',
    get(query({ type: 'integer', minimum: 1 })),
    get(query({ type: 'integer', minimum: 2 })),
    [`${LESS}GET /orders (query q)`]
  ],
  [
    'a type of what was any text',
    get(query({ type: 'string' })),
    get(query({ type: 'integer' })),
    [`${LESS}GET /orders (query q)`]
  ],
  [
    'any text for a type',
    get(query({ type: 'integer' })),
    get(query({ type: 'string' })),
    [`${MORE}GET /orders (query q)`]
  ],
  [
    'a list for a text',
    get(query({ type: 'string' })),
    get(query({ type: 'array', items: { type: 'string' } })),
    [`${MAYBE}GET /orders (query q)`]
  ],
  [
    'another pattern',
    get(query({ type: 'string', pattern: '^a' })),
    get(query({ type: 'string', pattern: '^b' })),
    [`${MAYBE}GET /orders (query q)`]
  ],
  [
    'another style of a list',
    get(query({ type: 'array' }, { explode: false })),
    get(query({ type: 'array' }, { explode: false, style: 'pipeDelimited' })),
    [`${MAYBE}GET /orders (query q)`]
  ],
  [
    'a parameter that is required',
    get(query({})),
    get(query({}, { required: true })),
    [`${LESS}GET /orders (query q)`]
  ],
  [
    'a parameter that is no longer required',
    get(query({}, { required: true })),
    get(query({})),
    [`${MORE}GET /orders (query q)`]
  ],
  [
    'a value that may be empty',
    get(query({ type: 'integer' })),
    get(query({ type: 'integer' }, { allowEmptyValue: true })),
    [`${MORE}GET /orders (query q)`]
  ],
  ['a parameter less', get(query({ type: 'integer' })), get(), [`${MORE}GET /orders (query q)`]],
  ['a parameter more', get(), get(query({ type: 'integer' })), [`${LESS}GET /orders (query q)`]],
  [
    'a parameter less where unknown ones are refused',
    get(query({ type: 'integer' })),
    get(),
    [`${LESS}GET /orders (query q)`],
    strict
  ],
  [
    'a required parameter less where unknown ones are refused',
    get(query({}, { required: true })),
    get(),
    [`${MORE}GET /orders (query q)`],
    strict
  ],
  [
    'a parameter more where unknown ones are refused',
    get(),
    get(query({ type: 'integer' })),
    [`${MORE}GET /orders (query q)`],
    strict
  ],
  [
    'a key in the query where unknown ones are refused',
    get(),
    { ...get(), components: { securitySchemes: { key: { type: 'apiKey', in: 'query', name: 'key' } } } },
    [`${MORE}GET /orders (query key)`],
    strict
  ],
  [
    'a header less',
    get({ name: 'X-Tenant', in: 'header', schema: {} }),
    get(),
    [`${MORE}GET /orders (header x-tenant)`]
  ],
  [
    'a cookie that is text',
    get({ name: 'c', in: 'cookie', schema: { enum: ['a'] } }),
    get({ name: 'c', in: 'cookie', schema: { enum: ['a', 'b'] } }),
    [`${MORE}GET /orders (cookie c)`]
  ],
  [
    'a parameter of the path item',
    { paths: { '/orders': { parameters: [query({ maxLength: 2 })], get: {} } } },
    get(query({ maxLength: 2 })),
    []
  ],
  [
    'a body that is larger',
    post(json({ type: 'object', maxProperties: 2 })),
    post(json({ type: 'object', maxProperties: 3 })),
    [`${MORE}POST /orders (body application/json)`]
  ],
  [
    'a body that is smaller',
    post(json({ type: 'object', maxProperties: 2 })),
    post(json({ type: 'object', maxProperties: 1 })),
    [`${LESS}POST /orders (body application/json)`]
  ],
  ['a body that is not described', post(json({})), post(undefined), [`${MORE}POST /orders (body)`]],
  ['a body that is described', post(undefined), post(json({})), [`${LESS}POST /orders (body)`]],
  [
    'a body that may be missing',
    post(json({}), { required: true }),
    post(json({})),
    [`${MORE}POST /orders (no body)`]
  ],
  [
    'a body that has to be there',
    post(json({})),
    post(json({}), { required: true }),
    [`${LESS}POST /orders (no body)`]
  ],
  [
    'another media type',
    post(json({})),
    post({ ...json({}), 'text/plain': {} }),
    [`${MORE}POST /orders (body text/plain)`]
  ],
  [
    'a media type less',
    post({ ...json({}), 'text/plain': {} }),
    post(json({})),
    [`${LESS}POST /orders (body text/plain)`]
  ],
  [
    'a range for a type',
    post({ 'text/plain': {} }),
    post({ 'text/*': {} }),
    [`${MORE}POST /orders (body text/other, body text/other+json)`]
  ],
  [
    'every type for JSON',
    post(json({ type: 'object' })),
    post({ '*/*': { schema: { type: 'object' } } }),
    [`${MORE}POST /orders (body other/other, body other/other+json, body application/x-www-form-urlencoded)`]
  ],
  [
    'a form with another type',
    post({ 'application/x-www-form-urlencoded': { schema: { properties: { a: { type: 'integer' } } } } }),
    post({ 'application/x-www-form-urlencoded': { schema: { properties: { a: { type: 'string' } } } } }),
    [`${MAYBE}POST /orders (body application/x-www-form-urlencoded)`]
  ],
  [
    'a schema of 3.0',
    { openapi: '3.0.3', ...post(json({ type: 'string', nullable: true })) },
    post(json({ type: ['string', 'null'] })),
    []
  ],
  [
    'what only responses have',
    post(json({ required: ['a'], properties: { a: { readOnly: true } } })),
    post(json({ properties: { a: {} } })),
    []
  ],
  [
    'responses',
    { paths: { '/a': { get: { responses: { '200': {} } } } } },
    { paths: { '/a': { get: { responses: { '404': {} } } } } },
    []
  ],
  [
    'an operation that is deprecated',
    at('/a'),
    { paths: { '/a': { get: { deprecated: true } } } },
    ['exposure tells clients otherwise whether these are deprecated: GET /a']
  ],
  ['paths of a server that are not used', at('/a'), { ...at('/a'), servers: [{ url: '/v1' }] }, []],
  [
    'paths of a server that move to the operations',
    { ...at('/orders'), servers: [{ url: '/v1' }] },
    at('/v1/orders'),
    [],
    [{ servers: true }, {}]
  ],
  [
    'paths of a server',
    at('/orders'),
    { ...at('/orders'), servers: [{ url: '/v1' }] },
    [`${LESS}GET /orders, which it no longer has`, `${MORE}GET /v1/orders, which it did not have`],
    [REJECT, { ...REJECT, servers: true }]
  ],
  ['a base that moves to the operations', at('/orders'), at('/api/orders'), [], [{ base: '/shop/api' }, {}]],
  [
    'another base',
    at('/orders'),
    at('/orders'),
    [`${LESS}GET /orders, which it no longer has`, `${MORE}GET /orders, which it did not have`],
    [
      { ...REJECT, base: '/shop/a' },
      { ...REJECT, base: '/shop/b' }
    ]
  ],
  [
    'a whole query',
    { openapi: '3.2.0', ...get() },
    { openapi: '3.2.0', ...get({ name: 'q', in: 'querystring', content: {} }) },
    [`${MORE}GET /orders (query)`],
    strict
  ]
]

t.test('compares OpenAPI documents by the requests that they accept', async (t) => {
  for (const [what, before, after, expected, [options, nextOptions] = [{}, {}]] of CASES) {
    const documentOf = (fields: Documented): string =>
      JSON.stringify({ openapi: '3.1.0', info: { title: 'Shop', version: '1' }, ...fields })
    const folder = t.testdir({ 'old.json': documentOf(before), 'new.json': documentOf(after) })
    const config = (file: string, own: Config): Config => ({
      routes: [
        { path: '/shop/*', validate: { openapi: `${folder}/${file}`, ...own }, proxy: { upstream: UPSTREAM } }
      ]
    })
    const found = await diff(config('old.json', options), config('new.json', nextOptions))
    t.strictSame(
      found.map(({ class: kind, message }) => `${kind} ${message}`).toSorted(),
      expected.toSorted(),
      what
    )
  }
})

t.test('compares the routes of the operations of a document', async (t) => {
  const document = (paths: object, fields: object = {}): string =>
    JSON.stringify({ openapi: '3.1.0', info: { title: 'Shop', version: '1' }, paths, ...fields })
  const jwt = { secret: 'a'.repeat(32), algorithms: ['HS256'] }
  const schemes = { components: { securitySchemes: { token: { type: 'oauth2', flows: {} } } } }
  const wanted = (scopes: readonly string[]): object => ({
    '/a': { get: { security: [{ token: scopes }] } },
    '/c': { get: { security: [{ token: ['c'] }] } }
  })
  const open = { ...wanted([]), '/a': { get: { security: [] } } }
  const [a, b] = [{ get: { parameters: [query({ type: 'integer' })] } }, { get: {}, put: {} }]
  const folder = t.testdir({
    'a.json': document({ '/a': a }),
    'ab.json': document({ '/a': a, '/b': b }),
    'wider.json': document({ '/a': { get: {} }, '/b': b }),
    'read.json': document(wanted(['read']), schemes),
    'write.json': document(wanted(['read', 'write']), schemes),
    'open.json': document(open, schemes)
  })
  const group = (file: string, options: Config = {}): Config => ({
    routes: [{ path: '/shop', operations: `${folder}/${file}`, proxy: { upstream: UPSTREAM }, ...options }]
  })
  const secured = (file: string): Config => group(file, { auth: { jwt, openapi: true } })
  const LISTED =
    'Requests are answered that were not, by an upstream that only the operations of an OpenAPI document reached'
  const cases: [what: string, before: Config, after: Config, found: string[]][] = [
    ['the same', group('ab.json'), group('ab.json'), []],
    ['new operations', group('a.json'), group('ab.json'), [`widened-access undefined ${LISTED}`]],
    [
      'operations less',
      group('ab.json'),
      group('a.json'),
      [
        'narrowed-access undefined Requests are no longer answered, since the document does not list them any more'
      ]
    ],
    [
      'an operation that wants less',
      group('ab.json'),
      group('wider.json'),
      ['widened-access validate.openapi accepts more: GET /a (query q)']
    ],
    [
      'fewer scopes',
      secured('write.json'),
      secured('read.json'),
      ['widened-access auth.require.scopes no longer requires a scope: write']
    ],
    [
      'more scopes',
      secured('read.json'),
      secured('write.json'),
      ['narrowed-access auth.require.scopes requires another scope: write']
    ],
    ['no security', secured('read.json'), secured('open.json'), ['widened-access auth is off']],
    ['no group', group('a.json'), { routes: [] }, ['removed undefined Requests are no longer answered']]
  ]
  for (const [what, before, after, expected] of cases) {
    const found = await diff(before, after)
    t.strictSame(
      found.map(({ class: kind, option, message }) => `${kind} ${option} ${message}`),
      expected,
      what
    )
  }
  const [added] = await diff(group('a.json'), group('ab.json'))
  t.strictSame(
    added?.routes.map(({ after }) => after),
    ['GET /b', 'PUT /b']
  )
})

t.test('compares documents below the paths that a route has in each config', async (t) => {
  const folder = t.testdir({
    'api.json': JSON.stringify({ openapi: '3.1.0', info: { title: 'Shop', version: '1' }, ...post(json({})) })
  })
  const route = (path: string | readonly string[]): Config => ({
    routes: [{ path, validate: { openapi: `${folder}/api.json` }, proxy: { upstream: UPSTREAM } }]
  })
  t.match(await diff(route('/shop/*'), route('/*')), [
    { class: 'widened-access', message: 'accepts more: POST /orders, which is not validated' },
    { class: 'added' }
  ])
  t.strictSame(
    (await diff(route('/shop/*'), route(['/shop/*', '/s/*']))).map(({ class: kind }) => kind),
    ['added']
  )
})
