import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { gateway, type Scope, type Seen, sallyport, upstream } from '../../helpers.ts'

interface Problem {
  readonly code: string
  readonly errors?: readonly { in: string; pointer: string; keyword: string }[]
}

type TestScope = Scope & { testdir(files: Record<string, string>): string }

/** Builds a gateway with one document behind "/shop/*". */
async function shop(
  t: TestScope,
  document: object | string,
  options: object = {},
  files: Record<string, string> = {}
) {
  const folder = t.testdir({
    ...files,
    'shop.yaml': typeof document === 'string' ? document : JSON.stringify(document),
    'gateway.json': JSON.stringify({
      routes: [
        {
          path: '/shop/*',
          validate: { openapi: 'shop.yaml', ...options },
          proxy: { upstream: await upstream(t) }
        }
      ]
    })
  })
  return gateway(t, `${folder}/gateway.json`)
}

const errorsOf = (text: string): string[] =>
  ((JSON.parse(text) as Problem).errors ?? []).map((each) => `${each.in} ${each.pointer} ${each.keyword}`)

const list = { type: 'array', items: { type: 'integer' }, minItems: 1 }
const colour = {
  type: 'object',
  properties: { R: { type: 'integer' }, G: { type: 'integer' } },
  required: ['R']
}

t.test('parameters are read by style, explode and type', async (t) => {
  const kinds = { scalar: { type: 'integer' }, list, object: colour }
  type Kind = keyof typeof kinds
  // Each with what is valid and what is not; "c" is the name of the parameter.
  const cases: [
    place: string,
    style: string,
    explode: boolean,
    kind: Kind,
    valid: string[],
    invalid: string[]
  ][] = [
    ['path', 'simple', false, 'scalar', ['5', '%35'], ['x', '1,2']],
    ['path', 'simple', false, 'list', ['1', '1,2'], ['1,x', '1%2C2']],
    ['path', 'simple', false, 'object', ['R,1,G,2', 'R,1'], ['G,1', 'R', 'R,x', 'R=1']],
    ['path', 'simple', true, 'scalar', ['5'], ['x']],
    ['path', 'simple', true, 'list', ['1,2'], ['1,x']],
    ['path', 'simple', true, 'object', ['R=1,G=2'], ['R,1,G,2', 'G=1', 'R=1,R=2']],
    ['path', 'label', false, 'scalar', ['.5'], ['5', '.x']],
    ['path', 'label', false, 'list', ['.1', '.1,2'], ['1,2', '.1,x']],
    ['path', 'label', false, 'object', ['.R,1,G,2'], ['.R=1', 'R,1']],
    ['path', 'label', true, 'scalar', ['.5'], ['5']],
    ['path', 'label', true, 'list', ['.1.2'], ['.1,2', '.1.x']],
    ['path', 'label', true, 'object', ['.R=1.G=2'], ['.R,1', '.G=1']],
    ['path', 'matrix', false, 'scalar', [';c=5'], ['5', ';c=x', ';c', ';d=5', ';c=1;c=2']],
    ['path', 'matrix', false, 'list', [';c=1,2'], [';c=1;c=2', ';c=x']],
    ['path', 'matrix', false, 'object', [';c=R,1,G,2'], [';c=G,1', ';R=1']],
    ['path', 'matrix', true, 'scalar', [';c=5'], [';c=x']],
    ['path', 'matrix', true, 'list', [';c=1;c=2'], [';c=1,2', ';c=1;d=2']],
    ['path', 'matrix', true, 'object', [';R=1;G=2'], [';c=R,1', ';G=1']],
    ['query', 'form', false, 'scalar', ['c=5', 'c=%35&d=1'], ['c=x', 'c=1&c=2', 'c=', 'c', '', 'c=1,2']],
    ['query', 'form', false, 'list', ['c=1', 'c=1,2'], ['c=1&c=2', 'c=1%2C2', 'c=x', 'c=']],
    ['query', 'form', false, 'object', ['c=R,1,G,2'], ['R=1', 'c=R', 'c=G,1']],
    ['query', 'form', true, 'scalar', ['c=5'], ['c=1&c=2']],
    ['query', 'form', true, 'list', ['c=1', 'c=1&c=2'], ['c=1,2', 'c=1&c=x']],
    ['query', 'form', true, 'object', ['R=1&G=2', 'R=1'], ['G=2', 'R=x', 'R=1&R=2', 'c=R,1']],
    ['query', 'spaceDelimited', false, 'list', ['c=1%202', 'c=1+2', 'c=1'], ['c=1,2', 'c=1%20x', 'c=1&c=2']],
    ['query', 'spaceDelimited', false, 'object', ['c=R%201%20G%202'], ['c=R%201%20G', 'c=R,1']],
    ['query', 'spaceDelimited', true, 'list', ['c=1&c=2'], ['c=1%202']],
    ['query', 'pipeDelimited', false, 'list', ['c=1|2', 'c=1%7C2', 'c=1%7c2'], ['c=1,2', 'c=1|x']],
    ['query', 'pipeDelimited', false, 'object', ['c=R%7C1%7CG%7C2'], ['c=R', 'c=R,1']],
    ['query', 'pipeDelimited', true, 'list', ['c=1&c=2'], ['c=1|2']],
    [
      'query',
      'deepObject',
      true,
      'object',
      ['c[R]=1&c[G]=2', 'c%5BR%5D=1'],
      ['c[G]=1', 'c[R]=x', 'c=R,1', 'c[R]=1&c[R]=2', 'R=1']
    ],
    ['header', 'simple', false, 'scalar', ['5', ' 5 '], ['x', '1,2']],
    ['header', 'simple', false, 'list', ['1, 2', '1'], ['1,x']],
    ['header', 'simple', false, 'object', ['R,1,G,2'], ['R=1', 'G,1']],
    ['header', 'simple', true, 'scalar', ['5'], ['x']],
    ['header', 'simple', true, 'list', ['1,2'], ['x']],
    ['header', 'simple', true, 'object', ['R=1,G=2'], ['R,1', 'G=1']],
    ['cookie', 'form', false, 'scalar', ['c=5', 'd=1; c=5'], ['c=x', 'c=1; c=2', 'd=1']],
    ['cookie', 'form', false, 'list', ['c=1,2'], ['c=x']],
    ['cookie', 'form', false, 'object', ['c=R,1,G,2'], ['c=G,1']],
    ['cookie', 'form', true, 'scalar', ['c=5'], ['c=x']],
    ['cookie', 'form', true, 'list', ['c=1; c=2'], ['c=x']],
    ['cookie', 'form', true, 'object', ['R=1; G=2'], ['G=2']]
  ]
  const paths = Object.fromEntries(
    cases.map(([place, style, explode, kind], i) => [
      place === 'path' ? `/${i}/{c}` : `/${i}`,
      { get: { parameters: [{ name: 'c', in: place, required: true, style, explode, schema: kinds[kind] }] } }
    ])
  )
  const app = await shop(t, { openapi: '3.1.0', paths }, { undeclared: 'reject' })
  for (const [i, [place, style, explode, kind, valid, invalid]] of cases.entries())
    for (const [texts, status] of [
      [valid, 200],
      [invalid, 400]
    ] as const)
      for (const text of texts) {
        const url = `/shop/${i}${place === 'path' ? `/${text}` : place === 'query' ? `?${text}` : ''}`
        const headers = place === 'header' ? { c: text } : place === 'cookie' ? { cookie: text } : {}
        const answer = await app.inject({ url, headers })
        t.equal(answer.statusCode, status, `${place} ${style} explode=${explode} ${kind}: ${text}`)
        if (status === 400 && answer.statusCode === 400)
          t.match(answer.json<Problem>().errors?.[0]?.pointer, /^#\/c/)
      }
})

const yaml = `openapi: "3.0.3"
info: { title: Shop, version: "1" }
servers: [{ url: "https://api.example.com/{stage}", variables: { stage: { default: v1 } } }]
paths:
  /orders/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: integer, minimum: 1 } }
      - $ref: "#/components/parameters/Trace"
    get: { deprecated: true }
    put:
      operationId: putOrder
      requestBody: { $ref: "#/components/requestBodies/Order" }
  /orders/latest:
    get: { parameters: [{ name: n, in: query, schema: { type: integer } }] }
  /files/{name}.{ext}:
    get: { parameters: [{ name: ext, in: path, required: true, schema: { enum: [pdf, png] } }] }
  /forms:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded: { schema: { $ref: "#/components/schemas/Form" } }
          multipart/*: {}
          text/plain: { schema: { type: string } }
  /search:
    get:
      parameters:
        - { name: filter, in: query, content: { application/json: { schema: { type: object, required: [q] } } } }
        - { name: empty, in: query, allowEmptyValue: true, schema: { type: integer } }
components:
  securitySchemes: { key: { type: apiKey, in: query, name: api_key } }
  parameters:
    Trace: { name: X-Trace, in: header, schema: { type: string, maxLength: 4 } }
  requestBodies:
    Order: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } } }
  schemas:
    Order:
      type: object
      required: [id, total]
      properties:
        id: { type: integer, readOnly: true }
        total: { type: number, minimum: 0, exclusiveMinimum: true }
        note: { type: string, nullable: true }
        next: { $ref: "#/components/schemas/Order" }
    Form: { type: object, required: [a], properties: { a: { type: integer }, tags: { type: array, items: { type: boolean } } } }
`

t.test('requests are judged by their operation', async (t) => {
  const app = await shop(t, yaml)
  const cases: [
    what: string,
    method: 'GET' | 'PUT' | 'POST',
    url: string,
    errors: string[],
    body?: [type: string, text: string]
  ][] = [
    ['a valid request', 'GET', '/orders/1', []],
    ['a parameter of the path item', 'GET', '/orders/0', ['params #/id minimum']],
    ['a concrete path first', 'GET', '/orders/latest?n=x', ['query #/n type']],
    ['two parameters in one segment', 'GET', '/files/a.b.pdf', ['params #/ext enum']],
    ['a dot in the name', 'GET', '/files/a.pdf', []],
    ['what only responses have', 'PUT', '/orders/1', [], ['application/json', '{"total":1,"note":null}']],
    [
      'a schema of 3.0',
      'PUT',
      '/orders/1',
      ['body #/total exclusiveMinimum'],
      ['application/json', '{"total":0}']
    ],
    [
      'a recursive schema',
      'PUT',
      '/orders/1',
      ['body #/next required'],
      ['application/json', '{"total":1,"next":{}}']
    ],
    ['no body', 'PUT', '/orders/1', ['body # required']],
    [
      'a key twice',
      'PUT',
      '/orders/1',
      ['body #/total duplicateKey'],
      ['application/json', '{"total":1,"total":2}']
    ],
    ['a form', 'POST', '/forms', [], ['application/x-www-form-urlencoded', 'a=1&tags=true&tags=false']],
    [
      'a wrong form',
      'POST',
      '/forms',
      ['body #/tags/0 type'],
      ['application/x-www-form-urlencoded', 'a=1&tags=x']
    ],
    [
      'a field twice',
      'POST',
      '/forms',
      ['body #/a repeated'],
      ['application/x-www-form-urlencoded', 'a=1&a=2']
    ],
    ['a range of types', 'POST', '/forms', [], ['multipart/mixed; boundary=x', 'anything']],
    ['JSON in a parameter', 'GET', '/search?filter=%7B%22q%22%3A1%7D&empty=', []],
    ['wrong JSON in a parameter', 'GET', '/search?filter=%7B%7D', ['query #/filter required']],
    ['no JSON in a parameter', 'GET', '/search?filter=x', ['query #/filter style']],
    ['what is not declared', 'POST', '/orders/1', []],
    ['an unknown path', 'GET', '/other', []]
  ]
  for (const [what, method, url, errors, [type = '', text] = []] of cases) {
    const answer = await app.inject({
      method,
      url: `/shop${url}`,
      ...(text === undefined ? {} : { headers: { 'content-type': type }, payload: text })
    })
    t.equal(answer.statusCode, errors.length === 0 ? 200 : 400, what)
    if (errors.length > 0) t.strictSame(errorsOf(answer.body), errors, what)
    else if (text !== undefined) t.equal(answer.json<Seen>().body, text)
  }
  t.equal((await app.inject({ url: '/shop/orders/1', headers: { 'x-trace': 'long trace' } })).statusCode, 400)
  const xml = await app.inject({
    method: 'PUT',
    url: '/shop/orders/1',
    headers: { 'content-type': 'application/xml' },
    payload: '<a/>'
  })
  t.match(xml.json<Problem>(), { status: 415, code: 'SP_ERR_VALIDATE_MEDIA', detail: /application\/json/ })
  t.equal((await app.inject('/shop/orders/1')).headers['deprecation'], '@0', 'RFC 9745')
  t.equal((await app.inject('/shop/orders/latest')).headers['deprecation'], undefined)
})

t.test('the more concrete of two paths is found, whatever stands between them', async (t) => {
  const parameter = (name: string, schema: object): object => ({ name, in: 'path', required: true, schema })
  const [a, b] = [parameter('a', {}), parameter('b', { type: 'integer' })]
  const app = await shop(t, {
    openapi: '3.1.0',
    info: { title: 'Shop', version: '1' },
    paths: {
      '/{a}/{b}': { get: { parameters: [a, b] } },
      '/{c}': { get: {} },
      '/{a}/latest': { get: { parameters: [a] } }
    }
  })
  t.equal((await app.inject('/shop/orders/latest')).statusCode, 200)
  t.equal((await app.inject('/shop/orders/other')).statusCode, 400)
})

t.test('a header that is sent twice is a list or wrong', async (t) => {
  const header = (name: string, schema: object): object => ({ name, in: 'header', schema })
  const parameters = [header('X-One', { type: 'string' }), header('X-Many', list)]
  const app = await shop(t, { openapi: '3.1.0', paths: { '/a': { get: { parameters } } } })
  t.equal((await app.inject({ url: '/shop/a', headers: { 'x-many': ['1', '2'] } })).statusCode, 200)
  const twice = await app.inject({ url: '/shop/a', headers: { 'x-one': ['1', '2'] } })
  t.strictSame(errorsOf(twice.body), ['headers #/x-one repeated'])
})

t.test('what a document does not declare is rejected on request', async (t) => {
  const app = await shop(t, yaml, { undeclared: 'reject' })
  const cases: [method: 'GET' | 'HEAD' | 'POST' | 'DELETE', url: string, status: number, code?: string][] = [
    ['GET', '/orders/1', 200],
    ['HEAD', '/orders/1', 200],
    ['GET', '/orders/1/', 404, 'SP_ERR_VALIDATE_PATH'],
    ['GET', '/orders', 404, 'SP_ERR_VALIDATE_PATH'],
    ['GET', '', 404, 'SP_ERR_VALIDATE_PATH'],
    ['GET', '/files/pdf', 404, 'SP_ERR_VALIDATE_PATH'],
    ['GET', '/files/.pdf', 404, 'SP_ERR_VALIDATE_PATH'],
    ['DELETE', '/orders/1', 405, 'SP_ERR_VALIDATE_METHOD']
  ]
  for (const [method, url, status, code] of cases) {
    const answer = await app.inject({ method, url: `/shop${url}` })
    t.equal(answer.statusCode, status, `${method} ${url}`)
    if (code !== undefined) t.equal(answer.json<Problem>().code, code)
    if (status === 405) t.equal(answer.headers['allow'], 'GET, HEAD, PUT')
  }
})

t.test('the paths of servers come first on request', async (t) => {
  const app = await shop(t, yaml, { undeclared: 'reject', servers: true })
  t.equal((await app.inject('/shop/v1/orders/1')).statusCode, 200)
  t.equal((await app.inject('/shop/orders/1')).statusCode, 404)
})

t.test('undeclared query parameters are rejected or dropped, keys of the document are not', async (t) => {
  const query = { properties: { page: { type: 'integer' } } }
  const drop = await shop(t, yaml, { unknown: { query: 'drop' }, query })
  t.equal(
    (await drop.inject('/shop/orders/latest?x=1&n=2&api_key=k&page=1')).json<Seen>().url,
    '/shop/orders/latest?n=2&api_key=k&page=1'
  )
  t.equal((await drop.inject('/shop/orders/latest?page=x')).statusCode, 400)
  const strict = await shop(t, yaml, { unknown: { query: 'reject' } })
  t.strictSame(errorsOf((await strict.inject('/shop/orders/latest?x=1')).body), ['query #/x unknown'])
  t.equal((await strict.inject('/shop/orders/latest?n=1&api_key=k')).statusCode, 200)
})

t.test('a document may be of 3.2, and refer to other files', async (t) => {
  const app = await shop(
    t,
    {
      openapi: '3.2.0',
      paths: {
        '/find': {
          query: {
            requestBody: {
              required: true,
              content: { 'application/json': { schema: { $ref: 'parts.yaml#/Find' } } }
            }
          },
          additionalOperations: { PURGE: { parameters: [{ $ref: 'parts.yaml#/Tag' }] } }
        }
      }
    },
    { undeclared: 'reject' },
    {
      'parts.yaml':
        'Find: { type: object, properties: { q: { $ref: "#/Text" } } }\nText: { type: string }\nTag: { name: tag, in: query, required: true, schema: { $ref: "#/Text" } }\n'
    }
  )
  const find = (payload: object) =>
    app.inject({
      method: 'QUERY' as 'GET',
      url: '/shop/find',
      headers: { 'content-type': 'application/json' },
      payload
    })
  t.equal((await find({ q: 'a' })).statusCode, 200)
  t.strictSame(errorsOf((await find({ q: 1 })).body), ['body #/q type'])
  t.equal((await app.inject('/shop/find')).headers['allow'], 'PURGE, QUERY')
})

t.test('a document that is none is an error of the config', async (t) => {
  const cases: [document: string, message: RegExp][] = [
    ['a: 1\n', /got one without "openapi"/],
    ['swagger: "2.0"\n', /got version 2\.0/],
    ['openapi: "4.0.0"\n', /got version 4\.0\.0/],
    ['[1]', /got no object/],
    [
      '{"openapi": "3.1.0", "paths": {',
      /gateway\.json:1:\d+ .* got no YAML: .*shop\.yaml:2:1 unexpected end/
    ],
    ['openapi: "3.1.0"\npaths:\n  a: 1\n b: 2\n', /got no YAML: .*shop\.yaml:4:\d bad indentation/]
  ]
  for (const [document, message] of cases) await t.rejects(shop(t, document), { message }, document)
  await t.rejects(
    loadConfig({ routes: [{ path: '/', validate: { openapi: '/nothing.yaml' }, respond: {} }] }, {}),
    { message: /nothing\.yaml, which can't be read/ }
  )
  const folder = t.testdir({ 'shop.json': '{\n  "openapi": "3.1.0",\n}' })
  await t.rejects(
    loadConfig({ routes: [{ path: '/', validate: { openapi: `${folder}/shop.json` }, respond: {} }] }, {}),
    { message: /got no JSON: .*shop\.json:3:1 / }
  )
})

t.test('check warns of what a document has', async (t) => {
  const folder = t.testdir({
    'shop.yaml': `openapi: "3.1.0"
security: [{ key: [] }]
paths:
  /a:
    get:
      parameters:
        - { name: a, in: query, schema: { type: string, format: colour } }
        - { name: b, in: query, schema: { pattern: "^(?=x)" } }
        - { name: d, in: query, schema: { $ref: "parts.yaml#/D" } }
`,
    'parts.yaml': 'D: { type: string }\n',
    'gateway.json': JSON.stringify({
      routes: [{ name: 'shop', path: '/*', validate: { openapi: 'shop.yaml' }, respond: {} }]
    })
  })
  const { stdout, stderr } = await sallyport(['check', '-c', `${folder}/gateway.json`])
  for (const text of [
    'a format that is not known, so that every text is valid: colour (',
    'shop.yaml:7:33)',
    'a pattern that the linear-time engine does not take: ^(?=x) (',
    'is public, and 1 operations of shop.yaml want security'
  ])
    t.ok(`${stdout}${stderr}`.includes(text), text)
  const { files } = await loadConfig(`${folder}/gateway.json`, {})
  for (const name of ['shop.yaml', 'parts.yaml'])
    t.ok(files.includes(`${folder}/${name}`), `${name} is watched`)
})

t.test('check names the paths of a document that no request can reach', async (t) => {
  const get = { get: { responses: { 200: { description: 'fine' } } } }
  const openapi = 'shop.json'
  const routes = [
    { path: '/items', validate: { openapi } },
    { path: '/wildcard/*', validate: { openapi } },
    { path: '/orders', validate: { openapi, base: '/' } },
    { path: '/v1/items/:item', validate: { openapi, base: '/v1' } },
    { path: '/v2/items/*', validate: { openapi, base: '/v3' } },
    { path: '/shop', operations: openapi }
  ]
  const folder = t.testdir({
    [openapi]: JSON.stringify({
      openapi: '3.1.0',
      paths: { '/items': get, '/items/{id}': get, '/orders': get }
    }),
    'gateway.json': JSON.stringify({
      routes: routes.map((route) => ({ ...route, proxy: { upstream: 'http://localhost:9' } }))
    })
  })
  const { stdout } = await sallyport(['check', '-c', `${folder}/gateway.json`])
  const warned = (name: string, base: string): string =>
    `The route ${name} validates by shop.json, whose paths are below ${base}, so that no request can be for /items, /items/{id}, /orders; set "validate": { "base": … } to the path that they are below, such as "/" [SP_WARN_VALIDATE_UNREACHABLE, medium]`
  t.same(
    [...stdout.matchAll(/The route.* so that no request can be for .*/g)].map(([text]) => text),
    [warned('/items', '/items'), warned('/v2/items/*', '/v3')]
  )
})

t.test(
  'a schema that can not be used is an error of the config, with its place in the document',
  async (t) => {
    const parameter = (schema: string): string => `openapi: "3.1.0"
paths:
  /a:
    get:
      parameters:
        - name: a
          in: query
          schema: ${schema}
components: { schemas: { A: { type: text } } }
`
    const cases: [schema: string, message: RegExp][] = [
      [
        '{ $ref: "#/components/schemas/None" }',
        /shop\.yaml:8:11 refers to #\/components\/schemas\/None, which is not/
      ],
      ['{ $ref: "https://example.com/a.json" }', /nothing is fetched over HTTP/],
      ['{ $ref: "parts.yaml#/None" }', /refers to parts\.yaml#\/None, which is not there/],
      ['{ $ref: "parts.yaml#/Bad" }', /parts\.yaml:2:8 must be number/],
      ['{ minimum: one }', /shop\.yaml:8:21 must be number/],
      ['{ items: { pattern: "(" } }', /shop\.yaml:8:11 has a pattern that is no regular expression/],
      ['{ $ref: "#/components/schemas/A" }', /shop\.yaml:9:31 must be one of array, boolean/]
    ]
    const files = { 'parts.yaml': 'Bad:\n     { minimum: one }\n' }
    for (const [schema, message] of cases)
      await t.rejects(shop(t, parameter(schema), {}, files), { message }, schema)
  }
)
