import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { certificate, gateway, listening, noOpenssl, upstream } from '../helpers.ts'

/** Answers as the request's own header says: status, headers and body. */
const answer: RequestListener = (request, response) => {
  const said = Buffer.from(String(request.headers['x-answer'] ?? ''), 'base64').toString()
  const { status, headers, body } = JSON.parse(said) as {
    status: number
    headers: Record<string, string>
    body: string
  }
  response.writeHead(status, headers)
  response.end(Buffer.from(body, 'base64'))
}

const asked = (
  type: string | undefined,
  body: Buffer | string,
  { status = 200, headers = {} }: { status?: number; headers?: Record<string, string> } = {}
): Record<string, string> => ({
  'x-answer': Buffer.from(
    JSON.stringify({
      status,
      headers: type === undefined ? headers : { 'content-type': type, ...headers },
      body: Buffer.from(body as string).toString('base64')
    })
  ).toString('base64')
})

const JSON_TYPE = 'application/json; charset=utf-8'
const XML_TYPE = 'application/xml; charset=utf-8'
const SHOP = '<shop id="1"><item>7</item><secret>s</secret></shop>'

t.test('turns each format into JSON', async (t) => {
  const up = await upstream(t, answer)
  const route = (path: string, format: unknown): object => ({ path, proxy: { upstream: up }, format })
  const app = await gateway(t, {
    routes: [
      route('/xml', 'xml'),
      route('/lists', {
        from: 'xml',
        lists: ['shop.item'],
        schema: { properties: { shop: { properties: { item: { items: { type: 'integer' } } } } } }
      }),
      route('/csv', 'csv'),
      route('/ndjson', 'ndjson'),
      route('/form', { from: 'form' }),
      route('/off', false)
    ]
  })
  const cases: [url: string, type: string | undefined, body: Buffer | string, gets: string][] = [
    ['/xml', 'application/xml', SHOP, '{"shop":{"@id":"1","item":"7","secret":"s"}}'],
    ['/xml', 'text/xml; charset=utf-16', Buffer.from('\ufeff<a>é</a>', 'utf16le'), '{"a":"é"}'],
    [
      '/xml',
      'application/soap+xml',
      '<e:Envelope xmlns:e="urn:e"><e:Body/></e:Envelope>',
      '{"Envelope":{"Body":""}}'
    ],
    ['/xml', undefined, '<a/>', '{"a":""}'],
    [
      '/xml',
      'text/plain',
      '<a><__proto__>1</__proto__><constructor>2</constructor></a>',
      '{"a":{"__proto__":"1","constructor":"2"}}'
    ],
    ['/lists', 'text/xml', SHOP, '{"shop":{"@id":"1","item":[7],"secret":"s"}}'],
    ['/csv', 'text/csv; header=present', 'a,b\r\n1,"x,y"\r\n', '[{"a":"1","b":"x,y"}]'],
    ['/csv', 'application/octet-stream', 'a\n1\n', '[{"a":"1"}]'],
    [
      '/ndjson',
      'application/x-ndjson',
      '{"n":12345678901234567890}\n[1]\n',
      '[{"n":12345678901234567890},[1]]'
    ],
    ['/form', 'application/x-www-form-urlencoded', 'a=1&b=x+y&b=%C3%A9', '{"a":"1","b":["x y","é"]}']
  ]
  for (const [url, type, body, gets] of cases) {
    const response = await app.inject({
      url,
      headers: asked(type, body, { headers: { etag: '"a"', 'accept-ranges': 'bytes', 'content-md5': 'x' } })
    })
    t.equal(response.body, gets, `${url} ${type}`)
    t.match(response, {
      statusCode: 200,
      headers: { 'content-type': JSON_TYPE, 'content-length': String(Buffer.byteLength(gets)) }
    })
    for (const name of ['etag', 'accept-ranges', 'content-md5', 'vary'])
      t.equal(response.headers[name], undefined, name)
  }
  const head = await app.inject({
    method: 'HEAD',
    url: '/xml',
    headers: asked('text/xml', '', { headers: { 'content-length': '9' } })
  })
  t.match(head.headers, { 'content-type': JSON_TYPE }, 'HEAD has the headers of a GET')
  t.equal(head.headers['content-length'], undefined)
  const off = await app.inject({ url: '/off', headers: asked('text/xml', SHOP) })
  t.equal(off.body, SHOP)
})

