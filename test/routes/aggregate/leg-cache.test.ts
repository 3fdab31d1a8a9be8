import { once } from 'node:events'
import { request as send } from 'node:http'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { type Listening, listening } from '../../helpers.ts'
import { redis, stored, withoutRedis } from '../../redis.ts'
import { type Answer, answering, service } from './services.ts'

const FRESH = { 'cache-control': 'max-age=60' }

interface Cached extends Listening {
  /** What the service got: method and URL. */
  readonly seen: string[]
  get(path: string, headers?: Record<string, string>, method?: string): Promise<[string, Response]>
}

interface CachedOptions {
  readonly legs?: object
  readonly route?: object
  readonly root?: object
  /** More routes. */
  readonly more?: readonly object[]
  /** The service of another gateway. */
  readonly url?: string
}

const LEGS = {
  a: { upstream: 'one', path: '/a', cache: true },
  b: { upstream: 'one', path: '/b/{params.id}' }
}

/** Starts a gateway whose leg "a" is cached, and its service. */
async function cached(
  t: Test,
  answers: Record<string, Answer>,
  options: CachedOptions = {}
): Promise<Cached> {
  const { legs = LEGS, route, root, more = [] } = options
  const seen: string[] = []
  const counted = Object.entries(answers).map(([path, answer]): [string, Answer] => [
    path,
    (request, response) => {
      seen.push(`${request.method} ${request.url}`)
      if (typeof answer === 'function') (answer as (...sides: unknown[]) => void)(request, response)
      else response.writeHead(200, FRESH).end(JSON.stringify(answer))
    }
  ])
  const url = options.url ?? (await service(t, Object.fromEntries(counted)))
  const gateway = await listening(t, {
    upstreams: { one: { url } },
    ...root,
    routes: [{ path: '/x/:id', aggregate: { legs }, ...route }, ...more]
  })
  return {
    ...gateway,
    seen,
    async get(path, headers = {}, method = 'GET') {
      const response = await fetch(gateway.url + path, { headers, method })
      return [await response.text(), response]
    }
  }
}

/** Counts the requests for a path that the service got. */
const asked = ({ seen }: Cached, path: string): number =>
  seen.filter((line) => line.split(' ')[1] === path).length

/** Returns a count of the cache of the leg "a". */
const counted = ({ app }: Cached, result: string): number =>
  app.responseCache
    ?.families()
    .find(({ name }) => name === 'sallyport_cache_requests_total')
    ?.values.find(({ labels }) => labels['leg'] === 'a' && labels['result'] === result)?.value ?? 0

const languages: Answer = (request, response) =>
  void response
    .writeHead(200, { ...FRESH, vary: 'accept-language' })
    .end(JSON.stringify(request.headers['accept-language']))

t.test('stores the responses of one leg for all URLs of the route', async (t) => {
  const gateway = await cached(t, { '/a': { n: 1.0 }, '/b/1': 1, '/b/2': 2 })
  t.equal((await gateway.get('/x/1'))[0], '{"a":{"n":1},"b":1}')
  const [body, response] = await gateway.get('/x/2')
  t.equal(body, '{"a":{"n":1},"b":2}')
  t.match(response.headers.get('cache-control'), /^max-age=(60|59)$/)
  t.strictSame(
    ['age', 'cache-status', 'etag'].map((name) => response.headers.get(name)),
    [null, null, null]
  )
  t.strictSame([asked(gateway, '/a'), asked(gateway, '/b/1')], [1, 1])
  t.strictSame([counted(gateway, 'hit'), counted(gateway, 'miss')], [1, 1])
})

t.test('the key of a leg has all that its request depends on', async (t) => {
  const leg = {
    upstream: 'one',
    path: '/a?q={query.q}',
    method: 'POST',
    safe: true,
    headers: { 'x-a': '{headers.x-a}' },
    body: { b: '{headers.x-b}' },
    cache: {}
  }
  const gateway = await cached(
    t,
    { '/a': 1 },
    { legs: { a: leg }, route: { headers: { request: { 'x-c': '{headers.x-c}' } } } }
  )
  const requests: readonly [path: string, headers: Record<string, string>][] = [
    ['/x/1?q=1', {}],
    ['/x/1?q=2', {}],
    ['/x/1?q=1', { 'x-a': '1' }],
    ['/x/1?q=1', { 'x-b': '1' }],
    ['/x/1?q=1', { 'x-c': '1' }],
    ['/x/1?q=1', { host: 'other' }]
  ]
  for (let i = 0; i < 2; i++)
    for (const [path, { host, ...headers }] of requests)
      await new Promise((resolve) =>
        send(gateway.url + path, { headers: host === undefined ? headers : { ...headers, host } })
          .on('response', (response) => response.resume().on('end', resolve))
          .end()
      )
  t.strictSame([counted(gateway, 'miss'), counted(gateway, 'hit')], [requests.length, requests.length])
})

