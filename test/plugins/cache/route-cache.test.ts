import t from 'tap'
import type { CacheOptions } from '../../../plugins/cache/options.ts'
import { cached, stoppedClock, type Upstream } from './harness.ts'

const MAX_AGE = ['cache-control', 'max-age=60']
const ok =
  (...fields: string[]): Upstream =>
  ({ url }) => ({ status: 200, fields, body: `body of ${url}` })

t.test('serves a stored response until it is stale, and tells its age', async (t) => {
  const advance = stoppedClock(t)
  const { get, seen } = cached({}, ok(...MAX_AGE))
  t.match(await get('/a'), { status: 200, cacheStatus: 'sallyport; fwd=uri-miss; stored' })
  advance(10)
  t.match(await get('/a'), {
    body: 'body of /a',
    cacheStatus: 'sallyport; hit; ttl=50',
    headers: { age: '10' }
  })
  advance(51)
  t.match(await get('/a'), { cacheStatus: 'sallyport; fwd=uri-miss; stored' })
  t.equal(seen.length, 2)
})

t.test('keeps apart what the key has', async (t) => {
  for (const [name, options, requests, misses] of [
    ['paths and queries', {}, [['/a'], ['/b'], ['/a?x=1'], ['/a?x=2'], ['/a']], 4],
    [
      'no ignored parameters',
      { ignoreQuery: ['utm_*', 'x'] },
      [['/a?utm_a=1&b=2'], ['/a?b=2&x=1'], ['/a?b=3']],
      2
    ],
    [
      'hosts',
      {},
      [
        ['/a', { host: 'a' }],
        ['/a', { host: 'b' }],
        ['/a', { host: 'A' }]
      ],
      2
    ],
    ['values of vary', { vary: ['Accept'] }, [['/a', { accept: 'x' }], ['/a', { accept: '' }], ['/a']], 3],
    [
      'no callers that share',
      { callers: 'shared' },
      [
        ['/a', { 'x-caller': 'a' }],
        ['/a', { 'x-caller': 'b' }]
      ],
      1
    ],
    [
      'separate callers',
      { callers: 'separate' },
      [['/a', { 'x-caller': 'a' }], ['/a', { 'x-caller': 'b' }], ['/a']],
      3
    ]
  ] as [string, Partial<CacheOptions>, [string, Record<string, string>?][], number][]) {
    const { get, seen } = cached(options, ok(...MAX_AGE))
    for (const [url, headers] of requests) await get(url, headers)
    t.equal(seen.length, misses, name)
  }
})

t.test('chooses by Vary, also where responses vary by different headers', async (t) => {
  const { get, seen } = cached({}, ({ headers }) => ({
    status: 200,
    fields: [...MAX_AGE, 'vary', headers['accept'] === 'x' ? 'Accept' : 'Accept, Origin'],
    body: `${headers['accept']} ${headers['origin']}`
  }))
  await get('/a', { accept: 'x', origin: '1' })
  t.equal((await get('/a', { accept: 'y', origin: '1' })).body, 'y 1')
  t.equal((await get('/a', { accept: 'y', origin: '2' })).body, 'y 2')
  t.equal((await get('/a', { accept: 'y', origin: '1' })).body, 'y 1')
  t.equal(seen.length, 3)
  t.match(await get('/a', { accept: 'z' }), { cacheStatus: 'sallyport; fwd=vary-miss; stored' })
})

t.test('takes an encoded response for one that varies by Accept-Encoding', async (t) => {
  const { get } = cached({}, ({ headers }) =>
    headers['accept-encoding'] === 'gzip'
      ? { status: 200, fields: [...MAX_AGE, 'content-encoding', 'gzip'], body: 'zipped' }
      : { status: 200, fields: MAX_AGE, body: 'plain' }
  )
  await get('/a', { 'accept-encoding': 'gzip' })
  t.equal((await get('/a')).body, 'plain')
})