t.test('the client chooses by Accept', async (t) => {
  const up = await upstream(t, answer)
  const app = await gateway(t, {
    routes: [
      { path: '/xml', proxy: { upstream: up }, format: { from: 'xml', to: ['json', 'xml'], root: 'shop' } },
      { path: '/json', proxy: { upstream: up }, format: { to: ['json', 'xml'], root: 'answer' } }
    ]
  })
  const cases: [
    url: string,
    accept: string | undefined,
    type: string,
    body: string,
    gets: string,
    as: string
  ][] = [
    ['/xml', undefined, 'text/xml', SHOP, '{"shop":{"@id":"1","item":"7","secret":"s"}}', JSON_TYPE],
    ['/xml', 'text/html', 'text/xml', SHOP, '{"shop":{"@id":"1","item":"7","secret":"s"}}', JSON_TYPE],
    [
      '/xml',
      'application/json;q=0.5, text/xml',
      'text/xml',
      `<?xml version="1.0"?>${SHOP}`,
      `<?xml version="1.0"?>${SHOP}`,
      'text/xml'
    ],
    ['/json', undefined, 'application/hal+json', '{"a": 1}', '{"a": 1}', 'application/hal+json'],
    [
      '/json',
      'application/xml',
      'application/json',
      '{"a":[1,null],"b":{"@c":true}}',
      '<?xml version="1.0" encoding="UTF-8"?>\n<answer xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><a>1</a><a xsi:nil="true"/><b c="true"/></answer>',
      XML_TYPE
    ]
  ]
  for (const [url, accept, type, body, gets, as] of cases) {
    const headers = { ...asked(type, body), ...(accept === undefined ? {} : { accept }) }
    const response = await app.inject({ url, headers })
    t.equal(response.body, gets, `${url} ${accept}`)
    t.equal(response.headers['content-type'], as)
    t.match(response.headers.vary, /accept/i)
  }
  const wrong = await app.inject({
    url: '/json',
    headers: { ...asked('application/json', '{"a b":1}'), accept: 'text/xml' }
  })
  t.match(wrong.json(), { status: 502, code: 'SP_ERR_FORMAT_XML' })
})

