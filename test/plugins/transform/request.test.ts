import { once } from 'node:events'
import { connect } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { gateway, listening, type Seen, sallyport, upstream } from '../../helpers.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

t.test('changes JSON bodies before they are forwarded, in the order of the options', async (t) => {
  const up = await upstream(t)
  const app = await gateway(t, {
    routes: [
      {
        path: '/users/:id',
        proxy: { upstream: up },
        headers: { request: { 'x-set': 'yes' } },
        query: { added: '1' },
        transform: {
          request: {
            pick: ['name', 'mail', 'age', 'tags'],
            omit: ['age'],
            rename: { mail: 'contact.mail' },
            set: {
              id: '{params.id}',
              'meta.text': 'id {params.id} of {headers.x-missing}',
              'meta.agent': '{headers.x-agent}',
              'meta.list': [1, '{query.q}', { deep: true }],
              gone: '{caller.id}'
            },
            remove: ['tags']
          }
        }
      },
      { path: '/query', proxy: { upstream: up }, transform: { request: { query: 'items[].id' } } },
      { path: '/list', proxy: { upstream: up }, transform: { request: { set: { at: '{path}' } } } }
    ]
  })
  const cases = [
    {
      url: '/users/7?q=a%20b',
      body: '{"name":"Ada","mail":"a@b.c","age":1,"tags":[1],"other":true}',
      forwarded:
        '{"name":"Ada","contact":{"mail":"a@b.c"},"id":"7","meta":{"agent":"me","list":[1,"a b",{"deep":true}]}}'
    },
    {
      url: '/query',
      body: '{"items":[{"id":12345678901234567890},{"id":1.0}]}',
      forwarded: '[12345678901234567890,1]'
    },
    { url: '/list', body: '[{},{"a":1}]', forwarded: '[{"at":"/list"},{"a":1,"at":"/list"}]' }
  ]
  for (const { url, body, forwarded } of cases) {
    const headers = { ...JSON_TYPE, 'x-agent': 'me', 'content-md5': 'x', digest: 'x', 'content-digest': 'x' }
    const response = await app.inject({ method: 'POST', url, headers, payload: body })
    const seen = response.json<Seen>()
    t.equal(seen.body, forwarded, url)
    t.equal(seen.headers['content-length'], String(Buffer.byteLength(forwarded)), 'its length')
    t.match(
      Object.keys(seen.headers).filter((name) => /digest|md5|encoding/.test(name)),
      []
    )
    if (url.startsWith('/users'))
      t.match(
        seen,
        { url: '/users/7?q=a%20b&added=1', headers: { 'x-set': 'yes' } },
        'headers and query follow'
      )
  }
})

