import t from 'tap'
import { httpDate, storedFields, updatedFields } from '../../../plugins/cache/fields.ts'
import type { CacheOptions } from '../../../plugins/cache/options.ts'
import { decideStorage } from '../../../plugins/cache/storage.ts'
import { policyOf } from './harness.ts'

const NOW = Date.parse('2026-11-30T12:00:00Z')
const date = (seconds: number): string => new Date(NOW + seconds * 1000).toUTCString()

interface Case {
  readonly fields: readonly string[]
  readonly status?: number
  readonly options?: Partial<CacheOptions>
  /** Seconds, or the reason for not storing. */
  readonly fresh: number | string
  /** Seconds of stale-while-revalidate and stale-if-error. */
  readonly stale?: readonly [number, number]
}

const decide = ({ fields, status = 200, options = {} }: Case) =>
  decideStorage({
    response: { status, fields },
    request: { noStore: false, hasCaller: false, hasAuthorization: false },
    policy: policyOf(options),
    exchange: { requestedAt: NOW - 1000, receivedAt: NOW }
  })

const cc = (value: string, ...more: string[]): string[] => ['cache-control', value, ...more]
const etag = ['etag', '"a"']
// The exchange took a second, which counts as age.
const FRESH: Record<string, Case> = {
  'max-age': { fields: cc('max-age=60'), fresh: 59 },
  's-maxage before max-age': { fields: cc('max-age=60, s-maxage=100'), fresh: 99 },
  'CDN-Cache-Control first': { fields: cc('max-age=60', 'cdn-cache-control', 'max-age=100'), fresh: 99 },
  'CDN-Cache-Control over no-store': {
    fields: cc('no-store', 'cdn-cache-control', 'max-age=100'),
    fresh: 99
  },
  'a private beside CDN-Cache-Control': {
    fields: cc('private', 'cdn-cache-control', 'max-age=100'),
    fresh: 'private'
  },
  'an invalid CDN-Cache-Control': {
    fields: cc('max-age=60', 'cdn-cache-control', 'Max-Age=100'),
    fresh: 'invalid-cache-control'
  },
  'a CDN-Cache-Control of another type': {
    fields: cc('max-age=60', 'cdn-cache-control', 'max-age="100"'),
    fresh: 'invalid-cache-control'
  },
  'an empty CDN-Cache-Control': { fields: cc('max-age=60', 'cdn-cache-control', ' '), fresh: 59 },
  'no-store in CDN-Cache-Control': {
    fields: cc('max-age=60', 'cdn-cache-control', 'no-store'),
    fresh: 'no-store'
  },
  'private=?0 in CDN-Cache-Control': {
    fields: cc('max-age=60', 'cdn-cache-control', 'private=?0, max-age=60'),
    fresh: 'private'
  },
  Expires: { fields: ['expires', date(60), 'date', date(0)], fresh: 59 },
  'Expires without a Date': { fields: ['expires', date(60)], fresh: 59 },
  'an invalid Expires with a validator': { fields: ['expires', '0', ...etag], fresh: 0 },
  'an invalid Expires': { fields: ['expires', '0'], options: { ttl: '1m' }, fresh: 'stale' },
  'max-age before Expires': { fields: cc('max-age=60', 'expires', date(600)), fresh: 59 },
  'Age is counted': { fields: cc('max-age=60', 'age', '20'), fresh: 39 },
  'several ages are stale': { fields: cc('max-age=60', 'age', '20, 50', ...etag), fresh: 0 },
  'an invalid Age is stale': { fields: cc('max-age=60', 'age', 'x', ...etag), fresh: 0 },
  'an old Date is counted': { fields: cc('max-age=60', 'date', date(-30)), fresh: 30 },
  'a Date in the future is not': { fields: cc('max-age=60', 'date', date(30)), fresh: 59 },
  'older than max-age': { fields: cc('max-age=60', 'age', '90', ...etag), fresh: 0 },
  'no heuristics': { fields: ['last-modified', date(-86_400)], fresh: 'no-freshness' },
  'ttl where nothing is said': { fields: [], options: { ttl: '30s' }, fresh: 30 },
  'ttl beside public': { fields: cc('public'), options: { ttl: '30s' }, fresh: 30 },
  'ttl of a 404': { fields: [], status: 404, options: { ttl: '30s' }, fresh: 'no-freshness' },
  'ttl of a 301': { fields: [], status: 301, options: { ttl: '30s' }, fresh: 'no-freshness' },
  'ttl never loosens no-cache': { fields: cc('no-cache', ...etag), options: { ttl: '30s' }, fresh: 0 },
  'ttl never loosens no-cache of fields': {
    fields: cc('no-cache="x"', ...etag),
    options: { ttl: '30s' },
    fresh: 0
  },
  'ttl never loosens Pragma': { fields: ['pragma', 'no-cache', ...etag], options: { ttl: '30s' }, fresh: 0 },
  'ttl never loosens max-age': { fields: cc('max-age=5'), options: { ttl: '30s' }, fresh: 4 },
  'no-cache without a validator': { fields: cc('no-cache, max-age=60'), fresh: 'stale' },
  'notFound of a 404': { fields: [], status: 404, options: { notFound: '5s' }, fresh: 5 },
  'notFound of a 410': { fields: [], status: 410, options: { notFound: '5s' }, fresh: 5 },
  'the upstream wins over notFound': {
    fields: cc('max-age=9'),
    status: 404,
    options: { notFound: '5s' },
    fresh: 8
  },
  'override of max-age': { fields: cc('max-age=5'), options: { override: '60s' }, fresh: 60 },
  'override of no-cache': { fields: cc('no-cache'), options: { override: '60s' }, fresh: 60 },
  'override where nothing is said': { fields: [], options: { override: '60s' }, fresh: 60 },
  'maxTtl limits max-age': { fields: cc('max-age=600'), options: { maxTtl: '60s' }, fresh: 60 },
  'maxTtl limits override': { fields: [], options: { override: '60s', maxTtl: '30s' }, fresh: 30 },
  'Set-Cookie': { fields: cc('public, max-age=60', 'set-cookie', 'a=b'), fresh: 'set-cookie' },
  'Set-Cookie with override': {
    fields: ['set-cookie', 'a=b'],
    options: { override: '60s' },
    fresh: 'set-cookie'
  },
  'Set-Cookie stripped': {
    fields: cc('max-age=60', 'set-cookie', 'a=b'),
    options: { setCookie: 'strip' },
    fresh: 59
  },
  'Vary: *': { fields: cc('max-age=60', 'vary', 'accept, *'), fresh: 'vary' },
  'an invalid Vary': { fields: cc('max-age=60', 'vary', 'a b'), fresh: 'vary' },
  'a 206': { fields: cc('max-age=60'), status: 206, fresh: 'status' },
  'a 200 with Content-Range': {
    fields: cc('max-age=60', 'content-range', 'bytes 0-1/2'),
    fresh: 'content-range'
  },
  'a 304': { fields: cc('max-age=60'), status: 304, fresh: 'status' },
  'a 500': { fields: cc('max-age=60'), status: 500, fresh: 'status' },
  'a 503 with override': {
    fields: cc('max-age=60'),
    status: 503,
    options: { override: '60s' },
    fresh: 'status'
  },
  'a 302 that says so': { fields: cc('max-age=60'), status: 302, fresh: 59 },
  'a 302 that does not': { fields: [], status: 302, options: { ttl: '60s' }, fresh: 'no-freshness' }
}

