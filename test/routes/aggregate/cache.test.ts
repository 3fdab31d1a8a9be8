import { request as send } from 'node:http'
import t, { type Test } from 'tap'
import { type Listening, listening } from '../../helpers.ts'
import { type Answer, service } from './services.ts'

const FRESH = { 'cache-control': 'max-age=60' }

/** A gateway with one aggregated route, and what its service got. */
interface Aggregated extends Listening {
  readonly seen: string[]
  get(path: string, headers?: Record<string, string>): Promise<[body: string, cacheStatus: string, Response]>
}

interface AggregatedOptions {
  readonly route?: object
  readonly root?: object
  readonly aggregate?: object
}

/** Starts both; each path of the service answers with what it was asked. */
async function aggregated(
  t: Test,
  answers: Record<string, Answer>,
  { route, root, aggregate }: AggregatedOptions = {}
): Promise<Aggregated> {
  const seen: string[] = []
  const counted = Object.entries(answers).map(([path, answer]): [string, Answer] => [
    path,
    (request, response) => {
      seen.push(String(request.url))
      if (typeof answer === 'function') (answer as (...sides: unknown[]) => void)(request, response)
      else response.writeHead(200, FRESH).end(JSON.stringify(answer))
    }
  ])
  const url = await service(t, Object.fromEntries(counted))
  const legs = { a: { upstream: 'one', path: '/a' }, b: { upstream: 'one', path: '/b' } }
  const gateway = await listening(t, {
    upstreams: { one: { url } },
    ...root,
    routes: [{ path: '/x/*', aggregate: { legs, ...aggregate }, cache: {}, ...route }]
  })
  const get: Aggregated['get'] = async (path, headers = {}) => {
    const response = await fetch(gateway.url + path, { headers })
    return [await response.text(), response.headers.get('cache-status') ?? '', response]
  }
  return { ...gateway, seen, get }
}

t.test('serves a complete response from the cache', async (t) => {
  const gateway = await aggregated(t, { '/a': { n: 1 }, '/b': [2] })
  const [first, stored] = await gateway.get('/x/1')
  t.equal(first, '{"a":{"n":1},"b":[2]}')
  t.equal(stored, 'sallyport; fwd=uri-miss; stored')
  const [second, hit, response] = await gateway.get('/x/1')
  t.equal(second, first)
  t.match(hit, /^sallyport; hit; ttl=\d+$/)
  t.equal(response.headers.get('cache-control'), 'max-age=60')
  t.match(response.headers.get('age'), /^\d+$/)
  t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
  const etag = response.headers.get('etag') ?? ''
  const [none, , confirmed] = await gateway.get('/x/1', { 'if-none-match': etag })
  t.strictSame([confirmed.status, none, confirmed.headers.get('etag')], [304, '', etag])
  const [part, , partial] = await gateway.get('/x/1', { range: 'bytes=0-3' })
  t.strictSame([partial.status, part], [206, '{"a"'])
  const head = await fetch(`${gateway.url}/x/1`, { method: 'HEAD' })
  t.strictSame([head.status, head.headers.get('content-length')], [200, String(first.length)])
  t.match(head.headers.get('cache-status'), /hit/)
  t.equal(gateway.seen.length, 2)
})

t.test('a HEAD that finds nothing passes', async (t) => {
  const gateway = await aggregated(t, { '/a': 1, '/b': 2 })
  for (let i = 0; i < 2; i++) {
    const head = await fetch(`${gateway.url}/x/1`, { method: 'HEAD' })
    t.equal(head.headers.get('cache-status'), 'sallyport; fwd=uri-miss')
  }
  t.equal(gateway.seen.length, 4)
})