t.test('what is not in the format passes, and what is malformed is an error', async (t) => {
  const up = await upstream(t, answer)
  const app = await gateway(t, {
    routes: [
      { path: '/xml', proxy: { upstream: up }, format: { from: 'xml', maxBody: '4kb' } },
      { path: '/csv', proxy: { upstream: up }, format: 'csv' },
      { path: '/to-xml', proxy: { upstream: up }, format: { to: ['xml'], root: 'a' } }
    ]
  })
  const bomb = `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 9 }, (_, i) => `<!ENTITY a${i} "${`&a${i === 0 ? '' : i - 1};`.repeat(10)}">`).join('')}]><a>&a8;</a>`
  const gzip = { headers: { 'content-encoding': 'gzip' } }
  const cases: [
    url: string,
    type: string | undefined,
    body: Buffer | string,
    said?: object,
    passes?: true
  ][] = [
    ['/xml', 'text/html', '<p>', { status: 503 }, true],
    ['/xml', 'text/plain', 'Not found', { status: 404 }, true],
    ['/xml', undefined, 'Not found', { status: 404 }, true],
    ['/xml', 'application/json', '{"a":1}', { status: 400 }, true],
    ['/xml', 'application/xhtml+xml', '<!DOCTYPE html><html/>', {}, true],
    ['/xml', 'image/svg+xml', '<svg/>', {}, true],
    ['/xml', 'text/xml', '', {}, true],
    ['/csv', 'text/plain', 'broken', { status: 500 }, true],
    ['/xml', 'text/xml', '<a><b></a>'],
    ['/xml', 'text/xml', '<a>secret</a', { status: 500 }],
    ['/xml', 'text/xml', bomb],
    ['/xml', 'text/xml', '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x">%x;]><a/>'],
    ['/xml', 'text/xml', '<a>&#x110000;</a>'],
    ['/xml', 'text/xml', '<a>&nope;</a>'],
    ['/xml', 'text/xml', '<a>'.repeat(1000)],
    ['/xml', 'text/xml', `<a ${Array.from({ length: 257 }, (_, i) => `b${i}=""`).join(' ')}/>`],
    ['/xml', 'text/xml; charset=iso-8859-1', '<a>secret</a>'],
    ['/xml', 'text/xml', '<?xml version="1.0" encoding="windows-1252"?><a>secret</a>'],
    ['/xml', 'text/xml', Buffer.from('<a>\xe9</a>', 'latin1')],
    ['/xml', 'text/xml', `<a>${'x'.repeat(4096)}</a>`],
    ['/xml', 'text/xml', gzipSync(`<a>${'x'.repeat(4096)}</a>`), gzip],
    ['/xml', 'text/xml', gzipSync('<a/>').subarray(0, 12), gzip],
    ['/xml', 'text/xml', SHOP, { status: 206, headers: { 'content-range': 'bytes 0-9/10' } }],
    ['/xml', 'text/html', '', { status: 200 }, true],
    ['/csv', 'text/csv', 'a,b\n"1,2\n'],
    ['/csv', 'text/csv', 'a,a\n1,2\n'],
    ['/to-xml', 'application/json', '{'],
    ['/to-xml', 'application/json', '{"a":"\\u0000"}']
  ]
  for (const [url, type, body, said, passes] of cases) {
    const name = `${url} ${type} ${String(body).slice(0, 40)}`
    const response = await app.inject({ url, headers: asked(type, body, said) })
    if (passes) t.equal(response.body, String(body), name)
    else {
      t.equal(response.statusCode, 502, name)
      t.match(response.json<{ code: string }>().code, /^SP_ERR_FORMAT_(RESPONSE|XML)$/, name)
      t.notMatch(response.body, /secret|xxx|aaaa/, 'nothing of it is passed on')
    }
  }
  const grown = await upstream(t, (_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(`{"${'a'.repeat(1000)}":[${'1,'.repeat(100_000)}1]}`)
  })
  const large = await gateway(t, {
    routes: [{ path: '/', proxy: { upstream: grown }, format: { to: ['xml'], root: 'a' } }]
  })
  t.match((await large.inject('/')).json(), { status: 502, code: 'SP_ERR_FORMAT_XML' }, 'a name in each item')
  const zipped = await app.inject({ url: '/xml', headers: asked('text/xml', gzipSync('<a>1</a>'), gzip) })
  t.equal(zipped.body, '{"a":"1"}')
})

t.test('transform changes the values that format has read', async (t) => {
  const up = await upstream(t, answer)
  const app = await gateway(t, {
    routes: [
      {
        path: '/shop/:id',
        proxy: { upstream: up },
        format: { from: 'xml', to: ['json', 'xml'], root: 'shop', lists: ['shop.item'] },
        transform: {
          response: {
            omit: ['shop.secret'],
            rename: { 'shop.item': 'shop.product' },
            set: { 'shop.@id': '{params.id}' }
          }
        }
      },
      {
        path: '/json',
        proxy: { upstream: up },
        format: { to: ['json', 'xml'], root: 'answer' },
        transform: { response: { omit: ['secret'] }, otherwise: 'reject' }
      },
      {
        path: '/fails',
        proxy: { upstream: up },
        format: 'xml',
        transform: { response: { query: 'abs(a)' } }
      }
    ]
  })
  const get = async (
    url: string,
    accept: string,
    headers: Record<string, string>
  ): Promise<{ body: string; type: unknown; status: number }> => {
    const response = await app.inject({ url, headers: { ...headers, accept } })
    return { body: response.body, type: response.headers['content-type'], status: response.statusCode }
  }
  t.match(await get('/shop/7', 'application/json', asked('text/xml', SHOP)), {
    body: '{"shop":{"@id":"7","product":["7"]}}',
    type: JSON_TYPE
  })
  t.match(
    await get('/shop/7', 'text/xml', asked('text/xml', SHOP)),
    {
      body: '<?xml version="1.0" encoding="UTF-8"?>\n<shop id="7"><product>7</product></shop>',
      type: XML_TYPE
    },
    'the same format is read and written, because it is changed'
  )
  t.match(
    await get(
      '/shop/7',
      'text/xml',
      asked('application/problem+json', '{"shop":{"secret":1}}', { status: 500 })
    ),
    { status: 500, body: '{"shop":{"@id":"7"}}' },
    'JSON that is not of the format is changed as well'
  )
  t.match(await get('/json', '*/*', asked('application/hal+json', '{"secret":1,"a":1}')), {
    body: '{"a":1}',
    type: 'application/hal+json'
  })
  t.match(await get('/json', 'text/xml', asked('application/json', '{"secret":1,"a":1}')), {
    body: /<answer><a>1<\/a><\/answer>/
  })
  t.match(await get('/json', '*/*', asked('text/html', '<p>')), {
    status: 502,
    body: /SP_ERR_TRANSFORM_RESPONSE/
  })
  t.match(await get('/json', '*/*', asked('application/json; charset=utf-7', '{}')), {
    status: 502,
    body: /SP_ERR_TRANSFORM_RESPONSE/
  })
  t.match(await get('/fails', '*/*', asked('text/xml', '<a>x</a>')), {
    status: 502,
    body: /SP_ERR_TRANSFORM_RESPONSE/
  })
  t.match(await get('/fails', '*/*', asked('text/xml', '<a>')), {
    status: 502,
    body: /SP_ERR_FORMAT_RESPONSE/
  })
})

