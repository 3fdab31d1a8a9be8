import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { gateway, type Seen, upstream } from '../../helpers.ts'

interface Problem {
  readonly code: string
  readonly errors?: readonly { in: string; pointer: string; keyword: string; detail: string }[]
  readonly more?: number
}

const order = {
  type: 'object',
  required: ['items'],
  additionalProperties: false,
  properties: {
    items: {
      type: 'array',
      items: {
        type: 'object',
        required: ['price'],
        properties: { price: { type: 'number' }, sku: { type: 'string' } }
      }
    },
    note: { type: 'string', maxLength: 10 }
  }
}

const words = {
  params: { properties: { id: { type: 'integer', minimum: 1 } } },
  query: {
    properties: {
      limit: { type: 'integer', maximum: 100 },
      flag: { type: 'boolean' },
      tags: { type: 'array', items: { type: 'integer' }, maxItems: 3 },
      sort: { enum: ['up', 'down'] },
      none: { type: 'null' }
    }
  },
  headers: {
    required: ['X-Tenant'],
    properties: {
      'X-Tenant': { type: 'string', pattern: '^[a-z]+$' },
      'X-Ids': { type: 'array', items: { type: 'integer' } }
    }
  },
  body: order
}

const headers = { 'x-tenant': 'shop' }
const json = { ...headers, 'content-type': 'application/json' }

t.test('params, query and headers are judged as the types of their schema', async (t) => {
  const app = await gateway(t, {
    routes: [{ path: '/orders/:id', validate: words, proxy: { upstream: await upstream(t) } }]
  })
  const cases: [url: string, more: Record<string, string | string[]>, errors: string[]][] = [
    ['/orders/7', {}, []],
    ['/orders/7?limit=100&flag=true&tags=1&tags=2&sort=up&none=', {}, []],
    ['/orders/7?limit=%31%30', {}, []],
    ['/orders/7?other=1&other=2', {}, []],
    ['/orders/0', {}, ['params #/id minimum']],
    ['/orders/x', {}, ['params #/id type']],
    ['/orders/7?limit=101', {}, ['query #/limit maximum']],
    ['/orders/7?limit=1&limit=2', {}, ['query #/limit repeated']],
    ['/orders/7?limit=0x10', {}, ['query #/limit type']],
    ['/orders/7?limit=007', {}, ['query #/limit type']],
    ['/orders/7?limit=', {}, ['query #/limit type']],
    ['/orders/7?limit=1e999', {}, ['query #/limit type']],
    ['/orders/7?li%6Dit=999', {}, ['query #/limit maximum']],
    ['/orders/7?flag=1', {}, ['query #/flag type']],
    ['/orders/7?tags=1', {}, []],
    ['/orders/7?tags=1&tags=2&tags=3&tags=4', {}, ['query #/tags maxItems']],
    ['/orders/7?tags=1&tags=x', {}, ['query #/tags/1 type']],
    ['/orders/7?sort=sideways', {}, ['query #/sort enum']],
    ['/orders/7?sort=%ff', {}, ['query # encoding']],
    ['/orders/7', { 'x-ids': '1, 2,3' }, []],
    ['/orders/7', { 'x-ids': '1, x' }, ['headers #/x-ids/1 type']],
    ['/orders/7', { 'x-tenant': 'Shop' }, ['headers #/x-tenant pattern']],
    ['/orders/7', { x_tenant: 'other' }, []],
    ['/orders/7', { connection: 'x-tenant' }, ['headers # required']],
    [
      '/orders/x?limit=999',
      { 'x-tenant': '1' },
      ['params #/id type', 'query #/limit maximum', 'headers #/x-tenant pattern']
    ]
  ]
  for (const [url, more, errors] of cases) {
    const answer = await app.inject({ url, headers: { ...headers, ...more } })
    t.equal(answer.statusCode, errors.length === 0 ? 200 : 400, url)
    if (errors.length === 0) t.equal(answer.json<Seen>().url, url, 'what is valid goes on as it came')
    else {
      const problem = answer.json<Problem>()
      t.equal(problem.code, 'SP_ERR_VALIDATE_INVALID')
      t.strictSame(
        problem.errors?.map((each) => `${each.in} ${each.pointer} ${each.keyword}`),
        errors,
        url
      )
    }
  }
  const none = await app.inject('/orders/7')
  t.match(none.json<Problem>().errors, [{ in: 'headers', pointer: '#', keyword: 'required' }])
})

