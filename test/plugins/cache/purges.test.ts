import t from 'tap'
import type { CacheOptions } from '../../../plugins/cache/options.ts'
import { LocalPurges, type Purges } from '../../../plugins/cache/purges/purges.ts'
import { readPurge } from '../../../plugins/cache/purges/request.ts'
import { compilePurge, PurgeTable } from '../../../plugins/cache/purges/table.ts'
import { workersTogether } from '../../helpers.ts'
import { type Cached, cached, partsOf, stoppedClock, type Upstream } from './harness.ts'

const MAX_AGE = ['cache-control', 'max-age=60']
const HOST = { host: 'api.example.com' }

const tagged: Upstream = ({ url }) => ({
  status: 200,
  fields: [...MAX_AGE, 'cache-groups', '"group", "g 2"', 'surrogate-key', 'key1 key2', 'etag', '"a"'],
  body: url
})

/** Makes a cache whose purges a test can make. */
function purgeable(options: Partial<CacheOptions> = {}, upstream = tagged): Cached & { purges: Purges } {
  const parts = partsOf()
  return { ...cached(options, upstream, parts), purges: parts.purges }
}

/** Tells whether a stored response is served. */
const isHit = async ({ get }: Cached, url: string): Promise<boolean> =>
  (await get(url, HOST)).cacheStatus.includes('hit')

const PURGES: Record<string, { readonly body: unknown; readonly purged: readonly string[] }> = {
  'a tag of the route': { body: { tags: ['all'] }, purged: ['/a/1', '/a/2?x', '/b'] },
  'a tag of one entry': { body: { tags: ['url /b'] }, purged: ['/b'] },
  'a tag by itself': { body: { tags: 'url /b' }, purged: ['/b'] },
  'a group of the upstream': { body: { tags: ['g 2'] }, purged: ['/a/1', '/a/2?x', '/b'] },
  'a surrogate key': { body: { tags: ['x', 'key2'] }, purged: ['/a/1', '/a/2?x', '/b'] },
  'another tag': { body: { tags: ['none'] }, purged: [] },
  'a URL': { body: { urls: ['https://API.example.com:443/a/1'] }, purged: ['/a/1'] },
  'a URL with a query': { body: { urls: ['http://api.example.com/a/2?x'] }, purged: ['/a/2?x'] },
  'a path': { body: { urls: ['/a/1', '/b'] }, purged: ['/a/1', '/b'] },
  'a URL of another host': { body: { urls: ['https://example.com/a/1'] }, purged: [] },
  'a prefix': { body: { prefix: 'https://api.example.com/a/' }, purged: ['/a/1', '/a/2?x'] },
  'a prefix of all hosts': { body: { prefix: ['/b', '/a/2'] }, purged: ['/a/2?x', '/b'] },
  all: { body: { all: true }, purged: ['/a/1', '/a/2?x', '/b'] }
}

t.test('purges what is named, and nothing else', async (t) => {
  for (const [name, { body, purged }] of Object.entries(PURGES)) {
    const cache = purgeable({ tags: ['all', 'url {path}'] })
    const urls = ['/a/1', '/a/2?x', '/b']
    for (const url of urls) await isHit(cache, url)
    await cache.purges.purge(readPurge(body))
    const gone: string[] = []
    for (const url of urls) if (!(await isHit(cache, url))) gone.push(url)
    t.strictSame(gone, purged, name)
    for (const url of urls) t.equal(await isHit(cache, url), true, 'and stores anew')
  }
})

t.test('makes stale instead where a purge is soft', async (t) => {
  const advance = stoppedClock(t)
  const cache = purgeable({ staleWhileRevalidate: '10s' })
  await isHit(cache, '/a')
  await cache.purges.purge(readPurge({ urls: ['/a'], soft: true }))
  advance(5)
  t.match(await cache.get('/a', HOST), { cacheStatus: /hit; ttl=-5/ })
  t.match(await cache.get('/a', HOST), { cacheStatus: /hit; ttl=60/ }, 'renewed in the background')
  await cache.purges.purge(readPurge({ all: true, soft: true }))
  advance(11)
  t.match(await cache.get('/a', HOST), { cacheStatus: 'sallyport; fwd=stale; stored' })
  t.strictSame(cache.seen.at(-1)?.sets, ['if-none-match', '"a"'])
})

