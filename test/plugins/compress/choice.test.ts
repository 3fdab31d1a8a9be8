import t from 'tap'
import { gateway, listening, raw, upstream } from '../../helpers.ts'
import { ALL, decode, textOf } from './helpers.ts'

const JSON_TEXT = JSON.stringify({ text: textOf(4000) })

t.test('chooses the coding by Accept-Encoding', async (t) => {
  const app = await gateway(t, {
    compress: true,
    routes: [
      { path: '/', respond: { body: { text: textOf(4000) } } },
      { path: '/short', respond: { body: { text: 'short' } } },
      { path: '/gzip', compress: { encodings: ['gzip'] }, respond: { body: { text: textOf(4000) } } },
      {
        path: '/gzip-first',
        compress: { encodings: ['gzip', 'zstd'] },
        respond: { body: { text: textOf(4000) } }
      }
    ]
  })
  const cases: [accept: string | undefined, coding: string | undefined, url?: string][] = [
    [undefined, undefined],
    ['', undefined],
    ['gzip', 'gzip'],
    ['x-gzip', 'gzip'],
    ['GZIP', 'gzip'],
    ['br', 'br'],
    ['zstd', 'zstd'],
    ['gzip, br, zstd', 'zstd'],
    ['gzip, br', 'br'],
    ['gzip, deflate, br, zstd', 'zstd'],
    ['deflate', undefined],
    ['gzip;q=1, br;q=0.9, zstd;q=0.8', 'gzip'],
    ['gzip;q=0.5', 'gzip'],
    ['gzip ; q=0.5 , br;q=0.6', 'br'],
    ['gzip;q=0', undefined],
    ['gzip;q=0.000', undefined],
    ['zstd;q=0, *', 'br'],
    ['*', 'zstd'],
    ['*;q=0', undefined],
    ['*;q=0, gzip', 'gzip'],
    ['*;q=0.5, gzip', 'gzip'],
    ['identity', undefined],
    ['identity, gzip;q=0.5', undefined],
    ['identity;q=0.5, gzip', 'gzip'],
    ['identity, gzip', 'gzip'],
    ['identity;q=0, gzip', 'gzip'],
    ['gzip;q=high', undefined],
    ['gzip;q=2', undefined],
    [',, ;;, gzip', 'gzip'],
    ['gzip', undefined, '/short'],
    ['gzip, identity;q=0', 'gzip', '/short'],
    ['gzip, *;q=0', 'gzip', '/short'],
    ['br, zstd', undefined, '/gzip'],
    ['br, gzip', 'gzip', '/gzip'],
    ['gzip, br, zstd', 'gzip', '/gzip-first']
  ]
  for (const [accept, coding, url = '/'] of cases) {
    const response = await app.inject({
      url,
      headers: accept === undefined ? {} : { 'accept-encoding': accept }
    })
    const name = `${url} for "${accept}"`
    t.equal(response.headers['content-encoding'], coding, name)
    t.equal(response.headers.vary, 'Accept-Encoding', `${name}: Vary`)
    t.equal(Number(response.headers['content-length']), response.rawPayload.length, `${name}: the length`)
    const body = decode(response.rawPayload, coding)
    t.equal(body, url === '/short' ? '{"text":"short"}' : JSON_TEXT, `${name}: the body`)
  }
})

t.test('compresses the types of the list, and varies by Accept-Encoding on each of them', async (t) => {
  const origin = await upstream(t, ({ url = '' }, response) => {
    const type = decodeURIComponent(url.slice(url.indexOf('?') + 1))
    if (type !== '') response.setHeader('content-type', type)
    response.setHeader('vary', 'Origin')
    response.end(textOf(4000))
  })
  const app = await gateway(t, {
    routes: [
      { path: '/default', compress: true, proxy: { upstream: origin } },
      { path: '/own', compress: { types: ['image/x-own', 'font/*'] }, proxy: { upstream: origin } },
      { path: '/off', proxy: { upstream: origin } }
    ]
  })
  const cases: [type: string, isCompressed: boolean, path?: string][] = [
    ['application/json', true],
    ['Application/JSON; charset=utf-8', true],
    ['application/problem+json', true],
    ['application/vnd.api+json; ext="a"', true],
    ['application/x-ndjson', true],
    ['text/html', true],
    ['text/csv;header=present', true],
    ['text/javascript', true],
    ['application/javascript', true],
    ['application/xml', true],
    ['application/atom+xml', true],
    ['image/svg+xml', true],
    ['application/wasm', true],
    ['text/event-stream', false],
    ['', false],
    ['nonsense', false],
    ['image/png', false],
    ['application/octet-stream', false],
    ['application/zip', false],
    ['application/grpc-web+json', false],
    ['application/jsonp', false],
    ['image/x-own', true, '/own'],
    ['font/ttf', true, '/own'],
    ['text/html', false, '/own'],
    ['text/html', false, '/off']
  ]
  for (const [type, isCompressed, path = '/default'] of cases)
    for (const headers of [ALL, {}]) {
      const response = await app.inject({ url: `${path}?${encodeURIComponent(type)}`, headers })
      const coding = isCompressed && headers === ALL ? 'zstd' : undefined
      const name = `${path} as "${type}"${headers === ALL ? '' : ' without Accept-Encoding'}`
      t.equal(response.headers['content-encoding'], coding, name)
      t.equal(response.headers.vary, isCompressed ? 'Origin, Accept-Encoding' : 'Origin', `${name}: Vary`)
      t.equal(decode(response.rawPayload, coding), textOf(4000), `${name}: the body`)
    }
})