t.test('keeps apart what a leg varies by', async (t) => {
  const gateway = await cached(t, { '/a': languages, '/b/1': 1 })
  for (const language of ['de', 'fr', 'de', 'fr'])
    t.equal((await gateway.get('/x/1', { 'accept-language': language }))[0], `{"a":"${language}","b":1}`)
  t.equal(asked(gateway, '/a'), 2)
})

const secretOf = (id: string): string => `the secret of ${id}, 32 characters and more`
const auth = { apiKeys: { list: ['alice', 'bob'].map((id) => ({ id, secret: secretOf(id) })) } }

t.test('never gives one caller what a leg said to another one', async (t) => {
  const who: Answer = (request, response) =>
    void response.writeHead(200, FRESH).end(JSON.stringify(request.headers['x-user'] ?? null))
  for (const [callers, runs, bodies] of [
    ['never', 4, ['"alice"', '"bob"']],
    ['separate', 2, ['"alice"', '"bob"']],
    ['shared', 1, ['"alice"', '"alice"']]
  ] as const) {
    const gateway = await cached(
      t,
      { '/a': who },
      {
        legs: { a: { upstream: 'one', path: '/a', cache: { callers } } },
        route: { auth: { ...auth, identity: { 'X-User': 'id' } } }
      }
    )
    for (let i = 0; i < 2; i++)
      for (const [at, id] of ['alice', 'bob'].entries()) {
        const [body, response] = await gateway.get('/x/1', { 'x-api-key': secretOf(id) })
        t.equal(body, `{"a":${bodies[at]}}`, `${callers} ${id}`)
        t.equal(response.headers.get('cache-control')?.startsWith('private'), true)
      }
    t.equal(asked(gateway, '/a'), runs, callers)
  }
})

t.test('stores nothing that belongs to one client', async (t) => {
  const as = (headers: Record<string, string>, status = 200): Answer => answering('1', headers, status)
  const own = { ...LEGS.a, headers: { authorization: 'Bearer of-the-gateway' } }
  for (const [name, a, headers, leg, runs] of [
    ['a private response', as({ 'cache-control': 'private, max-age=60' }), {}, LEGS.a, 2],
    ['a cookie', as({ ...FRESH, 'set-cookie': 'a=b' }), {}, LEGS.a, 2],
    ['no time', as({}), {}, LEGS.a, 2],
    ['a credential of the client', as(FRESH), { authorization: 'Bearer x' }, LEGS.a, 2],
    ['a request with no-store', as(FRESH), { 'cache-control': 'no-store' }, LEGS.a, 2],
    ['a credential of the config', as(FRESH), { authorization: 'Bearer x' }, own, 1],
    ['a body of another format', as({ ...FRESH }, 200), {}, { ...LEGS.a, format: 'xml', required: false }, 2],
    ['an error', as(FRESH, 500), {}, { ...LEGS.a, required: false }, 2]
  ] as const) {
    const gateway = await cached(t, { '/a': a, '/b/1': 1 }, { legs: { ...LEGS, a: leg } })
    for (let i = 0; i < 2; i++) await gateway.get('/x/1', headers)
    t.equal(asked(gateway, '/a'), runs, name)
  }
})

t.test('what a client asks of the response as a whole says nothing of its legs', async (t) => {
  const gateway = await cached(t, {
    '/a': (_request, response) => void response.writeHead(200, { ...FRESH, etag: '"a"' }).end('1'),
    '/b/1': 2
  })
  await gateway.get('/x/1')
  for (const headers of [
    { 'if-none-match': '"a"' },
    { 'if-none-match': '*' },
    { range: 'bytes=0-0' },
    { 'cache-control': 'only-if-cached' },
    { 'if-modified-since': new Date().toUTCString() }
  ]) {
    const [body, { status }] = await gateway.get('/x/1', headers as unknown as Record<string, string>)
    t.strictSame([status, body], [200, '{"a":1,"b":2}'], JSON.stringify(headers))
  }
  t.equal((await gateway.get('/x/1', {}, 'HEAD'))[1].status, 200)
  t.equal(asked(gateway, '/a'), 1)
})