t.test('decodes bodies, and refuses what it can not read', async (t) => {
  const up = await upstream(t)
  const app = await gateway(t, {
    limits: { body: '2kb' },
    routes: [
      {
        path: '/a',
        proxy: { upstream: up },
        transform: { request: { omit: ['b'] }, maxBody: '1kb' }
      },
      {
        path: '/strict',
        proxy: { upstream: up },
        transform: { request: { omit: ['b'], otherwise: 'reject' } }
      },
      {
        path: '/grown',
        proxy: { upstream: up },
        transform: { request: { set: { '*.x': '{headers.x-long}' } } }
      },
      { path: '/query', proxy: { upstream: up }, transform: { request: { query: 'abs(a)' } } }
    ]
  })
  const body = Buffer.from('{"a":1,"b":2}')
  const text = { 'content-type': 'text/plain' }
  const coded = (coding: string): Record<string, string> => ({ ...JSON_TYPE, 'content-encoding': coding })
  const cases: {
    url?: string
    headers: Record<string, string>
    body: Buffer | string
    status?: number
    code?: string
    forwarded?: string
  }[] = [
    { headers: coded('gzip'), body: gzipSync(body), forwarded: '{"a":1}' },
    { headers: coded('br'), body: brotliCompressSync(body), forwarded: '{"a":1}' },
    { headers: coded('zstd'), body: zstdCompressSync(body), forwarded: '{"a":1}' },
    { headers: coded('deflate'), body: deflateSync(body), forwarded: '{"a":1}' },
    { headers: coded('identity'), body, forwarded: '{"a":1}' },
    { headers: coded('compress'), body, status: 415, code: 'MEDIA' },
    { headers: coded('gzip, gzip'), body: gzipSync(gzipSync(body)), status: 415, code: 'MEDIA' },
    { headers: coded('gzip'), body, status: 400, code: 'BODY' },
    { headers: coded('gzip'), body: gzipSync(Buffer.alloc(1025, 32)), status: 413 },
    { headers: JSON_TYPE, body: `{"a":"${'x'.repeat(1024)}"}`, status: 413 },
    { url: '/strict', headers: JSON_TYPE, body: `{"a":"${'x'.repeat(2048)}"}`, status: 413 },
    {
      headers: { 'content-type': 'application/merge-patch+json; charset=UTF-8' },
      body,
      forwarded: '{"a":1}'
    },
    { headers: { 'content-type': 'APPLICATION/JSON' }, body: `\ufeff${String(body)}`, forwarded: '{"a":1}' },
    { headers: { 'content-type': 'application/json ; charset="utf-8"' }, body, forwarded: '{"a":1}' },
    { headers: { 'content-type': 'application/json; charset=utf-7' }, body, status: 415, code: 'MEDIA' },
    { headers: { 'content-type': 'application/json\ta' }, body, status: 415, code: 'MEDIA' },
    { headers: { 'content-type': 'application/json(garbage)' }, body, status: 415, code: 'MEDIA' },
    { headers: { 'content-type': 'application/json, text/plain' }, body, status: 415, code: 'MEDIA' },
    { headers: text, body, forwarded: '{"a":1,"b":2}' },
    { headers: { 'content-type': 'text/plain; application/json' }, body, forwarded: '{"a":1,"b":2}' },
    { headers: { 'content-type': 'constructor/prototype' }, body, forwarded: '{"a":1,"b":2}' },
    { headers: {}, body, forwarded: '{"a":1,"b":2}' },
    { url: '/strict', headers: text, body, status: 415, code: 'MEDIA' },
    { url: '/strict', headers: {}, body, status: 415, code: 'MEDIA' },
    { url: '/strict', headers: text, body: '', forwarded: '' },
    { headers: JSON_TYPE, body: '', forwarded: '' },
    { headers: JSON_TYPE, body: '{bad:1}', status: 400, code: 'BODY' },
    { headers: JSON_TYPE, body: Buffer.from('{"\xe9":1}', 'latin1'), status: 400, code: 'BODY' },
    { headers: JSON_TYPE, body: '['.repeat(1000), status: 400, code: 'BODY' },
    { headers: JSON_TYPE, body: '{"b":1,"a":1,"b":2}', forwarded: '{"a":1}' },
    {
      headers: JSON_TYPE,
      body: '{"__proto__":{"b":1},"constructor":2}',
      forwarded: '{"__proto__":{"b":1},"constructor":2}'
    },
    {
      url: '/grown',
      headers: { ...JSON_TYPE, 'x-long': 'x'.repeat(8000) },
      body: `[${'[],'.repeat(500)}{}]`,
      forwarded: 'x'
    },
    {
      url: '/grown',
      headers: { ...JSON_TYPE, 'x-long': 'x'.repeat(15_000) },
      body: `[${'{},'.repeat(660)}{}]`,
      status: 413
    },
    { url: '/query', headers: JSON_TYPE, body: '{"a":"text"}', status: 400, code: 'BODY' }
  ]
  for (const { url = '/a', headers, body: payload, status = 200, code, forwarded } of cases) {
    const name = `${url} ${JSON.stringify(headers).slice(0, 80)} ${String(payload).slice(0, 30)}`
    const response = await app.inject({ method: 'POST', url, headers, payload })
    t.equal(response.statusCode, status, name)
    if (forwarded === 'x') t.match(response.json<Seen>().body, /^\[\[\],.*"x":"x{8000}"\}\]$/, name)
    else if (forwarded !== undefined) {
      const { body: seen, headers: sent } = response.json<Seen>()
      t.equal(seen, forwarded, name)
      t.equal(sent['content-encoding'], undefined, 'the coding is gone')
    } else if (code !== undefined)
      t.equal(response.json<{ code: string }>().code, `SP_ERR_TRANSFORM_${code}`, name)
    else t.equal(response.json<{ code: string }>().code, 'SP_ERR_LIMITS_BODY', name)
    if (status >= 400) t.notMatch(response.body, /"a"|xxx/, 'no content in the answer')
  }
})

