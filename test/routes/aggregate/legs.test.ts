import type { ServerHttp2Stream } from 'node:http2'
import t from 'tap'
import { echo, gateway, upstream } from '../../helpers.ts'
import { http2Service, service } from './services.ts'

t.test('a leg waits for those that it names, and their values are encoded in its URL', async (t) => {
  const seen: string[] = []
  const url = await upstream(t, ({ url }, response) => {
    seen.push(url ?? '')
    response.end(
      url === '/user'
        ? '{"id":"a/b ?&#ü","n":7,"big":12345678901234567890,"on":true}'
        : JSON.stringify({ url })
    )
  })
  const app = await gateway(t, {
    upstreams: { a: { url } },
    routes: [
      {
        path: '/me/:tenant',
        aggregate: {
          legs: {
            orders: {
              upstream: 'a',
              path: '/t/{params.tenant}/orders/{legs.user.id}?n={legs.user.n}&q={query.q}&big={legs.user.big}&on={legs.user.on}'
            },
            user: { upstream: 'a', path: '/user' }
          }
        }
      }
    ]
  })
  const response = await app.inject('/me/x%20y?q=1%262')
  t.equal(response.statusCode, 200)
  t.same(seen, [
    '/user',
    '/t/x%20y/orders/a%2Fb%20%3F%26%23%C3%BC?n=7&q=1%262&big=12345678901234567890&on=true'
  ])
})