t.test('revalidates, and serves stale responses where the upstream fails or while it is asked', async (t) => {
  let status = 200
  const revalidated: unknown[] = []
  const a: Answer = (request, response) => {
    revalidated.push(request.headers['if-none-match'])
    const isSame = request.headers['if-none-match'] === '"v1"' && status === 200
    response.writeHead(isSame ? 304 : status, { 'cache-control': 'max-age=1', etag: '"v1"' })
    response.end(isSame ? undefined : '{"v":1}')
  }
  const gateway = await cached(
    t,
    { '/a': a },
    {
      legs: {
        a: {
          upstream: 'one',
          path: '/a',
          cache: { override: '1ms', staleWhileRevalidate: false, staleIfError: '1m' }
        }
      }
    }
  )
  const later = async (): Promise<string> => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return (await gateway.get('/x/1'))[0]
  }
  t.equal(await later(), '{"a":{"v":1}}')
  t.equal(await later(), '{"a":{"v":1}}', 'a 304 confirms it')
  status = 503
  t.equal(await later(), '{"a":{"v":1}}', 'a stale one takes the place of an error')
  status = 404
  t.match(await later(), /SP_ERR_AGGREGATE_LEG/, 'a 404 is no failure of the upstream')
  t.strictSame(revalidated.slice(0, 2), [undefined, '"v1"'])
})

t.test('renews a leg in the background', async (t) => {
  let count = 0
  const gateway = await cached(
    t,
    { '/a': (_request, response) => void response.writeHead(200, FRESH).end(String(++count)) },
    { legs: { a: { ...LEGS.a, cache: { override: '1ms', staleWhileRevalidate: '1m' } } } }
  )
  t.equal((await gateway.get('/x/1'))[0], '{"a":1}')
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal((await gateway.get('/x/1'))[0], '{"a":1}')
  while ((await gateway.get('/x/1'))[0] === '{"a":1}') await new Promise(setImmediate)
})

t.test('stores the 404 of a leg for "notFound", without its body', async (t) => {
  const gateway = await cached(
    t,
    { '/a': answering('no such thing', {}, 404) },
    { legs: { a: { ...LEGS.a, pass: [404], cache: { notFound: '1m' } } } }
  )
  for (let i = 0; i < 2; i++) {
    const [body, { status }] = await gateway.get('/x/1')
    t.match([status, body], [404, /"leg":"a","reason":"status"/])
  }
  t.equal(asked(gateway, '/a'), 1)
})

t.test('requests at once share one request of a leg, also when the first client leaves', async (t) => {
  let isOpen = (): void => {}
  const opened = new Promise<void>((resolve) => {
    isOpen = resolve
  })
  const gateway = await cached(t, {
    '/a': (_request, response) => void opened.then(() => response.writeHead(200, FRESH).end('"slow"')),
    '/b/1': 1,
    '/b/2': 2,
    '/b/3': 3
  })
  const leader = send(`${gateway.url}/x/1`, { agent: false }).on('error', () => {})
  leader.end()
  while (asked(gateway, '/a') < 1) await new Promise(setImmediate)
  const following = [2, 3].map((id) => gateway.get(`/x/${id}`))
  while (counted(gateway, 'collapsed') < 2) await new Promise(setImmediate)
  leader.destroy()
  await new Promise((resolve) => leader.once('close', resolve))
  isOpen()
  const bodies = (await Promise.all(following)).map(([body]) => body)
  t.strictSame(bodies, ['{"a":"slow","b":2}', '{"a":"slow","b":3}'])
  t.equal(asked(gateway, '/a'), 1)
  t.equal(gateway.app.buffers.held, 0)
})

t.test('a leg that nobody waits for ends with its client', async (t) => {
  let closed = (): void => {}
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve
  })
  const gateway = await cached(t, { '/a': (request) => void request.once('close', closed), '/b/1': 1 })
  const client = send(`${gateway.url}/x/1`, { agent: false }).on('error', () => {})
  client.end()
  while (asked(gateway, '/a') < 1) await new Promise(setImmediate)
  client.destroy()
  await isClosed
  await new Promise(setImmediate)
  t.equal(gateway.app.buffers.held, 0)
})