t.test('groups and routes set it as a name or in full', async (t) => {
  const up = await upstream(t, answer)
  const app = await gateway(t, {
    routes: [
      {
        path: '/group',
        format: { from: 'xml', to: ['json', 'xml'], root: 'a' },
        routes: [
          { path: '/csv', proxy: { upstream: up }, format: 'csv' },
          { path: '/off', proxy: { upstream: up }, format: false },
          { path: '/on', proxy: { upstream: up } }
        ]
      }
    ]
  })
  t.match((await app.inject({ url: '/group/csv', headers: asked('text/csv', 'a\n1') })).body, '[{"a":"1"}]')
  t.match(
    (await app.inject({ url: '/group/csv', headers: { ...asked('text/csv', 'a\n1'), accept: 'text/xml' } }))
      .body,
    /<a><item><a>1/
  )
  t.match((await app.inject({ url: '/group/off', headers: asked('text/xml', '<a/>') })).body, '<a/>')
  t.match((await app.inject({ url: '/group/on', headers: asked('text/xml', '<a/>') })).body, '{"a":""}')
})

t.test('errors in the options', async (t) => {
  const cases: [format: unknown, message: RegExp][] = [
    ['yaml', /format\.from: expected one of "json", "xml", "csv", "ndjson", "form"|format.*"json"/],
    [5, /format: expected true, false or/],
    [{ from: 'xml', to: ['xml'] }, /format\.to: expected the option "root"/],
    [{ from: 'csv', lists: ['a'] }, /format\.lists\b.*"from": "xml"/],
    [{ from: 'xml', root: 'a b' }, /format\.root: expected the name of an element/],
    [{ from: 'xml', schema: { $ref: '#/$defs/none' } }, /format\.schema: expected references inside/],
    [{ from: 'xml', first: true }, /first/]
  ]
  for (const [format, message] of cases)
    await t.rejects(
      gateway(t, { routes: [{ path: '/', respond: {}, format }] }),
      { message },
      JSON.stringify(format)
    )
})

t.test('over HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const { cert, key, ca } = certificate(t)
  const file = (name: string, content: Buffer): string => {
    writeFileSync(join(dirname(ca), name), content)
    return join(dirname(ca), name)
  }
  const up = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  up.on('session', (session) => sessions.add(session))
  up.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200, 'content-type': 'text/xml', 'content-length': String(SHOP.length) })
    stream.end(headers[':method'] === 'HEAD' ? undefined : SHOP)
  })
  up.listen(0, '127.0.0.1')
  await once(up, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    up.close()
  })
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: file('c.pem', cert), key: file('k.pem', key) }] },
    upstreams: { up: { url: `http://127.0.0.1:${(up.address() as AddressInfo).port}`, http2: true } },
    routes: [
      {
        path: '/',
        proxy: { upstream: 'up' },
        format: 'xml',
        transform: { response: { omit: ['shop.secret'] } }
      }
    ]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: cert })
  t.teardown(() => client.close())
  for (const [method, body, length] of [
    ['GET', '{"shop":{"@id":"1","item":"7"}}', '31'],
    ['HEAD', '', undefined]
  ] as const) {
    const stream = client.request({ ':path': '/', ':method': method })
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    t.match(head, { ':status': 200, 'content-type': JSON_TYPE })
    t.equal(head['content-length'], length)
    t.equal(await text(stream), body)
  }
})
