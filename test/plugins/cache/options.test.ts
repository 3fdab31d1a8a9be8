import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import cachePlugin, { type CacheOptions, faults, warnings } from '../../../plugins/cache/index.ts'
import { ignoreParameters, primaryKey } from '../../../plugins/cache/key.ts'
import { Resources } from '../../../src/gateway/resources.ts'
import { decorateApp } from '../../../src/kit/decorate.ts'
import { newRoute } from '../../../src/kit/route-info.ts'
import { BufferBudget } from '../../../src/lib/buffers.ts'
import { DEFAULTS } from './harness.ts'

t.test('finds what a schema can’t say', async (t) => {
  for (const [name, options, found] of [
    ['nothing', {}, []],
    ['a ttl beyond maxTtl', { ttl: '2m', maxTtl: '1m' }, ['ttl']],
    ['an override beyond maxTtl', { override: '2m', maxTtl: '1m' }, ['override']],
    ['an unknown value in a tag', { tags: ['a', '{nothing.x}'] }, ['tags.1']],
    ['an entry for each client', { vary: ['Accept', 'Cookie'] }, ['vary']]
  ] as [string, Partial<CacheOptions>, string[]][])
    t.strictSame(
      faults({ ...DEFAULTS, ...options }).map(({ path }) => path.join('.')),
      found,
      name
    )
})

t.test('warns of what can’t have an effect', async (t) => {
  const about = (auth: unknown, target = 'proxy', overrides = ['cache']) => ({
    optionsOf: (key: string) => (key === 'auth' ? auth : false),
    upstreams: {},
    paths: ['/'],
    methods: undefined,
    target,
    overrides
  })
  for (const [name, options, auth, count] of [
    ['nothing', { ttl: '1m' }, false, 0],
    ['ttl beside override', { ttl: '1m', override: '1m' }, false, 1],
    ['callers that are never stored', {}, { jwt: {} }, 1],
    ['some that may be anonymous', {}, { optional: true }, 0],
    ['callers that are', { callers: 'separate' }, { jwt: {} }, 0],
    ['entries that push out all others', { maxEntry: '32mb' }, false, 1]
  ] as [string, Partial<CacheOptions>, unknown, number][])
    t.equal(warnings({ ...DEFAULTS, ...options }, about(auth)).length, count, name)
  for (const target of ['respond', 'files', 'redirect']) {
    t.match(warnings(DEFAULTS, about(false, target)), [
      { message: `has a "cache" that has no effect on "${target}"` }
    ])
    t.strictSame(warnings(DEFAULTS, about(false, target, [])), [], `${target} below a root with a cache`)
  }
  t.strictSame(warnings(DEFAULTS, about(false, 'aggregate')), [])
  for (const [key, options, name] of [
    ['headers', { request: { 'x-id': 'a {requestId}' }, response: {} }, 'headers.request'],
    ['query', { id: '{requestId}' }, 'query'],
    ['transform', { response: { set: { id: '{requestId}' } } }, 'transform.response'],
    ['headers', { request: {}, response: { 'x-id': '{requestId}' } }, undefined]
  ] as const) {
    const found = warnings(DEFAULTS, {
      ...about(false),
      optionsOf: (other) => (other === key ? options : false)
    })
    t.match(
      found,
      name === undefined ? [] : [{ message: `{requestId} in "${name}" is new for each request` }],
      key
    )
    t.equal(found.length, name === undefined ? 0 : 1)
  }
})

t.test('removes ignored parameters, and leaves the others byte for byte', async (t) => {
  const ignore = ignoreParameters(['utm_*', 'x', '*_id', 'a*b*c'])
  for (const [query, expected] of [
    ['', ''],
    ['?', '?'],
    ['?a=1&b=%2F', '?a=1&b=%2F'],
    ['?utm_source=1&a=1&utm_=2', '?a=1'],
    ['?x', ''],
    ['?x=1&%78=2&y=x', '?y=x'],
    ['?click_id=1&_id=2&id=3', '?id=3'],
    ['?axbxc=1&abc=2&ab=3&acb=4', '?ab=3&acb=4'],
    ['?%=1', '?%=1']
  ] as const)
    t.equal(ignore(query), expected, query)
})

t.test('gives no two requests one key', async (t) => {
  const parts = {
    place: ['route', 'one'],
    scheme: 'http',
    host: 'a',
    path: '/b',
    query: '',
    caller: undefined,
    values: []
  }
  const keys = [
    {},
    { place: ['route', 'on', 'e'] },
    { place: ['routeone'] },
    { scheme: 'https' },
    { host: 'a/b', path: '' },
    { path: '/b?x', query: '' },
    { path: '/b', query: '?x' },
    { caller: '' },
    { caller: 'x' },
    { values: [undefined] },
    { values: [''] },
    { values: ['x'] },
    { values: ['', undefined] },
    { values: [undefined, ''] },
    { values: ['1:a', ';'] },
    { values: ['1:a;'] }
  ].map((change) => primaryKey({ ...parts, ...change }))
  t.equal(new Set(keys).size, keys.length)
})

t.test('has a cache for routes on which it is on, whose entries and purges outlive a reload', async (t) => {
  const resources = new Resources()
  const route = newRoute({
    kind: 'config',
    name: 'cached',
    path: '/cached',
    options: { cache: { ...DEFAULTS, ttl: '1m' } }
  })
  const build = async () => {
    const app = Fastify({ exposeHeadRoutes: false })
    app.decorate('resources', resources).decorate('keep', resources)
    app.decorate('store', { shared: null }).decorate('buffers', new BufferBudget())
    app.decorate('trusts', () => false)
    decorateApp(app, { trace: false, findRoute: (url) => (url === '/cached' ? route : undefined) })
    await app.register(fp(async () => {}, { name: 'store' }))
    await app.register(cachePlugin, DEFAULTS)
    app.get('/cached', async (request, reply) => {
      const own = app.responseCache?.for(route, 'rewrite')
      const lookup = await own?.lookup(request, { upstream: 'one', query: '', values: [] })
      if (lookup?.kind === 'hit') return reply.send(lookup.answer.body)
      if (lookup?.kind === 'fill') {
        lookup.fill.head({ status: 200, fields: [] })
        lookup.fill.write(Buffer.from('stored'))
        lookup.fill.end()
      }
      return reply.send(lookup?.kind)
    })
    await app.ready()
    return app
  }
  const [before, after] = [await build(), await build()]
  t.equal((await before.inject('/cached')).body, 'fill')
  await before.close()
  t.equal((await after.inject('/cached')).body, 'stored')
  t.equal(await after.responseCache?.purge({ all: true }), 1)
  t.equal((await after.inject('/cached')).body, 'fill')
  await t.rejects(async () => after.responseCache?.purge({}), TypeError)
  t.equal(after.responseCache?.for({}, ''), undefined)
  await after.close()
  t.equal(resources.size, 0)
})