t.test('does not store as valid what was asked for before a purge', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const cache = purgeable({}, async () => {
    asked.resolve()
    await promise
    return { status: 200, fields: MAX_AGE, body: 'old' }
  })
  const asking = cache.get('/a', HOST)
  await asked.promise
  await cache.purges.purge({ all: true })
  resolve()
  t.equal((await asking).body, 'old')
  t.equal(await isHit(cache, '/a'), false)
  t.equal(await isHit(cache, '/a'), true)
})

t.test('invalidates what an unsafe request that succeeded has changed', async (t) => {
  for (const [name, status, fields, gone] of [
    ['its own URL', 200, [], ['/a']],
    ['a redirect', 303, [], ['/a']],
    ['nothing where it failed', 400, [], []],
    ['Location', 201, ['location', '/b'], ['/a', '/b']],
    [
      'Content-Location of the same host',
      200,
      ['content-location', 'https://api.example.com/b'],
      ['/a', '/b']
    ],
    ['no Location of another host', 201, ['location', 'https://example.com/b'], ['/a']],
    ['groups', 200, ['cache-group-invalidation', '"group"'], ['/a', '/b', '/c']],
    ['no invalid groups', 200, ['cache-group-invalidation', '"group", x'], ['/a']]
  ] as [string, number, string[], string[]][]) {
    const cache = purgeable({}, (request, sets) =>
      request.method === 'POST' ? { status, fields, body: '' } : tagged(request, sets)
    )
    for (const url of ['/a', '/b', '/c']) await isHit(cache, url)
    await cache.get('/a', HOST, 'POST')
    const missed: string[] = []
    for (const url of ['/a', '/b', '/c']) if (!(await isHit(cache, url))) missed.push(url)
    t.strictSame(missed, gone, name)
  }
})

t.test('keeps Surrogate-Key from clients', async (t) => {
  const cache = purgeable()
  for (let i = 0; i < 2; i++) {
    const { headers } = await cache.get('/a', HOST)
    t.equal(headers['surrogate-key'], undefined)
    t.ok(headers['cache-groups'])
  }
})

t.test('takes at most 32 tags of 64 bytes', async (t) => {
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`)
  const fields = [...MAX_AGE, 'surrogate-key', ['x'.repeat(65), ...keys].join(' ')]
  const cache = purgeable({}, () => ({ status: 200, fields, body: '' }))
  for (const [tag, hit] of [
    ['x'.repeat(65), true],
    ['k32', true],
    ['k31', false]
  ] as const) {
    await isHit(cache, '/a')
    await cache.purges.purge({ tags: [tag] })
    t.equal(await isHit(cache, '/a'), hit, tag)
  }
})

t.test('tells all workers', async (t) => {
  const workers = workersTogether(2).map((peers) =>
    cached({}, tagged, partsOf({ purges: new LocalPurges(peers) }))
  )
  for (const worker of workers) await isHit(worker, '/a')
  await workers[0]?.parts.purges.purge({ urls: ['/a'] })
  for (const worker of workers) t.equal(await isHit(worker, '/a'), false)
})

t.test('forgets the oldest of many lengths of prefixes, and purges what is older', async (t) => {
  const table = new PurgeTable()
  const entryOf = (stamp: number) => ({ url: '//a/b', slots: [], stamp }) as never
  for (let i = 1; i <= 64; i++) table.apply(compilePurge({ prefixes: ['x'.repeat(i)] }), i)
  t.equal(table.stateOf(entryOf(0)), 'valid')
  for (let i = 65; i <= 70; i++) table.apply(compilePurge({ prefixes: ['x'.repeat(i)] }), i)
  t.equal(table.stateOf(entryOf(5)), 'purged')
  t.equal(table.stateOf(entryOf(6)), 'valid')
})

t.test('refuses a request to purge that is not clear', async (t) => {
  for (const body of [
    undefined,
    [],
    'all',
    {},
    { all: false },
    { all: true, tags: ['a'] },
    { tags: [] },
    { tags: [1] },
    { tags: [''] },
    { urls: ['a'] },
    { prefix: 'example.com/a' },
    { all: true, soft: 'yes' },
    { tag: 'a' },
    { tags: Array.from({ length: 1001 }, String) }
  ])
    t.throws(() => readPurge(body), TypeError, JSON.stringify(body))
})