t.test('a schema of headers names those that it requires or makes conditions of', async (t) => {
  const cases: [schema: object, headers: Record<string, string>, status: number][] = [
    [{ required: ['X-Tenant'] }, {}, 400],
    [{ required: ['X-Tenant'] }, { 'x-tenant': 'a' }, 200],
    [{ required: ['constructor'] }, {}, 400],
    [{ required: ['constructor'] }, { constructor: 'a' }, 200],
    [{ not: { required: ['X-Debug'] } }, {}, 200],
    [{ not: { required: ['X-Debug'] } }, { 'x-debug': '1' }, 400],
    [
      { anyOf: [{ required: ['X-A'] }, { properties: { 'X-B': { const: '1' } }, required: ['X-B'] }] },
      {},
      400
    ],
    [{ anyOf: [{ required: ['X-A'] }, { required: ['X-B'] }] }, { 'x-b': '1' }, 200],
    [{ allOf: [{ properties: { 'X-A': { type: 'integer' } } }] }, { 'x-a': 'b' }, 400],
    [{ allOf: [{ properties: { 'X-A': { type: 'integer' } } }] }, { 'x-a': '7' }, 200],
    [{ dependentRequired: { 'x-a': ['x-b'] } }, { 'x-a': '1' }, 400],
    [{ dependentRequired: { 'x-a': ['x-b'] } }, { 'x-a': '1', 'x-b': '1' }, 200],
    [{ dependentRequired: { 'X-A': ['X-B'] } }, { 'x-a': '1' }, 400],
    [{ dependentSchemas: { 'X-A': { required: ['X-B'] } } }, { 'x-a': '1' }, 400],
    [{ dependentSchemas: { 'x-a': { required: ['x-b'] } } }, { 'x-a': '1' }, 400],
    [{ if: { not: { required: ['x-a'] } }, else: { required: ['x-b'] } }, { 'x-a': '1' }, 400],
    [{ $ref: '#/$defs/a', $defs: { a: { required: ['X-A'] } } }, { 'x-a': '1' }, 200]
  ]
  for (const [schema, headers, status] of cases) {
    const app = await gateway(t, {
      routes: [{ path: '/', validate: { headers: schema }, respond: { body: 'valid' } }]
    })
    const answer = await app.inject({ url: '/', headers })
    t.equal(answer.statusCode, status, `${JSON.stringify(schema)} ${JSON.stringify(headers)}`)
  }
})

