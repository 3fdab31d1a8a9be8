import type { FastifyRequest } from 'fastify'
import type { AskedUpstream, CacheHead, Lookup, RouteCache } from '../../src/lib/contracts/cache.ts'
import { pathOf, queryOf } from '../../src/lib/http/url-parts.ts'
import { bypassReason, readRequest } from './bypass.ts'
import type { RouteCounts } from './counts.ts'
import { changedBy, purgeUrl } from './invalidation.ts'
import { callerKey, ignoreParameters, primaryKey } from './key.ts'
import type { CacheOptions } from './options.ts'
import { ClientRequest } from './presented-request.ts'
import { type CacheParts, pass, StoredResponses, then } from './stored-responses.ts'

/** What a route is: its name in metrics, and all that its entries depend on. */
export interface CachePlace {
  readonly name: string
  readonly parts: readonly string[]
}

/** The cache of one route. */
export class StoredRoute implements RouteCache {
  readonly #parts: CacheParts
  readonly #place: CachePlace
  readonly #counts: RouteCounts
  readonly #responses: StoredResponses
  readonly #vary: readonly string[]
  readonly #ignore: (query: string) => string

  constructor(parts: CacheParts, place: CachePlace, options: CacheOptions) {
    this.#parts = parts
    this.#place = place
    this.#counts = parts.counts.of(place.name)
    this.#responses = new StoredResponses(parts, options)
    this.#vary = options.vary.map((name) => name.toLowerCase()).toSorted()
    this.#ignore = ignoreParameters(options.ignoreQuery)
  }

  lookup(request: FastifyRequest, upstream: AskedUpstream): Lookup | Promise<Lookup> {
    return then(this.#lookup(request, upstream), (lookup) => {
      this.#counts[lookup.kind]++
      return lookup
    })
  }

  #lookup(source: FastifyRequest, upstream: AskedUpstream): Lookup | Promise<Lookup> {
    const read = readRequest(source, this.#parts.credentials())
    const bypass = bypassReason(source, read, this.#responses.policy)
    if (bypass !== undefined) return pass(read, bypass)
    const request = new ClientRequest(source)
    return this.#responses.lookup({
      request,
      read,
      primary: this.#keyOf(request, upstream),
      url: this.#urlOf(source)
    })
  }

  invalidate(request: FastifyRequest, response: CacheHead): void {
    const target = { host: request.host, url: pathOf(request) + this.#ignore(queryOf(request.raw.url ?? '')) }
    const changed = changedBy(request.method, target, response)
    if (changed === undefined) return
    const { host } = request
    const groups = changed.groups.map((name) => ({ host, name }))
    // The invalidation is sent when the store is available again.
    this.#parts.purges.purge({ urls: changed.urls, groups }).catch(() => {})
  }

  #keyOf(request: ClientRequest, { upstream, query, values }: AskedUpstream): string {
    const { protocol: scheme, host } = request.source
    return primaryKey({
      place: [...this.#place.parts, upstream],
      scheme,
      host,
      path: pathOf(request.source),
      query: this.#ignore(query),
      caller: callerKey(request.source, this.#responses.policy),
      values: [...values, ...this.#vary.map((name) => request.sent(name)), ...request.forwarded]
    })
  }

  #urlOf(request: FastifyRequest): string {
    return purgeUrl(request.host, pathOf(request) + this.#ignore(queryOf(request.raw.url ?? '')))
  }
}