t.test('a request without a body, and gRPC, pass unchanged', async (t) => {
  const up = await upstream(t)
  const app = await gateway(t, {
    routes: [
      { path: '/', proxy: { upstream: up }, transform: { request: { omit: ['b'] }, otherwise: 'reject' } }
    ]
  })
  for (const method of ['GET', 'DELETE', 'POST'] as const) {
    const { body } = (await app.inject({ method, url: '/', headers: JSON_TYPE })).json<Seen>()
    t.equal(body, '', method)
  }
  const grpc = await app.inject({
    method: 'POST',
    url: '/',
    headers: { 'content-type': 'application/grpc+json' },
    payload: '{"b":1}'
  })
  t.equal(grpc.json<Seen>().body, '{"b":1}', 'a message of gRPC may be JSON, behind a prefix')
})

t.test('buffers that are full are 503, and are given back', async (t) => {
  const { app, port } = await listening(t, {
    limits: { body: '4mb' },
    overload: { buffers: '1mb' },
    routes: [
      {
        path: '/',
        proxy: { upstream: await upstream(t) },
        transform: { request: { omit: ['b'] }, maxBody: '4mb' }
      }
    ]
  })
  const post = (payload: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: JSON_TYPE, body: payload })
  t.equal((await post(JSON.stringify({ a: 'x'.repeat(2 * 1024 * 1024) }))).status, 503, 'the body that comes')
  t.equal(
    (await post(JSON.stringify({ a: 'x'.repeat(600 * 1024) }))).status,
    503,
    'the body beside the new one'
  )
  const response = await post(JSON.stringify({ a: 'x'.repeat(200 * 1024) }))
  t.equal(response.status, 200)
  await response.text()
  t.equal(app.buffers.held, 0)
  const coded = { ...JSON_TYPE, 'content-encoding': 'gzip' }
  const bomb = await fetch(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    headers: coded,
    body: gzipSync('{}')
  })
  t.equal(bomb.status, 503, 'as much as "maxBody" may come of a coded body')
  await bomb.text()
  t.equal(app.buffers.held, 0)

  const socket = connect(port, '127.0.0.1')
  socket.write(
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":1'
  )
  await once(socket, 'connect')
  while (app.buffers.held === 0) await new Promise(setImmediate)
  socket.destroy()
  while (app.buffers.held > 0) await new Promise(setImmediate)
  t.equal(app.buffers.held, 0, 'also when the client leaves')
})

t.test('errors in the options', async (t) => {
  const cases: [transform: object, path: string, message: RegExp][] = [
    [{ request: { set: { a: '{params.nope}' } } }, 'set', /expected a parameter of the path/],
    [{ request: { set: { a: ['{nope}'] } } }, 'set', /expected one of/],
    [{ response: { set: { a: { b: '{open' } } } }, 'set', /expected a "}"/],
    [{ response: { pick: ['a..b'] } }, 'pick', /expected a path/],
    [{ response: { query: 'a[' } }, 'query', /expected a JMESPath/i],
    [{ response: { rename: { 'items.*.id': 'code' } } }, 'rename', /same as/],
    [{ response: { first: true } }, 'first', /unknown|expected|first/i],
    [{ response: { omit: ['a'] }, otherwise: 'drop' }, 'otherwise', /"pass"/]
  ]
  for (const [transform, path, message] of cases)
    await t.rejects(
      gateway(t, { routes: [{ path: '/:id', respond: { body: {} }, transform }] }),
      { message: new RegExp(`${path}[^]*${message.source}`, 'i') },
      path
    )
})

t.test('check warns of WebSockets beside it', async (t) => {
  const folder = t.testdir({
    'gateway.json': JSON.stringify({
      routes: ['/a', '/b'].map((path) => ({
        path,
        proxy: { upstream: 'http://localhost:1', websocket: path === '/a' ? { idle: '1m' } : true },
        transform: { response: { omit: ['a'] } }
      }))
    })
  })
  const { stdout, stderr } = await sallyport(['check', '-c', `${folder}/gateway.json`])
  t.match(stdout + stderr, /The route \/a has WebSockets, whose messages "transform" does not change/)
})