t.test('a body is judged and goes on as the bytes that came', async (t) => {
  const app = await gateway(t, {
    routes: [{ path: '/orders/:id', validate: words, proxy: { upstream: await upstream(t) } }]
  })
  const valid = ' { "items" : [ { "price" : 1.50e0 } ] }\n'
  for (const type of [
    'application/json',
    'application/JSON; charset=UTF-8',
    'application/vnd.shop+json; v="1"'
  ]) {
    const answer = await app.inject({
      method: 'POST',
      url: '/orders/1',
      headers: { ...headers, 'content-type': type },
      payload: valid
    })
    t.equal(answer.statusCode, 200, type)
    t.equal(answer.json<Seen>().body, valid)
  }
  const post = async (payload: string | Buffer, more: Record<string, string> = {}) => {
    const answer = await app.inject({
      method: 'POST',
      url: '/orders/1',
      headers: { ...json, ...more },
      payload
    })
    return { status: answer.statusCode, problem: answer.json<Problem>() }
  }
  const deep = `{"items":${'['.repeat(70)}${']'.repeat(70)}}`
  const wide = JSON.stringify({ items: Array.from({ length: 10_001 }, () => ({ price: 1 })) })
  const cases: [what: string, payload: string | Buffer, error: string][] = [
    ['a wrong type', '{"items":[{"price":"1"}]}', '#/items/0/price type'],
    ['an unknown key', '{"items":[],"x":1}', '#/x additionalProperties'],
    ['a missing key', '{}', '# required'],
    ['no JSON', '{"items":[}', '# json'],
    ['two documents', '{"items":[]}{}', '# json'],
    ['NaN', '{"items":[{"price":NaN}]}', '# json'],
    ['nothing', '', '# required'],
    ['a key twice', '{"items":[{"price":1,"price":"1"}]}', '#/items/0/price duplicateKey'],
    ['a key twice, once escaped', '{"items":[],"it\\u0065ms":"x"}', '#/items duplicateKey'],
    ['__proto__', '{"items":[],"__proto__":{}}', '#/__proto__ proto'],
    ['depth', deep, `#/items${'/0'.repeat(63)} depth`],
    ['many keys', wide, '#/items/9999/price keys'],
    ['bad UTF-8', Buffer.from('7b226974656d73223a5b5d2c226e6f7465223a22ff227d', 'hex'), '# utf8'],
    ['a byte order mark', '\ufeff{"items":[]}', '# bom'],
    ['UTF-16', Buffer.from('{"items":[]}', 'utf16le'), '# json']
  ]
  for (const [what, payload, error] of cases) {
    const { status, problem } = await post(payload)
    t.equal(status, 400, what)
    t.equal(problem.code, 'SP_ERR_VALIDATE_INVALID', what)
    t.strictSame(
      problem.errors?.map(({ pointer, keyword }) => `${pointer} ${keyword}`),
      [error],
      what
    )
  }
  const many = await post(JSON.stringify({ items: Array.from({ length: 111 }, () => ({ price: 'secret' })) }))
  t.equal(many.problem.errors?.length, 20)
  t.equal(many.problem.more, 91)
  t.notMatch(JSON.stringify(many), /secret/)
  for (const type of [
    'text/plain',
    'application/xml',
    'application/jsonx',
    'application/json; charset=utf-16',
    'json'
  ])
    t.match(
      await post('{"items":[]}', { 'content-type': type }),
      { status: 415, problem: { code: 'SP_ERR_VALIDATE_MEDIA' } },
      type
    )
})