t.test('the key has everything that the legs depend on', async (t) => {
  const legs = {
    a: { upstream: 'one', path: '/a?q={query.q}', headers: { 'x-a': '{headers.x-a}' } },
    b: { upstream: 'one', path: '/b', method: 'POST', safe: true, body: { b: '{headers.x-b}' } }
  }
  const body = { a: '{legs.a}', c: '{headers.x-c}' }
  const gateway = await aggregated(
    t,
    { '/a': 1, '/b': 2 },
    {
      aggregate: { legs, body },
      route: { headers: { request: { 'x-d': '{headers.x-e}' } } }
    }
  )
  const requests: readonly [path: string, headers: Record<string, string>][] = [
    ['/x/1?q=1', {}],
    ['/x/2?q=1', {}],
    ['/x/1?q=2', {}],
    ['/x/1?q=1', { 'x-a': '1' }],
    ['/x/1?q=1', { 'x-b': '1' }],
    ['/x/1?q=1', { 'x-c': '1' }],
    ['/x/1?q=1', { 'x-e': '1' }],
    ['/x/1?q=1', { 'x-a': '1', 'x-b': '1' }]
  ]
  for (const [path, headers] of requests)
    t.match((await gateway.get(path, headers))[1], /uri-miss; stored/, `${path} ${JSON.stringify(headers)}`)
  for (const [path, headers] of requests)
    t.match((await gateway.get(path, headers))[1], /hit/, `${path} ${JSON.stringify(headers)}`)
  t.match((await gateway.get('/x/1?q=1', { 'x-other': '1' }))[1], /hit/, 'others make no difference')
})

t.test('keeps apart what a leg varies by', async (t) => {
  const gateway = await aggregated(t, {
    '/a': (request, response) =>
      void response
        .writeHead(200, { ...FRESH, vary: 'accept-language' })
        .end(JSON.stringify(request.headers['accept-language'])),
    '/b': 2
  })
  for (const language of ['de', 'fr', 'de', 'fr'])
    t.equal((await gateway.get('/x/1', { 'accept-language': language }))[0], `{"a":"${language}","b":2}`)
  t.equal(gateway.seen.length, 4)
})

t.test('stores nothing that is incomplete, private or without a time', async (t) => {
  const says =
    (headers: Record<string, string>, status = 200): Answer =>
    (_request: unknown, response: { writeHead: (...head: unknown[]) => { end: (body: string) => void } }) =>
      response.writeHead(status, headers).end('1')
  const optional = {
    legs: { a: { upstream: 'one', path: '/a' }, b: { upstream: 'one', path: '/b', required: false } }
  }
  for (const [name, b, detail] of [
    ['a leg failed', says(FRESH, 500), 'no-store'],
    ['a private leg', says({ 'cache-control': 'private, max-age=60' }), 'no-store'],
    ['a cookie', says({ ...FRESH, 'set-cookie': 'a=b' }), 'no-store'],
    ['one leg says nothing', says({}), 'stale']
  ] as const) {
    const gateway = await aggregated(
      t,
      { '/a': 1, '/b': b },
      { aggregate: optional, route: { cache: { ttl: '60s' } } }
    )
    for (let i = 0; i < 2; i++)
      t.equal((await gateway.get('/x/1'))[1], `sallyport; fwd=uri-miss; detail=${detail}`, name)
    t.equal(gateway.seen.length, 4, name)
  }
  const silent = await aggregated(t, { '/a': says({}), '/b': says({}) }, { route: { cache: { ttl: '60s' } } })
  await silent.get('/x/1')
  t.match((await silent.get('/x/1'))[1], /hit/, 'ttl is for legs that all say nothing')
})

t.test('many requests at once run the legs once', async (t) => {
  let isOpen = (): void => {}
  const opened = new Promise<void>((resolve) => {
    isOpen = resolve
  })
  const gateway = await aggregated(t, {
    '/a': (_request, response) => void opened.then(() => response.writeHead(200, FRESH).end('"slow"')),
    '/b': 2
  })
  const leader = send(`${gateway.url}/x/1`, { agent: false }).on('error', () => {})
  leader.end()
  while (gateway.seen.length < 2) await new Promise(setImmediate)
  const following = [1, 2, 3].map(() => gateway.get('/x/1'))
  const waiting = (): number =>
    gateway.app.responseCache
      ?.families()
      .find(({ name }) => name === 'sallyport_cache_requests_total')
      ?.values.find(({ labels }) => labels['result'] === 'collapsed')?.value ?? 0
  while (waiting() < 3) await new Promise(setImmediate)
  // The client of the first request leaves; the others wait for its legs.
  leader.destroy()
  await new Promise((resolve) => leader.once('close', resolve))
  isOpen()
  for (const [body, cacheStatus] of await Promise.all(following)) {
    t.equal(body, '{"a":"slow","b":2}')
    t.match(cacheStatus, /collapsed|hit/)
  }
  t.equal(gateway.seen.length, 2)
})

