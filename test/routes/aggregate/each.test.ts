import t from 'tap'
import { bodyOf, gateway, upstream } from '../../helpers.ts'
import { seenOf } from './services.ts'

t.test('calls a leg for each item, in order, equal URLs once', async (t) => {
  const seen: string[] = []
  let running = 0
  let most = 0
  const lists: Readonly<Record<string, string>> = {
    '/strings': '["b","a","b"]',
    '/numbers': '[2,12345678901234567890,2.5,true]',
    '/objects': '{"items":[{"sku":"b"},{"sku":"a","qty":1}]}',
    '/odd': '[{},null,[],"",".."]',
    '/some': '["a","500","slow","c"]',
    '/none': '[]',
    '/many': JSON.stringify(Array.from({ length: 60 }, (_, i) => i)),
    '/huge': JSON.stringify(Array.from({ length: 200_000 }, () => 1)),
    '/object': '{"a":1}',
    '/null': 'null'
  }
  const url = await upstream(t, ({ url = '' }, response) => {
    const list = lists[url]
    if (list !== undefined) {
      response.end(list)
      return
    }
    seen.push(url)
    most = Math.max(most, ++running)
    const [, id = ''] = /^\/p\/(.*)$/.exec(url) ?? []
    if (id === 'slow') {
      running--
      return
    }
    setTimeout(
      () => {
        running--
        if (id === '500') response.writeHead(500).end()
        else response.end(`{ "id": "${decodeURIComponent(id)}", "n": 1.10 }`)
      },
      id === 'a' ? 1 : 5
    )
  })
  const item = (id: string): string => `{ "id": "${id}", "n": 1.10 }`
  const cases: readonly [
    name: string,
    list: string,
    leg: object,
    list: string,
    partial?: string | undefined,
    calls?: number
  ][] = [
    ['strings', '/strings', { path: '/p/{item}' }, `[${item('b')},${item('a')},${item('b')}]`, undefined, 2],
    [
      'numbers',
      '/numbers',
      { path: '/p/{item}' },
      `[${item('2')},${item('12345678901234567890')},${item('2.5')},${item('true')}]`
    ],
    [
      'objects, picked from',
      '/objects',
      { each: '{legs.list.items}', path: '/p/{item.sku}', pick: ['id'] },
      '[{"id":"b"},{"id":"a"}]'
    ],
    ['every value of an object', '/object', { each: '{legs.list.*}', path: '/p/{item}' }, `[${item('1')}]`],
    ['items without a value', '/odd', { path: '/p/{item}' }, '[null,null,null,null,null]', 'skipped', 0],
    [
      'failed items',
      '/some',
      { path: '/p/{item}', timeout: '3s', fallback: { none: true } },
      `[${item('a')},{"none":true},{"none":true},${item('c')}]`,
      'status;status=500'
    ],
    [
      'a required leg whose items fail',
      '/odd',
      { path: '/p/{item}', required: true },
      '[null,null,null,null,null]',
      'skipped',
      0
    ],
    ['an empty list', '/none', { path: '/p/{item}' }, '[]', undefined, 0],
    [
      'more than max',
      '/many',
      { path: '/p/{item}', max: 3, fallback: 'x' },
      `[${item('0')},${item('1')},${item('2')}]`,
      'size',
      3
    ],
    [
      'a list far longer than max',
      '/huge',
      { path: '/p/{item}' },
      `[${Array(50).fill(item('1')).join(',')}]`,
      'size',
      1
    ],
    ['no list', '/object', { path: '/p/{item}', required: false }, '', 'format', 0],
    ['null', '/null', { path: '/p/{item}', required: false }, '', 'format', 0],
    [
      'a missing list',
      '/object',
      { each: '{legs.list.none}', path: '/p/{item}', required: false },
      '',
      'format',
      0
    ]
  ]
  const app = await gateway(t, {
    upstreams: { a: { url } },
    routes: cases.map(([, path, leg], i) => ({
      path: `/${i}`,
      aggregate: {
        legs: {
          list: { upstream: 'a', path },
          x: { upstream: 'a', each: '{legs.list}', ...leg }
        },
        body: { x: '{legs.x}', second: '{legs.x.1.id}' }
      }
    }))
  })
  for (const [i, [name, , , list, reason, calls]] of cases.entries()) {
    seen.length = 0
    const response = await app.inject(`/${i}`)
    const body = response.body.replace(/,?"second":"[^"]*"/, '')
    t.strictSame(
      seenOf({ ...response, body } as never),
      {
        status: 200,
        partial: reason === undefined ? undefined : `x;reason=${reason}`,
        caching: reason === undefined ? undefined : 'no-store',
        body: list === '' ? '{}' : `{"x":${list}}`
      },
      name
    )
    if (calls !== undefined) t.equal(seen.length, calls, `${name}: calls`)
  }
  const second = await app.inject('/0')
  t.equal(second.json().second, 'a', 'something may reach into the list')
  most = 0
  await app.inject('/8')
  t.ok(most <= 3, `${most} at a time`)
})