t.test('passes what it has nothing to do with, and says why', async (t) => {
  for (const [headers, method, cacheStatus] of [
    [{}, 'POST', 'fwd=method'],
    [{ 'x-caller': 'a' }, 'GET', 'fwd=bypass; detail=caller'],
    [{ authorization: 'Bearer x' }, 'GET', 'fwd=bypass; detail=authorization'],
    [{ 'x-http-method-override': 'DELETE' }, 'GET', 'fwd=bypass; detail=method-override'],
    [{ 'if-match': '"a"' }, 'GET', 'fwd=bypass; detail=precondition'],
    [{ 'cache-control': 'no-store' }, 'GET', 'fwd=uri-miss; detail=request-no-store'],
    [{ 'cache-control': '"x' }, 'GET', 'fwd=uri-miss; detail=request-no-store'],
    [{ range: 'bytes=0-1' }, 'GET', 'fwd=uri-miss; detail=range'],
    [{}, 'HEAD', 'fwd=uri-miss']
  ] as const) {
    const { get, parts } = cached({}, ok(...MAX_AGE))
    t.equal((await get('/a', headers, method)).cacheStatus, `sallyport; ${cacheStatus}`)
    t.equal((parts.store as { size?: number }).size, 0)
  }
})

t.test('answers 504 on a miss to only-if-cached', async (t) => {
  const { get, seen } = cached({}, ok(...MAX_AGE))
  const headers = { 'cache-control': 'only-if-cached' }
  t.equal((await get('/a', headers)).status, 504)
  await get('/a')
  t.equal((await get('/a', headers)).status, 200)
  t.equal(seen.length, 1)
})

t.test('takes a client’s wish for a renewed response only where the route says so', async (t) => {
  for (const [directive, renewed] of [
    ['no-cache', true],
    ['max-age=5', true],
    ['max-age=20', false],
    ['min-fresh=55', true],
    ['min-fresh=40', false]
  ] as const)
    for (const requestDirectives of [true, false]) {
      const advance = stoppedClock(t)
      const { get, seen } = cached({ requestDirectives }, ok(...MAX_AGE))
      await get('/a')
      advance(10)
      await get('/a', { 'cache-control': directive })
      t.equal(seen.length, requestDirectives && renewed ? 2 : 1, directive)
    }
})

t.test('revalidates a stale response, and takes over what a 304 says', async (t) => {
  const advance = stoppedClock(t)
  const { get, seen } = cached({}, (_request, sets) =>
    sets.length > 0
      ? { status: 304, fields: [...MAX_AGE, 'x-version', '2'] }
      : {
          status: 200,
          fields: [...MAX_AGE, 'etag', 'W/"a"', 'last-modified', 'x', 'x-version', '1'],
          body: 'b'
        }
  )
  await get('/a')
  advance(61)
  t.match(await get('/a', { 'if-none-match': '"other"' }), {
    status: 200,
    body: 'b',
    headers: { 'x-version': '2' },
    cacheStatus: 'sallyport; fwd=stale; fwd-status=304; stored'
  })
  t.strictSame(seen[1]?.sets, ['if-none-match', 'W/"a"', 'if-modified-since', 'x'])
  t.match(await get('/a'), { headers: { 'x-version': '2' }, cacheStatus: /hit/ })
  advance(61)
  t.equal((await get('/a', { 'if-none-match': '"a"' })).status, 304)
})

t.test('forgets a stored response where the renewed one may not be stored', async (t) => {
  const advance = stoppedClock(t)
  let fields = [...MAX_AGE, 'etag', '"a"']
  const { get, parts } = cached({ staleIfError: '1h' }, () => ({ status: 200, fields, body: 'b' }))
  await get('/a')
  advance(61)
  fields = ['cache-control', 'private']
  t.equal((await get('/a')).cacheStatus, 'sallyport; fwd=stale; detail=private')
  t.equal((parts.store as { size?: number }).size, 0)
})

t.test('serves stale while one request renews it', async (t) => {
  const advance = stoppedClock(t)
  let version = 0
  const { get } = cached({ staleWhileRevalidate: '10s' }, () => ({
    status: 200,
    fields: MAX_AGE,
    body: `${version++}`
  }))
  await get('/a')
  advance(65)
  t.match(await get('/a'), { body: '0', cacheStatus: /hit; ttl=-5/, headers: { age: '65' } })
  t.match(await get('/a'), { body: '1', cacheStatus: /hit; ttl=60/ })
  advance(71)
  t.match(await get('/a'), { body: '2', cacheStatus: /fwd=uri-miss/ })
})

