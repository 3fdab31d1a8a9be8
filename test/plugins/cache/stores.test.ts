import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { decode, type Entry, encode } from '../../../plugins/cache/entry.ts'
import { SharedPurges } from '../../../plugins/cache/purges/shared.ts'
import { MemoryStore } from '../../../plugins/cache/stores/memory.ts'
import { RedisCacheStore } from '../../../plugins/cache/stores/redis.ts'
import { RedisStore } from '../../../plugins/store/redis.ts'
import { monotonic } from '../../../src/lib/clock.ts'
import { clock } from '../../helpers.ts'
import { cli, type RealRedis, redis, until, withoutRedis } from '../../redis.ts'
import { type Cached, cached, partsOf } from './harness.ts'

const skip = withoutRedis

const entryOf = (body: Buffer): Entry => ({
  status: 200,
  fields: ['x-latin1', '\u00fc'],
  body,
  storedAt: monotonic(),
  age: 1000,
  freshFor: 5000,
  staleWhileRevalidate: 1,
  staleIfError: 2,
  ownEtag: true,
  stamp: 3,
  url: '//host/path',
  slots: [1, 2]
})

t.test('keeps in memory what was used last, within its bytes', async (t) => {
  const store = new MemoryStore(100_000)
  for (let i = 0; i < 20; i++) {
    store.set(String(i), entryOf(Buffer.alloc(10_000)), 60_000)
    store.get('0')
  }
  t.ok(store.bytes <= 100_000)
  t.ok(store.size >= 8)
  t.ok(store.get('0'))
  t.notOk(store.get('1'))
  store.set('large', entryOf(Buffer.alloc(200_000)), 60_000)
  t.notOk(store.get('large'))
})

t.test('keeps nothing in memory beyond its time', async (t) => {
  const advance = clock(t)
  const store = new MemoryStore()
  store.set('a', { vary: ['accept'] }, 1000)
  t.ok(store.get('a'))
  advance(2)
  t.notOk(store.get('a'))
  t.equal(store.size, 0)
})

t.test('copies a body that is a part of a larger block of memory', async (t) => {
  const block = Buffer.alloc(65_536, 'x')
  const store = new MemoryStore()
  store.set('a', entryOf(block.subarray(0, 10)), 1000)
  const { body } = store.get('a') as Entry
  t.equal(body.buffer.byteLength, 10)
  block.fill('y')
  t.equal(body.toString(), 'xxxxxxxxxx')
})

t.test('encodes what it decodes, and decodes nothing else', async (t) => {
  const entry = entryOf(randomBytes(1000))
  const decoded = decode(encode(entry)) as Entry
  t.ok(Math.abs(decoded.storedAt - entry.storedAt) < 1000)
  t.strictSame({ ...decoded, storedAt: 0 }, { ...entry, storedAt: 0 })
  t.strictSame(decode(encode({ vary: ['a'] })), { vary: ['a'] })
  const whole = encode(entry)
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('abc'),
    Buffer.from('\xff\xff\xff\xffabc', 'latin1'),
    whole.subarray(0, 50),
    Buffer.concat([Buffer.from([0, 0, 0, 2]), Buffer.from('{}')]),
    Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from('null')])
  ])
    t.equal(decode(bytes), undefined)
})

/** Opens a gateway's side of a Redis. */
async function open(t: Test, { url }: RealRedis): Promise<RedisStore> {
  const store = new RedisStore(
    { redis: url, tls: undefined, prefix: 'sallyport:', timeout: 3000 },
    pino({ level: 'silent' })
  )
  t.teardown(() => store.close())
  await store.opened
  return store
}

/** Makes a cache of a gateway over a Redis; its upstream counts. */
async function gatewayOver(t: Test, server: RealRedis, body = 'b'): Promise<Cached> {
  const shared = await open(t, server)
  const purges = new SharedPurges(shared)
  t.teardown(() => purges.close())
  const store = new RedisCacheStore(shared, new MemoryStore())
  const fields = ['cache-control', 'max-age=60', 'vary', 'accept', 'surrogate-key', 'tag']
  return cached({}, () => ({ status: 200, fields, body }), partsOf({ store, purges }))
}

const hits = async ({ get }: Cached): Promise<boolean> => (await get('/a')).cacheStatus.includes('hit')

t.test('shares entries between gateways through Redis, each key with a time to live', { skip }, async (t) => {
  const server = await redis(t)
  const [one, other] = [await gatewayOver(t, server), await gatewayOver(t, server)]
  t.equal(await hits(one), false)
  t.equal(await hits(one), true, 'from memory at once')
  await until(() => cli(server.port, 'keys', 'sallyport:cache:*').trim().split('\n').length === 2)
  t.equal(await hits(other), true)
  t.equal(other.seen.length, 0)
  await one.parts.purges.purge({ tags: ['none'] })
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const keys = await client.keys('*')
  t.equal(keys.length, 3)
  for (const key of keys) t.ok((await client.pttl(key)) > 0, key)
})

t.test('purges on all gateways within a second', { skip }, async (t) => {
  const server = await redis(t)
  const [one, other] = [await gatewayOver(t, server), await gatewayOver(t, server)]
  for (const [name, purge] of Object.entries({
    tag: { tags: ['tag'] },
    url: { urls: ['/a'] },
    prefix: { prefixes: ['/'] },
    all: { all: true }
  })) {
    await hits(one)
    await until(() => cli(server.port, 'keys', 'sallyport:cache:*').trim().split('\n').length >= 2)
    t.equal(await hits(other), true, name)
    const before = one.seen.length
    await other.parts.purges.purge(purge)
    t.equal(await hits(other), false, `${name}: at once where it was purged`)
    await until(() => one.parts.purges.stamp >= other.parts.purges.stamp)
    await hits(one)
    t.ok(one.seen.length >= before)
  }
})

t.test('a gateway that begins knows the purges of the past', { skip }, async (t) => {
  const server = await redis(t)
  const one = await gatewayOver(t, server)
  await hits(one)
  await until(() => cli(server.port, 'keys', 'sallyport:cache:*').trim().split('\n').length === 2)
  await one.parts.purges.purge({ all: true })
  const other = await gatewayOver(t, server)
  t.equal(await hits(other), false)
})

t.test(
  'a lost Redis is a miss and no error, and a purge meanwhile counts when it is back',
  { skip },
  async (t) => {
    const server = await redis(t)
    const gateway = await gatewayOver(t, server)
    await hits(gateway)
    await until(() => cli(server.port, 'keys', 'sallyport:cache:*').trim().split('\n').length === 2)
    server.hang()
    const advance = clock(t)
    advance(2)
    t.match(await gateway.get('/a'), { status: 200, cacheStatus: /uri-miss/ })
    await t.rejects(gateway.parts.purges.purge({ all: true }), { code: 'SP_ERR_STORE_UNAVAILABLE' })
    server.go()
    const other = await gatewayOver(t, server)
    await until(() => cli(server.port, 'zcard', 'sallyport:cache:purges').trim() === '1')
    await until(() => other.parts.purges.stamp > 0)
    t.equal(await hits(other), false)
  }
)

t.test('keeps no body beyond 1 MB in Redis', { skip }, async (t) => {
  const server = await redis(t)
  const shared = await open(t, server)
  const store = new RedisCacheStore(shared, new MemoryStore())
  store.set('a', entryOf(Buffer.alloc(1024 * 1024 + 1)), 1000)
  t.equal(await store.get('a'), undefined)
})