t.test('"concurrency" bounds the calls at a time', async (t) => {
  let running = 0
  let most = 0
  let full = Promise.withResolvers<void>()
  let expected = 0
  const url = await upstream(t, (request, response) => {
    if (request.url === '/list') response.end(JSON.stringify(Array.from({ length: 20 }, (_, i) => i)))
    else {
      most = Math.max(most, ++running)
      if (running === expected) full.resolve()
      // The first ones are answered once there are as many as expected, and a little later: there would be more.
      void full.promise.then(() =>
        setTimeout(() => {
          running--
          response.end('0')
        }, 5)
      )
    }
  })
  const app = await gateway(t, {
    routes: [2, 8].map((concurrency) => ({
      path: `/${concurrency}`,
      aggregate: {
        legs: {
          list: { upstream: url, path: '/list' },
          x: {
            upstream: url,
            path: '/{item}',
            each: '{legs.list}',
            ...(concurrency === 8 ? {} : { concurrency })
          }
        }
      }
    }))
  })
  for (const concurrency of [2, 8]) {
    most = 0
    expected = concurrency
    full = Promise.withResolvers()
    await app.inject(`/${concurrency}`)
    t.equal(most, concurrency)
  }
})

t.test('items with equal URLs and other bodies are other requests', async (t) => {
  const url = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => response.end(`"${body.toString()}"`))
  })
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        methods: ['POST'],
        aggregate: {
          legs: {
            read: {
              upstream: url,
              path: '/',
              method: 'POST',
              safe: true,
              each: '{body.ids}',
              body: 'id {item}'
            },
            write: { upstream: url, path: '/', method: 'POST', each: '{body.ids}', body: 'same' }
          }
        }
      }
    ]
  })
  const response = await app.inject({ method: 'POST', url: '/', payload: { ids: [1, 2] } })
  t.equal(response.body, '{"read":["id 1","id 2"],"write":["same","same"]}')
})

t.test('a leg that waits for one with failed items runs, and not if the leg failed as a whole', async (t) => {
  const url = await upstream(t, ({ url = '' }, response) => {
    if (url === '/list') response.end('[1,2]')
    else if (url === '/1') response.writeHead(500).end()
    else response.end(JSON.stringify({ url }))
  })
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        aggregate: {
          legs: {
            list: { upstream: url, path: '/list' },
            x: { upstream: url, path: '/{item}', each: '{legs.list}' },
            after: { upstream: url, path: '/after/{legs.x.1.url}' },
            none: { upstream: url, path: '/{item}', each: '{legs.list.none}', fallback: [] },
            skipped: { upstream: url, path: '/skipped?{legs.none.x}', required: false }
          }
        }
      }
    ]
  })
  const response = await app.inject('/')
  t.equal(response.body, '{"list":[1,2],"x":[null,{"url":"/2"}],"after":{"url":"/after/%2F2"},"none":[]}')
  t.equal(
    response.headers['sallyport-partial'],
    'x;reason=status;status=500, none;reason=format, skipped;reason=skipped'
  )
})