t.test('an encoded body is decoded for judging alone', async (t) => {
  const seen: Buffer[] = []
  const own = await upstream(t, (request, response) => {
    request.on('data', (chunk: Buffer) => seen.push(chunk))
    request.on('end', () => response.end(request.headers['content-encoding']))
  })
  const app = await gateway(t, {
    routes: [{ path: '/', validate: { body: order, maxBody: '64kb' }, proxy: { upstream: own } }]
  })
  const post = (payload: Buffer, coding: string) =>
    app.inject({ method: 'POST', url: '/', headers: { ...json, 'content-encoding': coding }, payload })
  const valid = Buffer.from('{"items":[{"price":1}]}')
  const codings: [coding: string, encode: (body: Buffer) => Buffer][] = [
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['GZIP', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['deflate', deflateSync],
    ['identity', (body) => body]
  ]
  for (const [coding, encode] of codings) {
    seen.length = 0
    const answer = await post(encode(valid), coding)
    t.equal(answer.statusCode, 200, coding)
    t.equal(answer.body, coding)
    t.ok(Buffer.concat(seen).equals(encode(valid)), 'the encoded bytes go on')
    t.equal((await post(encode(Buffer.from('{"items":1}')), coding)).statusCode, 400, coding)
    if (coding === 'identity') continue
    t.match((await post(Buffer.from('{"items":[]}'), coding)).json(), {
      errors: [{ keyword: 'contentEncoding' }]
    })
    const bomb = await post(encode(Buffer.from(`{"items":[],"note":"${' '.repeat(60_000)}"}`)), coding)
    t.equal(bomb.statusCode, 413, `${coding}: over 100 to 1`)
    t.match(bomb.json(), { code: 'SP_ERR_LIMITS_BODY' })
  }
  for (const coding of ['compress', 'gzip, br', 'gzip,gzip', 'x'])
    t.match(
      (await post(gzipSync(valid), coding)).json(),
      { status: 415, code: 'SP_ERR_VALIDATE_CODING' },
      coding
    )
  t.equal((await post(Buffer.alloc(65 * 1024, ' '), 'identity')).statusCode, 413, 'over maxBody')
})

t.test('a request without a body needs one where its method has it', async (t) => {
  const app = await gateway(t, {
    routes: [{ path: '/', validate: { body: order }, respond: { body: 'ok' } }]
  })
  for (const [method, status] of [
    ['GET', 200],
    ['DELETE', 200],
    ['POST', 400],
    ['PUT', 400],
    ['PATCH', 400]
  ] as const)
    t.equal((await app.inject({ method, url: '/' })).statusCode, status, method)
  const answer = await app.inject({ method: 'POST', url: '/', headers: json, payload: { items: [] } })
  t.equal(answer.body, 'ok', 'also where the target reads no body')
})

t.test('unknown parameters are kept, rejected or dropped', async (t) => {
  const own = await upstream(t)
  // What a schema only mentions is unknown, too.
  const query = {
    properties: { a: { type: 'integer' }, 'b c': {} },
    if: { required: ['x', 'y'] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema.
    then: true
  }
  const app = await gateway(t, {
    routes: [
      { path: '/keep', validate: { query }, proxy: { upstream: own } },
      { path: '/reject', validate: { query, unknown: { query: 'reject' } }, proxy: { upstream: own } },
      {
        path: '/drop',
        validate: { query, unknown: { query: 'drop' } },
        query: { z: '1' },
        proxy: { upstream: own }
      }
    ]
  })
  const url = async (target: string) => (await app.inject(target)).json<Seen>().url
  t.equal(await url('/keep?x=1&a=2'), '/keep?x=1&a=2')
  t.equal(await url('/drop?x=1&a=%32&&y&%78=3&b%20c=1'), '/drop?a=%32&b%20c=1&z=1')
  t.equal(await url('/drop?x=1'), '/drop?z=1')
  t.equal(await url('/reject?a=1&b+c=1'), '/reject?a=1&b+c=1')
  t.match((await app.inject('/reject?a=1&x=1&y')).json(), {
    code: 'SP_ERR_VALIDATE_INVALID',
    errors: [
      { in: 'query', pointer: '#/x', keyword: 'unknown' },
      { in: 'query', pointer: '#/y', keyword: 'unknown' }
    ]
  })
})

t.test('errors are listed for people, too', async (t) => {
  const app = await gateway(t, { routes: [{ path: '/', validate: { body: order }, respond: {} }] })
  const post = (accept: string) =>
    app.inject({ method: 'POST', url: '/', headers: { ...json, accept }, payload: { items: [{}], '<b>': 1 } })
  t.match(
    (await post('text/plain')).body,
    /\nbody #\/<b>: must NOT have additional properties\nbody #\/items\/0: must have/
  )
  t.match((await post('text/html')).body, /<li>body #\/&lt;b&gt;: must NOT have additional properties<\/li>/)
})

t.test('report mode lets a request pass, with its body', async (t) => {
  const app = await gateway(t, {
    validate: { mode: 'report' },
    routes: [{ path: '/', validate: { body: order }, proxy: { upstream: await upstream(t) } }]
  })
  const answer = await app.inject({ method: 'POST', url: '/', headers: json, payload: '{"items":1}' })
  t.equal(answer.statusCode, 200)
  t.equal(answer.json<Seen>().body, '{"items":1}')
})

t.test('schemas refer to files beside their config, and are checked with it', async (t) => {
  const folder = t.testdir({
    schemas: {
      'order.json': JSON.stringify({ $defs: { order: { allOf: [order, { $ref: 'more.yaml' }] } } }),
      'more.yaml': 'maxProperties: 2\n'
    },
    'gateway.json': JSON.stringify({
      routes: [{ path: '/', validate: { body: { $ref: 'schemas/order.json#/$defs/order' } }, respond: {} }]
    })
  })
  const file = `${folder}/gateway.json`
  const app = await gateway(t, file)
  t.equal(
    (await app.inject({ method: 'POST', url: '/', headers: json, payload: { items: [] } })).statusCode,
    200
  )
  t.equal(
    (await app.inject({ method: 'POST', url: '/', headers: json, payload: { items: 1 } })).statusCode,
    400
  )
  const { files } = await loadConfig(file, {})
  for (const name of ['order.json', 'more.yaml'])
    t.ok(files.includes(`${folder}/schemas/${name}`), `${name} is watched`)

  const wrong: [validate: object, message: RegExp][] = [
    [{ body: { $ref: 'https://example.com/x.json' } }, /nothing is fetched over HTTP/],
    [{ body: { $ref: 'nothing.json' } }, /refers to .*nothing\.json, which can't be read/],
    [{ body: { type: 'text' } }, /is not valid at #\/type/],
    [{ query: { properties: { a: { pattern: '(' } } } }, /no regular expression/],
    [{ unknown: { query: 'drop' } }, /set "query" or "openapi" to name the parameters/],
    [{ body: [] }, /expected a JSON Schema/]
  ]
  for (const [validate, message] of wrong)
    await t.rejects(loadConfig({ routes: [{ path: '/', validate, respond: {} }] }, {}), { message })
})

// TypeBox validates schemas that have it.
const STRICT = { unevaluatedProperties: false }

t.test(
  'a body for which a recursive schema branches without end, or a number without one, is refused soon',
  async (t) => {
    const folder = (kind: string, more: object): object => ({
      ...more,
      type: 'object',
      required: ['in'],
      properties: { in: { $ref: '#/$defs/node' }, kind: { const: kind } }
    })
    const node = (more: object): object => ({
      oneOf: [folder('a', more), folder('b', more), { type: 'string' }]
    })
    const list = { type: 'array', items: { $ref: '#/$defs/id' } }
    const app = await gateway(t, {
      routes: [
        { path: '/tree', validate: { body: { $defs: { node: node({}) }, $ref: '#/$defs/node' } } },
        { path: '/strict', validate: { body: { $defs: { node: node(STRICT) }, $ref: '#/$defs/node' } } },
        { path: '/list', validate: { body: { $defs: { id: { type: 'integer' } }, ...list } } }
      ].map((route) => ({ ...route, respond: { body: 'fine' } }))
    })
    const post = (url: string, payload: string): Promise<LightMyRequestResponse> =>
      app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } })
    t.equal((await post('/list', '[-1e999]')).statusCode, 400, 'beyond all numbers')
    for (const url of ['/tree', '/strict']) {
      const refused = await post(url, `${'{"in":'.repeat(60)}1${'}'.repeat(60)}`)
      t.equal(refused.statusCode, 400)
      t.match(refused.json(), { errors: [{ in: 'body', pointer: '#', keyword: '$ref' }] })
      t.equal((await post(url, '{"in":{"in":"x","kind":"b"},"kind":"a"}')).statusCode, 200)
    }
    t.equal((await post('/strict', '{"in":"x","kind":"b","more":1}')).statusCode, 400)
    t.equal((await post('/list', `[${'1,'.repeat(100_000)}1]`)).statusCode, 200, 'a large one is fine')
  }
)