t.test('leaves responses as they are that must not or need not be compressed', async (t) => {
  const text = textOf(4000)
  const origin = await upstream(t, ({ url = '', method }, response) => {
    const [status, ...fields] = JSON.parse(decodeURIComponent(url.slice(url.indexOf('?') + 1))) as [
      number,
      ...string[]
    ]
    const headers = ['content-type', 'text/plain', ...fields]
    response.writeHead(status, headers)
    response.end(method === 'HEAD' || status === 204 || status === 304 ? undefined : text)
  })
  const app = await gateway(t, { compress: true, routes: [{ path: '/', proxy: { upstream: origin } }] })
  const cases: [
    status: number,
    fields: string[],
    coding: string | undefined,
    headers?: Record<string, string>
  ][] = [
    [200, [], 'zstd'],
    [404, [], 'zstd'],
    [500, [], 'zstd'],
    [200, ['content-encoding', 'identity'], 'zstd'],
    [200, ['content-encoding', 'deflate'], 'deflate'],
    [200, ['content-encoding', 'gzip, br'], 'gzip, br'],
    [200, ['cache-control', 'no-transform'], undefined],
    [200, ['cache-control', 'public,No-Transform'], undefined],
    [200, ['cache-control', 'max-age=1', 'cache-control', 'no-transform'], undefined],
    [200, ['cache-control', 'x-no-transform'], 'zstd'],
    [206, ['content-range', 'bytes 0-3999/9000'], undefined],
    [204, [], undefined],
    [200, [], undefined, { 'cache-control': 'no-transform' }],
    [200, [], undefined, { 'content-type': 'application/grpc' }],
    [200, ['trailer', 'Content-Digest'], undefined]
  ]
  for (const [status, fields, coding, headers] of cases) {
    const url = `/?${encodeURIComponent(JSON.stringify([status, ...fields]))}`
    const response = await app.inject({ url, headers: { ...ALL, ...headers } })
    const name = `${status} ${fields.join(' ')} ${JSON.stringify(headers ?? {})}`
    t.equal(response.statusCode, status, name)
    t.equal(response.headers['content-encoding'], coding, `${name}: the coding`)
    t.match(response.headers.vary, 'Accept-Encoding', `${name}: Vary`)
    if (coding === 'zstd') t.equal(decode(response.rawPayload, coding), text, `${name}: the body`)
  }
  const { port } = await listening(t, { compress: true, routes: [{ path: '/', respond: { body: text } }] })
  const old = await raw(port, 'GET / HTTP/1.0\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n')
  t.match(old, /^HTTP\/1\.1 200/)
  t.notMatch(old, /content-encoding/i, 'HTTP/1.0')
  t.match(old, /^vary: Accept-Encoding\r$/im)
})

t.test('compresses bodies from minSize, whatever their framing', async (t) => {
  const origin = await upstream(t, ({ url = '' }, response) => {
    const length = Number(/\d+/.exec(url)?.[0])
    response.setHeader('content-type', 'text/plain')
    if (url.includes('chunked')) {
      if (length > 0) response.write(textOf(length))
      response.end()
    } else response.end(textOf(length))
  })
  const app = await gateway(t, {
    compress: true,
    routes: [
      { path: '/default', proxy: { upstream: origin } },
      { path: '/all', compress: { minSize: '0b' }, proxy: { upstream: origin } }
    ]
  })
  const cases: [path: string, length: number, coding: string | undefined][] = [
    ['/default', 0, undefined],
    ['/default', 1, undefined],
    ['/default', 1023, undefined],
    ['/default', 1024, 'zstd'],
    ['/default', 32_768, 'zstd'],
    ['/default', 32_769, 'zstd'],
    ['/default', 200_000, 'zstd'],
    ['/all', 0, undefined],
    ['/all', 1, undefined],
    ['/all', 100, 'zstd']
  ]
  for (const [path, length, coding] of cases)
    for (const framing of ['length', 'chunked']) {
      const response = await app.inject({ url: `${path}?${length}-${framing}`, headers: ALL })
      const name = `${path}: ${length} bytes, ${framing}`
      t.equal(response.headers['content-encoding'], coding, name)
      t.equal(decode(response.rawPayload, coding), textOf(length), `${name}: the body`)
      const hasLength = framing === 'length' && length <= 32_768
      if (length > 0)
        t.equal(response.headers['content-length'] !== undefined, hasLength, `${name}: Content-Length`)
    }
})

t.test('rejects invalid options', async (t) => {
  const cases: [compress: object, fault: RegExp][] = [
    [{ encodings: ['deflate'] }, /compress\.encodings\[0\]: expected "zstd", "br" or "gzip", got "deflate"/],
    [{ encodings: [] }, /compress\.encodings/],
    [{ levels: { br: 11 } }, /compress\.levels\.br/],
    [{ minSize: 'small' }, /compress\.minSize: expected a size such as/],
    [
      { types: ['json'] },
      /compress\.types\[0\]: expected a media type in lower case such as "application\/json"/
    ],
    [{ types: ['*/*'] }, /compress\.types\[0\]/],
    [{ types: ['*+*'] }, /compress\.types\[0\]/],
    [{ types: ['Text/html'] }, /compress\.types\[0\]/],
    [{ level: 4 }, /compress\.level: Unknown option "level"; did you mean "levels"\?/]
  ]
  for (const [compress, fault] of cases)
    await t.rejects(gateway(t, { compress, routes: [] }), { message: fault }, JSON.stringify(compress))
})