t.test(
  'a value that is no segment, or that an upstream may read as another path, skips the leg',
  async (t) => {
    /** The value, and whether it may stand in a path and in a query. */
    const values: readonly [value: unknown, inPath: boolean, inQuery: boolean][] = [
      ['.', false, false],
      ['..', false, false],
      ['', false, false],
      [null, false, false],
      [{}, false, false],
      [[], false, false],
      [['a'], false, false],
      [undefined, false, false],
      ['\ud800', false, false],
      ['../../admin', false, true],
      ['..\\admin', false, true],
      ['%2e%2e', false, true],
      ['a\r\nx: y', false, true],
      ['..;x', false, true],
      ['a/b', true, true],
      ['http://evil.example/', true, true],
      ['@evil.example', true, true],
      ['#?&=%', true, true],
      [0, true, true],
      [false, true, true]
    ]
    const seen: string[] = []
    const url = await upstream(t, ({ url = '' }, response) => {
      seen.push(url)
      response.end(
        JSON.stringify(url.startsWith('/value/') ? { v: values[Number(url.slice(7))]?.[0] } : { url })
      )
    })
    const app = await gateway(t, {
      upstreams: { a: { url } },
      routes: [
        {
          path: '/:i',
          aggregate: {
            legs: {
              value: { upstream: 'a', path: '/value/{params.i}' },
              path: { upstream: 'a', path: '/x/{legs.value.v}', required: false },
              query: { upstream: 'a', path: '/x?v={legs.value.v}', required: false }
            }
          }
        }
      ]
    })
    for (const [i, [value, inPath, inQuery]] of values.entries()) {
      const response = await app.inject(`/${i}`)
      const skipped = [inPath ? [] : ['path'], inQuery ? [] : ['query']].flat()
      t.equal(
        response.headers['sallyport-partial'],
        skipped.length === 0 ? undefined : skipped.map((name) => `${name};reason=skipped`).join(', '),
        JSON.stringify(value)
      )
    }
    t.ok(
      seen.every((url) => /^\/(value\/\d+|x\/[^/?#]+|x\?v=[^&#]+)$/.test(url)),
      'each value is one segment, or one value of the query'
    )
  }
)

t.test('formats, and what is kept of a leg', async (t) => {
  const url = await service(t, {
    '/xml': '<order id="007"><item>a</item><item>b</item><__proto__>x</__proto__></order>',
    '/csv': 'id,name\n1,a\n2,b\n',
    '/ndjson': '{"a":12345678901234567890}\n{"a":2}\n',
    '/form': 'a=1&b=x+y',
    '/list': '[{"id":1,"secret":2,"a.b":3},{"id":2}]',
    '/deep': '{"data":{"items":[[1],[2,3]]},"user":{"mail":"m"}}',
    '/big': '{"n":12345678901234567890, "f": 1.0000000000000000000001}',
    '/bom': '\ufeff{"a":1}',
    '/proto': '{"__proto__":{"x":1},"constructor":2}'
  })
  const cases: readonly [name: string, leg: object, body: string][] = [
    ['XML', { path: '/xml', format: 'xml' }, '{"order":{"@id":"007","item":["a","b"],"__proto__":"x"}}'],
    ['CSV', { path: '/csv', format: 'csv' }, '[{"id":"1","name":"a"},{"id":"2","name":"b"}]'],
    ['NDJSON', { path: '/ndjson', format: 'ndjson' }, '[{"a":12345678901234567890},{"a":2}]'],
    ['a form', { path: '/form', format: 'form' }, '{"a":"1","b":"x y"}'],
    ['pick in each item', { path: '/list', pick: ['id'] }, '[{"id":1},{"id":2}]'],
    ['omit', { path: '/list', omit: ['secret', 'a\\.b'] }, '[{"id":1},{"id":2}]'],
    ['first, then pick', { path: '/list', first: true, pick: ['a\\.b'] }, '{"a.b":3}'],
    ['flatten a path', { path: '/deep', flatten: 'data.items.*' }, '[1,2,3]'],
    [
      'rename',
      { path: '/deep', pick: ['user'], rename: { 'user.mail': 'email' } },
      '{"user":{},"email":"m"}'
    ],
    [
      'numbers of a picked leg',
      { path: '/big', pick: ['n', 'f'] },
      '{"n":12345678901234567890,"f":1.0000000000000000000001}'
    ],
    ['a BOM is dropped', { path: '/bom' }, '{"a":1}'],
    [
      'keys of prototypes',
      { path: '/proto', pick: ['__proto__', 'constructor'] },
      '{"__proto__":{"x":1},"constructor":2}'
    ]
  ]
  const app = await gateway(t, {
    upstreams: { a: { url } },
    routes: cases.map(([, leg], i) => ({
      path: `/${i}`,
      aggregate: { legs: { a: { upstream: 'a', ...leg } }, maxTotal: '1mb' }
    }))
  })
  for (const [i, [name, , body]] of cases.entries())
    t.equal((await app.inject(`/${i}`)).body, `{"a":${body}}`, name)
})

t.test(
  'a leg that only reads is retried where it says so, one that changes something never is',
  async (t) => {
    const counts = new Map<string, number>()
    const url = await upstream(t, ({ method, url = '' }, response) => {
      const count = (counts.get(`${method} ${url}`) ?? 0) + 1
      counts.set(`${method} ${url}`, count)
      response.writeHead(count === 1 ? 503 : 200).end('1')
    })
    const retry = { attempts: 2, backoff: '1ms' }
    const cases: readonly [leg: object, status: number, calls: number][] = [
      [{ path: '/plain' }, 502, 1],
      [{ path: '/get', retry }, 200, 2],
      [{ path: '/post', method: 'POST', retry }, 502, 1],
      [{ path: '/put', method: 'PUT', retry }, 502, 1],
      [{ path: '/soap', method: 'POST', safe: true, body: '<a/>', retry }, 200, 2]
    ]
    const app = await gateway(t, {
      upstreams: { a: { url } },
      proxy: { retry: { attempts: 3, backoff: '1ms' } },
      routes: cases.map(([leg], i) => ({
        path: `/${i}`,
        aggregate: { legs: { a: { upstream: 'a', ...leg } } }
      }))
    })
    for (const [i, [leg, status, calls]] of cases.entries()) {
      t.equal((await app.inject(`/${i}`)).statusCode, status, JSON.stringify(leg))
      const { method = 'GET', path } = leg as { method?: string; path: string }
      t.equal(counts.get(`${method} ${path}`), calls, JSON.stringify(leg))
    }
  }
)

t.test('legs over HTTP/2', async (t) => {
  const url = await http2Service(t, (request, response) => {
    const { stream } = response as never as { stream: ServerHttp2Stream }
    if (request.url === '/empty') stream.respond({ ':status': 200 }, { endStream: true })
    else if (request.url === '/reset') stream.close(2)
    else echo(request, response)
  })
  const app = await gateway(t, {
    upstreams: { a: { url, http2: true } },
    routes: [
      {
        path: '/',
        methods: ['POST'],
        aggregate: {
          legs: {
            a: { upstream: 'a', path: '/a', method: 'POST', body: '{body}' },
            b: { upstream: 'a', path: '/b' },
            empty: { upstream: 'a', path: '/empty', required: false },
            reset: { upstream: 'a', path: '/reset', required: false }
          }
        }
      }
    ]
  })
  const response = await app.inject({ method: 'POST', url: '/', payload: { x: 1 } })
  t.match(response.json(), { a: { method: 'POST', body: '{"x":1}' }, b: { method: 'GET', url: '/b' } })
  t.equal(response.headers['sallyport-partial'], 'empty;reason=format, reset;reason=reset')
})