t.test('serves stale responses while legs are renewed, and where they fail', async (t) => {
  let status = 200
  let count = 0
  const gateway = await aggregated(
    t,
    {
      '/a': (_request, response) =>
        void response.writeHead(status, { 'cache-control': 'max-age=1', age: '1' }).end(String(++count)),
      '/b': 2
    },
    { route: { cache: { override: '1ms', staleWhileRevalidate: false, staleIfError: '1m' } } }
  )
  t.equal((await gateway.get('/x/1'))[0], '{"a":1,"b":2}')
  status = 500
  await new Promise((resolve) => setTimeout(resolve, 5))
  const [stale, cacheStatus] = await gateway.get('/x/1')
  t.equal(stale, '{"a":1,"b":2}')
  t.match(cacheStatus, /stale-if-error/)
  t.equal((await gateway.get('/x/2'))[2].status, 502, 'nothing is stored for another path')
})

t.test('renews in the background', async (t) => {
  let count = 0
  const gateway = await aggregated(
    t,
    { '/a': (_request, response) => void response.writeHead(200, FRESH).end(String(++count)), '/b': 2 },
    { route: { cache: { override: '1ms', staleWhileRevalidate: '1m' } } }
  )
  t.equal((await gateway.get('/x/1'))[0], '{"a":1,"b":2}')
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.match((await gateway.get('/x/1')).slice(0, 2), ['{"a":1,"b":2}', /hit/])
  while (!(await gateway.get('/x/1'))[0].includes('"a":2')) await new Promise(setImmediate)
})

t.test('callers have entries of their own, which no other cache stores', async (t) => {
  const secretOf = (id: string): string => `the secret of ${id}, 32 characters and more`
  const auth = { apiKeys: { list: ['alice', 'bob'].map((id) => ({ id, secret: secretOf(id) })) } }
  for (const [callers, runs] of [
    ['separate', 2],
    ['never', 4]
  ] as const) {
    const gateway = await aggregated(
      t,
      { '/a': 1, '/b': 2 },
      {
        route: { auth, cache: { callers } }
      }
    )
    for (let i = 0; i < 2; i++)
      for (const id of ['alice', 'bob']) {
        const [body, , response] = await gateway.get('/x/1', { 'x-api-key': secretOf(id) })
        t.equal(body, '{"a":1,"b":2}')
        t.equal(response.headers.get('cache-control'), 'private, max-age=60')
      }
    t.equal(gateway.seen.length, runs * 2, callers)
  }
})

t.test('answers only-if-cached, and purges what a leg is tagged with', async (t) => {
  const gateway = await aggregated(t, {
    '/a': (_request, response) =>
      void response.writeHead(200, { ...FRESH, 'surrogate-key': 'thing-1', 'cache-groups': '"g"' }).end('1'),
    '/b': 2
  })
  const [body, , refused] = await gateway.get('/x/1', { 'cache-control': 'only-if-cached' })
  t.equal(refused.status, 504)
  t.match(body, /SP_ERR_CACHE_NOT_STORED/)
  await gateway.get('/x/1')
  const [, hit, response] = await gateway.get('/x/1')
  t.match(hit, /hit/)
  t.strictSame(
    ['surrogate-key', 'cache-groups'].map((name) => response.headers.get(name)),
    [null, null]
  )
  await gateway.app.responseCache?.purge({ tags: ['thing-1'] })
  t.match((await gateway.get('/x/1'))[1], /uri-miss/)
})