t.test('serves stale where the upstream fails, no longer than allowed', async (t) => {
  for (const failure of [new Error('refused'), { status: 503, fields: [] }, { status: 500, fields: [] }]) {
    const advance = stoppedClock(t)
    let failing = false
    const { get } = cached({ staleIfError: '1m' }, () =>
      failing ? failure : { status: 200, fields: MAX_AGE, body: 'b' }
    )
    await get('/a')
    failing = true
    advance(70)
    t.match(await get('/a'), { status: 200, body: 'b', cacheStatus: /fwd=stale.*detail=stale-if-error/ })
    advance(60)
    t.not((await get('/a')).status, 200)
  }
})

t.test('answers conditions, ranges and HEAD from a stored response', async (t) => {
  const { get, seen } = cached({}, () => ({ status: 200, fields: MAX_AGE, body: '0123456789' }))
  const { headers } = await get('/a').then(() => get('/a'))
  const etag = String(headers['etag'])
  t.match(etag, /^"[\w-]{22}"$/)
  for (const [name, asked, status, body] of [
    ['an ETag of ours', { 'if-none-match': etag }, 304, ''],
    ['one in a list, weakly', { 'if-none-match': `"x", W/${etag}` }, 304, ''],
    ['any', { 'if-none-match': '*' }, 304, ''],
    ['another one', { 'if-none-match': '"x"' }, 200, '0123456789'],
    ['a later date', { 'if-modified-since': new Date(Date.now() + 60_000).toUTCString() }, 304, ''],
    ['an invalid date', { 'if-modified-since': 'x' }, 200, '0123456789'],
    ['a range', { range: 'bytes=2-4' }, 206, '234'],
    ['to the end', { range: 'bytes=8-' }, 206, '89'],
    ['past the end', { range: 'bytes=8-99' }, 206, '89'],
    ['a suffix', { range: 'bytes=-3' }, 206, '789'],
    ['several', { range: 'bytes=0-1,3-4' }, 200, '0123456789'],
    ['other units', { range: 'lines=0-1' }, 200, '0123456789'],
    ['backwards', { range: 'bytes=4-2' }, 200, '0123456789'],
    ['beyond', { range: 'bytes=10-' }, 416, ''],
    ['nothing', { range: 'bytes=-0' }, 416, ''],
    ['If-Range with the ETag', { range: 'bytes=0-1', 'if-range': etag }, 206, '01'],
    ['If-Range with a weak one', { range: 'bytes=0-1', 'if-range': `W/${etag}` }, 200, '0123456789'],
    ['If-Range with a date', { range: 'bytes=0-1', 'if-range': new Date().toUTCString() }, 200, '0123456789']
  ] as const) {
    const answer = await get('/a', asked)
    t.match(answer, { status, body }, name)
    t.match(answer.cacheStatus, /hit/, name)
  }
  t.match(await get('/a', { range: 'bytes=2-4' }), { headers: { 'content-range': 'bytes 2-4/10' } })
  t.match(await get('/a', {}, 'HEAD'), { status: 200, body: '', cacheStatus: /hit/ })
  t.equal(seen.length, 1)
})

t.test('serves a stripped response without its cookies', async (t) => {
  const { get } = cached({ setCookie: 'strip' }, ok(...MAX_AGE, 'set-cookie', 'a=b'))
  await get('/a')
  t.match(await get('/a'), { cacheStatus: /hit/, headers: { 'set-cookie': undefined } })
})

t.test('stores no body beyond maxEntry, and none beyond the memory of the process', async (t) => {
  const large = cached({ maxEntry: '1kb' }, () => ({ status: 200, fields: MAX_AGE, body: 'x'.repeat(1025) }))
  await large.get('/a')
  t.equal((await large.get('/a')).cacheStatus, 'sallyport; fwd=uri-miss; stored')
  t.equal(large.seen.length, 2)
  const told = cached({ maxEntry: '1kb' }, () => ({
    status: 200,
    fields: [...MAX_AGE, 'content-length', '1025'],
    body: 'x'.repeat(1025)
  }))
  t.equal((await told.get('/a')).cacheStatus, 'sallyport; fwd=uri-miss; detail=too-large')
  const full = cached({}, ok(...MAX_AGE))
  full.parts.budget.limit = 4
  await full.get('/a')
  await full.get('/a')
  t.equal(full.seen.length, 2)
  t.equal(full.parts.budget.held, 0)
})

t.test('stores no body that is shorter than its head says', async (t) => {
  const { get, seen } = cached({}, ok(...MAX_AGE, 'content-length', '1000'))
  await get('/a')
  await get('/a')
  t.equal(seen.length, 2)
})
