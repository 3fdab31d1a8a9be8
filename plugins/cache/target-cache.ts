import type { FastifyRequest } from 'fastify'
import type { Lookup, TargetCache, TargetQuestion } from '../../src/lib/contracts/cache.ts'
import { queryOf } from '../../src/lib/http/url-parts.ts'
import { readTargetRequest } from './bypass.ts'
import type { RouteCounts } from './counts.ts'
import { purgeUrl } from './invalidation.ts'
import { callerKey, ignoreParameters, primaryKey } from './key.ts'
import type { CacheOptions } from './options.ts'
import { TargetRequest } from './presented-request.ts'
import { type CacheParts, pass, StoredResponses, then } from './stored-responses.ts'

/** What makes the requests: its route, its name there, and all that its entries depend on. */
export interface TargetPlace {
  readonly route: string
  readonly leg: string
  readonly parts: readonly string[]
}

/** The cache of requests that a target makes on behalf of clients. */
export class StoredTarget implements TargetCache {
  readonly #parts: CacheParts
  readonly #place: TargetPlace
  readonly #counts: RouteCounts
  readonly #responses: StoredResponses
  readonly #vary: readonly string[]
  readonly #ignore: (query: string) => string

  constructor(parts: CacheParts, place: TargetPlace, options: CacheOptions) {
    this.#parts = parts
    this.#place = place
    this.#counts = parts.counts.of(place.route, place.leg)
    this.#responses = new StoredResponses(parts, options)
    this.#vary = options.vary.map((name) => name.toLowerCase()).toSorted()
    this.#ignore = ignoreParameters(options.ignoreQuery)
  }

  lookup(source: FastifyRequest, question: TargetQuestion): Lookup | Promise<Lookup> {
    return then(this.#lookup(source, question), (lookup) => {
      this.#counts[lookup.kind]++
      return lookup
    })
  }

  #lookup(source: FastifyRequest, question: TargetQuestion): Lookup | Promise<Lookup> {
    const { policy } = this.#responses
    const { read, bypass } = readTargetRequest(source, question, {
      policy,
      credentials: this.#parts.credentials()
    })
    if (bypass !== undefined) return pass(read, bypass)
    const request = new TargetRequest(source, question.head)
    const { upstream, path: url, values } = question
    const asked = queryOf(url)
    const path = url.slice(0, url.length - asked.length)
    const query = this.#ignore(asked)
    const primary = primaryKey({
      place: [...this.#place.parts, upstream],
      scheme: source.protocol,
      host: source.host,
      path,
      query,
      caller: callerKey(source, policy),
      values: [...values, ...this.#vary.map((name) => request.sent(name)), ...request.forwarded]
    })
    return this.#responses.lookup({ request, read, primary, url: urlOf(upstream, path + query) })
  }
}

/** Returns the URL that a response of an upstream, given by its name or URL, can be purged by; a name stands for the host. */
function urlOf(upstream: string, path: string): string {
  const parsed = URL.parse(upstream)
  return parsed === null
    ? purgeUrl(upstream, path)
    : purgeUrl(parsed.host, parsed.pathname.replace(/\/$/, '') + path)
}
