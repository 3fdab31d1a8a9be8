import { fp, perRoute, type RouteInfo } from '../../src/kit/index.ts'
import type { ResponseCache } from '../../src/lib/contracts/cache.ts'
import { Flights } from './coalescing/flights.ts'
import { CacheCounts } from './counts.ts'
import type { SharedHead } from './fill.ts'
import { hashParts } from './key.ts'
import { type CacheOptions, faults, options, override, warnings } from './options.ts'
import { LocalPurges } from './purges/purges.ts'
import { countNames, readPurge } from './purges/request.ts'
import { SharedPurges } from './purges/shared.ts'
import { StoredRoute } from './route-cache.ts'
import type { CacheParts } from './stored-responses.ts'
import { MemoryStore } from './stores/memory.ts'
import { RedisCacheStore } from './stores/redis.ts'
import { StoredTarget } from './target-cache.ts'

export const key = 'cache'
export const counts = true

export { comparison } from './compare.ts'
export type { CacheOptions }
export { faults, options, override, warnings }

declare module 'fastify' {
  interface FastifyInstance {
    /** The stored responses of the upstreams; absent where no route has a cache. */
    responseCache?: ResponseCache
  }
}

export default fp<CacheOptions>(
  async function cache(app, root) {
    const { shared } = app.store
    const { peers } = app.resources
    // One memory for all routes, whether it is the store or in front of it.
    const memory = app.resources.lease(app, 'cache memory', () => new MemoryStore())
    const parts: CacheParts = {
      store: shared === null ? memory : new RedisCacheStore(shared, memory),
      purges: app.resources.lease(
        app,
        `cache purges ${shared?.id ?? ''}`,
        () => (shared === null ? new LocalPurges(peers) : new SharedPurges(shared)),
        (purges) => purges.close()
      ),
      flights: app.resources.lease(app, 'cache flights', () => new Flights<SharedHead>()),
      budget: app.buffers,
      counts: app.resources.lease(app, 'cache counts', () => new CacheCounts()),
      credentials: () => (app.hasDecorator('credentialHeaders') ? app.credentialHeaders : NO_HEADERS)
    }
    const optionsOf = new WeakMap<object, CacheOptions>()
    perRoute(app, key, root, (options, route: RouteInfo) => {
      optionsOf.set(route, options)
      return { stages: [atThisPlace] }
    })
    app.decorate('responseCache', {
      for(route, dependsOn) {
        const own = optionsOf.get(route)
        if (own === undefined) return undefined
        const { id, name } = route as RouteInfo
        return new StoredRoute(parts, { name, parts: [id, hashParts([dependsOn])] }, own)
      },
      forTarget({ route, leg, dependsOn }, ownOptions) {
        const { id, name } = route as RouteInfo
        const place = { route: name, leg, parts: [id, leg, hashParts([dependsOn])] }
        return new StoredTarget(parts, place, ownOptions)
      },
      async purge(body) {
        const names = readPurge(body)
        await parts.purges.purge(names)
        return countNames(names)
      },
      families: () => parts.counts.families(memory)
    })
  },
  { name: key, fastify: '5.x', dependencies: ['store'] }
)

const NO_HEADERS: ReadonlySet<string> = new Set()

/** Marks the place among the stages whose output is stored; the stages behind it run for each client. */
function atThisPlace(): undefined {}
