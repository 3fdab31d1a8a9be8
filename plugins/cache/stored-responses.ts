import type { FastifyRequest } from 'fastify'
import type { BufferBudget } from '../../src/lib/buffers.ts'
import type { Lookup } from '../../src/lib/contracts/cache.ts'
import { compileTags } from '../../src/lib/http/cache-options.ts'
import { answerFrom } from './answer.ts'
import { type CacheRequest, isAcceptable } from './bypass.ts'
import { type CacheStatus, type ForwardReason, writeCacheStatus } from './cache-status.ts'
import type { Flights } from './coalescing/flights.ts'
import type { CacheCounts } from './counts.ts'
import { type CacheStore, type Entry, freshness, isVaryRecord, type Stored } from './entry.ts'
import { NOT_SENT } from './fields.ts'
import { Fill, type FillContext, type SharedHead } from './fill.ts'
import { Follower } from './follower.ts'
import { secondaryKey } from './key.ts'
import { type CacheOptions, type CachePolicy, compilePolicy } from './options.ts'
import type { PresentedRequest } from './presented-request.ts'
import type { Purges } from './purges/purges.ts'
import { groupSlot, pathOfUrl, tagSlot, urlSlot } from './purges/table.ts'
import { tagsOf } from './tags.ts'

/** What the routes of a gateway share. */
export interface CacheParts {
  readonly store: CacheStore
  readonly purges: Purges
  readonly flights: Flights<SharedHead>
  readonly budget: BufferBudget
  readonly counts: CacheCounts
  /** The names of headers in which routes take credentials. */
  readonly credentials: () => ReadonlySet<string>
}

/** A request whose key is known. */
export interface Asked {
  readonly request: PresentedRequest
  readonly read: CacheRequest
  readonly primary: string
  /** The URL that its response can be purged by. */
  readonly url: string
}

/** What was found for a request. */
interface Found {
  readonly entry: Entry
  /** How long it has been stale, in ms; zero or less where it is fresh. */
  readonly staleBy: number
}

/** The stored responses that a request may get, by the options of its route or leg. */
export class StoredResponses {
  readonly policy: CachePolicy
  readonly #parts: CacheParts
  readonly #tags: (request: FastifyRequest) => string[]

  constructor(parts: CacheParts, options: CacheOptions) {
    this.#parts = parts
    this.policy = compilePolicy(options)
    this.#tags = compileTags(options.tags)
  }

  /** Decides how a request is answered that the cache has to do with. */
  lookup(asked: Asked): Lookup | Promise<Lookup> {
    const refreshing = this.#parts.purges.refresh()
    if (refreshing === undefined) return this.#find(asked)
    // While purges are unknown, what is stored may have been purged.
    return refreshing.then((known) => (known ? this.#find(asked) : this.#miss(asked, [])))
  }

  #find(asked: Asked): Lookup | Promise<Lookup> {
    return then(this.#parts.store.get(asked.primary), (stored) => {
      if (stored === undefined || !isVaryRecord(stored)) return this.#decide(asked, stored, [])
      const key = secondaryKey(asked.primary, stored.vary, asked.request)
      return then(this.#parts.store.get(key), (entry) => this.#decide(asked, entry, stored.vary))
    })
  }

  #decide(asked: Asked, stored: Stored | undefined, vary: readonly string[]): Lookup {
    const { request, read } = asked
    const found = stored === undefined || isVaryRecord(stored) ? undefined : this.#valid(stored)
    if (found === undefined) return this.#miss(asked, vary)
    const { entry, staleBy } = found
    if (!isAcceptable(read, entry, this.policy)) return this.#fill(asked, vary, 'request', found)
    if (staleBy <= 0) return this.#hit(request, found, undefined)
    if (staleBy > entry.staleWhileRevalidate) return this.#fill(asked, vary, 'stale', found)
    return this.#hit(request, found, this.#refresh(asked, vary, found))
  }