t.test('stores a body decoded, and the items of a list one by one', async (t) => {
  const gateway = await cached(
    t,
    {
      '/list': [1, 2, 1],
      '/a/1': (_request, response) =>
        void response.writeHead(200, { ...FRESH, 'content-encoding': 'gzip' }).end(gzipSync('"one"')),
      '/a/2': 'two'
    },
    {
      legs: {
        list: { upstream: 'one', path: '/list' },
        a: { upstream: 'one', path: '/a/{item}', each: '{legs.list}', cache: true }
      }
    }
  )
  for (let i = 0; i < 2; i++)
    t.equal((await gateway.get('/x/1'))[0], '{"list":[1,2,1],"a":["one","two","one"]}')
  t.strictSame([asked(gateway, '/a/1'), asked(gateway, '/a/2'), asked(gateway, '/list')], [1, 1, 2])
})

t.test('purges a leg by its tags and its URL, and the response of its route by its tags', async (t) => {
  const tagged: Answer = answering('1', { ...FRESH, 'surrogate-key': 'of-service' })
  const legs = {
    a: { upstream: 'one', path: '/a', cache: { tags: ['thing-{params.id}'] } },
    b: { upstream: 'one', path: '/b' }
  }
  for (const [purge, isPurged] of [
    [{ tags: ['thing-1'] }, true],
    [{ tags: ['of-service'] }, true],
    [{ tags: ['other'] }, false],
    [{ urls: ['//one/a'] }, true],
    [{ urls: ['/a'] }, true],
    [{ prefix: '//one/' }, true],
    [{ urls: ['//one/b'] }, false],
    [{ all: true }, true]
  ] as const) {
    const gateway = await cached(t, { '/a': tagged, '/b': 2 }, { legs })
    await gateway.get('/x/1')
    await gateway.app.responseCache?.purge(purge)
    const [, response] = await gateway.get('/x/1')
    t.equal(asked(gateway, '/a'), isPurged ? 2 : 1, JSON.stringify(purge))
    t.equal(response.headers.get('surrogate-key'), null)
  }
  for (const tag of ['thing-1', 'of-service']) {
    const gateway = await cached(t, { '/a': tagged, '/b': 2 }, { legs, route: { cache: {} } })
    // The second response of the route has the leg from the cache.
    for (const path of ['/x/1', '/x/1?again']) await gateway.get(path)
    t.equal(asked(gateway, '/a'), 1)
    await gateway.app.responseCache?.purge({ tags: [tag] })
    const [, response] = await gateway.get('/x/1?again')
    t.match(response.headers.get('cache-status'), /uri-miss/, tag)
  }
})

t.test('a leg that changes something invalidates what is stored for its URL', async (t) => {
  const more = [
    { path: '/change', aggregate: { legs: { a: { upstream: 'one', path: '/a', method: 'PUT' } } } },
    { path: '/fail', aggregate: { legs: { a: { upstream: 'one', path: '/b/0', method: 'PUT' } } } }
  ]
  const gateway = await cached(t, { '/a': 1, '/b/1': 1, '/b/0': answering('', {}, 500) }, { more })
  const stored = async (): Promise<number> => {
    await gateway.get('/x/1')
    return gateway.seen.filter((line) => line === 'GET /a').length
  }
  t.strictSame([await stored(), await stored()], [1, 1])
  await gateway.get('/fail')
  t.equal(await stored(), 1)
  t.equal((await gateway.get('/change'))[1].status, 200)
  t.equal(await stored(), 2)
})

t.test('gateways share the legs in Redis, and their purges', { skip: withoutRedis }, async (t) => {
  const server = await redis(t)
  let count = 0
  const url = await service(t, {
    '/a': (_request, response) => void response.writeHead(200, FRESH).end(String(++count)),
    '/b/1': '1'
  })
  const root = { store: { redis: server.url, timeout: '10s' } }
  const [one, other] = [await cached(t, {}, { url, root }), await cached(t, {}, { url, root })]
  const bodyFrom = async ({ url: at }: Cached): Promise<string> => {
    const request = send(`${at}/x/1`, { headers: { host: 'shop.example' }, agent: false }).end()
    const [response] = await once(request, 'response')
    return await text(response)
  }
  t.equal(await bodyFrom(one), '{"a":1,"b":1}')
  await stored(server, 1)
  t.equal(await bodyFrom(other), '{"a":1,"b":1}')
  t.equal(count, 1)
  await one.app.responseCache?.purge({ all: true })
  while ((await bodyFrom(other)) === '{"a":1,"b":1}') await new Promise((resolve) => setTimeout(resolve, 20))
  t.not(await bodyFrom(one), '{"a":1,"b":1}')
})