const WINDOWS: Record<string, Case> = {
  'the upstream’s own': {
    fields: cc('max-age=60, stale-while-revalidate=10, stale-if-error=20'),
    fresh: 59,
    stale: [10, 20]
  },
  'ours where the upstream says none': {
    fields: cc('max-age=60'),
    options: { staleWhileRevalidate: '5s', staleIfError: '1h' },
    fresh: 59,
    stale: [5, 3600]
  },
  'the smaller of both': {
    fields: cc('max-age=60, stale-while-revalidate=10, stale-if-error=0'),
    options: { staleWhileRevalidate: '5s', staleIfError: '1h' },
    fresh: 59,
    stale: [5, 0]
  },
  'none by false': {
    fields: cc('max-age=60, stale-while-revalidate=10'),
    options: { staleWhileRevalidate: false },
    fresh: 59,
    stale: [0, 0]
  },
  'none past must-revalidate': {
    fields: cc('max-age=60, must-revalidate, stale-if-error=9'),
    options: { staleWhileRevalidate: '5s', staleIfError: '1h' },
    fresh: 59,
    stale: [0, 0]
  },
  'none past proxy-revalidate': {
    fields: cc('max-age=60, proxy-revalidate'),
    options: { staleWhileRevalidate: '5s', staleIfError: '1h' },
    fresh: 59,
    stale: [0, 0]
  },
  'none past no-cache': {
    fields: cc('no-cache', ...etag),
    options: { staleWhileRevalidate: '5s', staleIfError: '1h' },
    fresh: 0,
    stale: [0, 0]
  },
  'no stale-if-error past s-maxage': {
    fields: cc('s-maxage=60, stale-while-revalidate=10, stale-if-error=10'),
    options: { staleIfError: '1h' },
    fresh: 59,
    stale: [10, 0]
  }
}

t.test('decides whether and for how long a response is fresh', async (t) => {
  for (const [name, each] of Object.entries(FRESH)) {
    const decided = decide(each)
    t.equal(typeof decided === 'string' ? decided : decided.freshFor / 1000, each.fresh, name)
  }
})

t.test('serves stale for the shorter of what the route and the upstream say', async (t) => {
  for (const [name, each] of Object.entries(WINDOWS)) {
    const decided = decide(each)
    if (typeof decided === 'string') t.fail(`${name}: ${decided}`)
    else {
      t.equal(decided.freshFor / 1000, each.fresh, name)
      t.strictSame([decided.staleWhileRevalidate / 1000, decided.staleIfError / 1000], each.stale, name)
    }
  }
})

t.test('reads the three forms of an HTTP date, and nothing else', async (t) => {
  const at = Date.parse('1994-11-06T08:49:37Z')
  for (const text of [
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994'
  ])
    t.equal(httpDate(text), at, text)
  for (const text of ['', '0', '-1', '1994', 'Sun, 06 Nov 1994 08:49:37 PST', '1994-11-06T08:49:37Z'])
    t.ok(Number.isNaN(httpDate(text)), text)
})

t.test('stores no field of the connection, and no cookie', async (t) => {
  const fields = [
    'connection',
    'x-hop',
    'x-hop',
    '1',
    'keep-alive',
    '1',
    'set-cookie',
    'a=b',
    'age',
    '1',
    'x',
    '2'
  ]
  t.strictSame(storedFields(fields, NOW), ['x', '2', 'date', date(0)])
})

t.test('updates stored fields from a 304, but for those of the body', async (t) => {
  const stored = ['content-type', 'a/b', 'x', '1', 'x', '2', 'etag', '"a"', 'date', date(-60)]
  const fresh = ['content-type', 'c/d', 'content-length', '0', 'x', '3', 'etag', '"b"', 'date', date(0)]
  t.strictSame(updatedFields(stored, fresh, NOW), [
    'content-type',
    'a/b',
    'etag',
    '"a"',
    'x',
    '3',
    'date',
    date(0)
  ])
})