  /** Renews a stale entry in the background; undefined where that is under way, or the request can't do it. */
  #refresh(asked: Asked, vary: readonly string[], found: Found): Fill | undefined {
    if (asked.request.isHead || asked.read.noStore) return undefined
    const flight = this.#parts.flights.leadIfFree(secondaryKey(asked.primary, vary, asked.request))
    if (flight === undefined) return undefined
    return new Fill({ ...this.#contextOf(asked, vary, 'stale', found), flight, servesStale: false })
  }

  /** Returns how an entry fares after the purges; undefined where it may not be used at all. */
  #valid(entry: Entry): Found | undefined {
    const state = this.#parts.purges.stateOf(entry)
    if (state === 'purged') return undefined
    const staleBy = -freshness(entry)
    return { entry, staleBy: state === 'valid' ? staleBy : Math.max(staleBy, state.staleFor, 1) }
  }

  #hit(request: PresentedRequest, { entry, staleBy }: Found, refresh: Fill | undefined): Lookup {
    const cacheStatus = writeCacheStatus({ hit: true, ttl: -staleBy })
    return { kind: 'hit', answer: answerFrom(entry, request, cacheStatus), refresh }
  }

  #miss(asked: Asked, vary: readonly string[]): Lookup {
    return this.#fill(asked, vary, vary.length === 0 ? 'uri-miss' : 'vary-miss', undefined)
  }

  /** Has the upstream asked, once for all requests that may share its response. */
  #fill(asked: Asked, vary: readonly string[], reason: ForwardReason, found: Found | undefined): Lookup {
    const { request, read, primary } = asked
    if (request.isHead) return pass(read, { fwd: reason })
    if (request.conditions.range !== undefined) return pass(read, { fwd: reason, detail: 'range' })
    if (read.noStore) return pass(read, { fwd: reason, detail: 'request-no-store' })
    if (read.directives?.onlyIfCached === true) return pass(read, { fwd: reason })
    const context = this.#contextOf(asked, vary, reason, found)
    const role = this.policy.coalesce
      ? this.#parts.flights.join(secondaryKey(primary, vary, request))
      : undefined
    if (role?.role === 'follow') {
      const fillAlone = (): Fill => new Fill(this.#contextOf(asked, vary, reason, found))
      return { kind: 'follow', follower: new Follower(role.follower, { request, primary, fillAlone }) }
    }
    const flight = role?.role === 'lead' ? role.flight : undefined
    return { kind: 'fill', fill: new Fill({ ...context, flight }) }
  }

  #contextOf(
    { request, read, primary, url }: Asked,
    knownVary: readonly string[],
    reason: ForwardReason,
    found: Found | undefined
  ): FillContext {
    const { store, budget, purges } = this.#parts
    return {
      request,
      storageRequest: read,
      policy: this.policy,
      store,
      primary,
      knownVary,
      stamp: purges.stamp,
      url,
      slotsOf: (fields) => this.#slotsOf(request.source, url, fields),
      budget,
      reason,
      flight: undefined,
      stale: found?.entry,
      servesStale: found !== undefined && found.staleBy <= found.entry.staleIfError
    }
  }

  #slotsOf(request: FastifyRequest, url: string, fields: readonly string[]): number[] {
    const { tags, groups } = tagsOf(this.#tags(request), fields)
    return [
      ...tags.map(tagSlot),
      ...groups.map((name) => groupSlot(request.host, name)),
      urlSlot(url),
      urlSlot(pathOfUrl(url))
    ]
  }
}

/** Lets the upstream answer; a client that takes a stored response only gets a 504. */
export function pass({ directives }: CacheRequest, status: CacheStatus): Lookup {
  const cacheStatus = writeCacheStatus(status)
  return directives?.onlyIfCached === true
    ? { kind: 'refuse', cacheStatus }
    : { kind: 'pass', cacheStatus, removes: NOT_SENT }
}

/** Goes on with a value, at once where it is no promise. */
export function then<T>(
  value: T | Promise<T>,
  decide: (value: T) => Lookup | Promise<Lookup>
): Lookup | Promise<Lookup> {
  return value instanceof Promise ? value.then(decide) : decide(value)
}
