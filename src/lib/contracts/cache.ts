import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { CacheOptions } from '../http/cache-options.ts'
import type { MetricFamily } from './metrics.ts'
import type { UpstreamTarget } from './upstream.ts'

/** The response cache of a gateway, as targets see it. */
export interface ResponseCache {
  /** Returns the cache of a route; undefined where the route has none. `dependsOn` changes with the options that its responses depend on, such as a rewrite: entries of other options are not found any more. */
  for(route: object, dependsOn: string): RouteCache | undefined
  /** Returns the cache of requests that a target makes itself. */
  forTarget(place: TargetCachePlace, options: CacheOptions): TargetCache
  /** Purges what the body of a request to the admin listener names; returns the number of names. Rejects with a TypeError for an invalid body, and with SP_ERR_STORE_UNAVAILABLE. */
  purge(body: unknown): Promise<number>
  /** Returns the metrics of all routes. */
  families(): MetricFamily[]
}

/** The cache of one route. */
export interface RouteCache {
  /** Decides how a request is answered; a promise only where the store is not in memory. Never rejects. */
  lookup(request: FastifyRequest, asked: AskedUpstream): Lookup | Promise<Lookup>
  /** Invalidates what an unsafe request that succeeded has changed (RFC 9111 section 4.4, RFC 9875). */
  invalidate(request: FastifyRequest, response: CacheHead): void
}

/** Where a target makes requests whose responses are cached. */
export interface TargetCachePlace {
  readonly route: object
  /** The name of the requests on the route, such as that of a leg. */
  readonly leg: string
  /** Changes with the options that the responses depend on. */
  readonly dependsOn: string
}

/** The cache of requests that a target makes on behalf of clients, and that only read. */
export interface TargetCache {
  /** Decides how a request is answered: never by a `refuse`. A promise only where the store is not in memory; never rejects. */
  lookup(request: FastifyRequest, question: TargetQuestion): Lookup | Promise<Lookup>
}

/** A request that a target would make. */
export interface TargetQuestion {
  /** The upstream's name or URL. */
  readonly upstream: string
  /** The path and the query. */
  readonly path: string
  /** Its headers: names in lower case and values in turn. */
  readonly head: readonly string[]
  /** The headers that the config sets; where their values are those of the client's request, they are in `values`, too. */
  readonly configured: ReadonlySet<string>
  /** What else decides its response: the method, the body, and values of the client's request. */
  readonly values: readonly (string | undefined)[]
}

/** What the target would ask its upstream for. */
export interface AskedUpstream {
  /** What identifies the upstream, as `split` has chosen it. */
  readonly upstream: string
  /** The query with its question mark, as it goes upstream. */
  readonly query: string
  /** The values of the request that are put into what goes upstream, or into what is stored, in an order known at boot. */
  readonly values: readonly (string | undefined)[]
}

/** The head of a response: its status, and lower-case names and values in turn, in latin1. */
export interface CacheHead {
  readonly status: number
  readonly fields: readonly string[]
  /** Where it came from, for routes that rewrite headers which name it. */
  readonly source?: ResponseSource | undefined
}

/** What headers of a response may name of the target that it came from. */
export type ResponseSource = Pick<UpstreamTarget, 'host' | 'origin' | 'base'>

/** A response to the client from the cache; it has no Cache-Status in its fields yet. */
export interface CacheAnswer extends CacheHead {
  /** The body, or the parts of it as they come; null for none. */
  readonly body: Buffer | Readable | null
  /** The member that is appended to Cache-Status (RFC 9211). */
  readonly cacheStatus: string
  /** Where bodies with a content coding are kept; undefined for a part, or where there is no such place. */
  readonly encodings?: EncodedBodies | undefined
}

/** The bodies of one stored response by their content coding. */
export interface EncodedBodies {
  get(name: string): Buffer | undefined
  /** Keeps a body, which nobody may write into. Names are few: those of codings and levels. */
  set(name: string, body: Buffer): void
}

/** How a request is answered. */
export type Lookup =
  /** From the store; a stale answer may come with a fill, which the target runs in the background. */
  | { readonly kind: 'hit'; readonly answer: CacheAnswer; readonly refresh: CacheFill | undefined }
  /** By the upstream; the fill sees the response and stores it. */
  | { readonly kind: 'fill'; readonly fill: CacheFill }
  /** By the response to another request that is under way. */
  | { readonly kind: 'follow'; readonly follower: CacheFollower }
  /** By the upstream, past the cache. */
  | { readonly kind: 'pass'; readonly cacheStatus: string; readonly removes: readonly string[] }
  /** By a 504, because the client takes a stored response only. */
  | { readonly kind: 'refuse'; readonly cacheStatus: string }

/** A request to the upstream whose response is stored and shared. The target calls `head`, then `write` for each part, then `end`; or `discard` in place of all of them; or `fail` at any time. Nothing more is called once a stored answer was returned. */
export interface CacheFill {
  /** The request fields to remove before those of `sets` are set: the client's own conditions, which the cache answers. */
  readonly removes: readonly string[]
  /** The request fields that revalidate the stored response: names and values in turn. */
  readonly sets: readonly string[]
  /** Takes the head of the final response; returns what the client gets. */
  head(response: CacheHead): FillHead
  /** Takes a part of the body; returns false to pause until `drained` has been called. */
  write(chunk: Buffer): boolean
  /** Ends the body; it is stored if it is complete. */
  end(): void
  /** Gives up, before or after the head; requests that wait ask the upstream themselves. */
  fail(): void
  /** Takes the status of a response that the target replaces by its own: nothing is stored, and what the upstream no longer has is removed. */
  discard(status: number): void
  /** Returns the stale response that the client gets in place of a failed attempt; undefined for none. */
  staleIfError(): CacheAnswer | undefined
  /** Whether the body is kept, so that a slow client need not hold it back. */
  readonly keepsBody: boolean
  /** Whether requests still wait for this response, so that it goes on when its own client leaves. */
  readonly isAwaited: boolean
  /** Called when the body goes on after `write` returned false. */
  drained: (() => void) | undefined
  /** Called when the last request that waited has left; the target then gives up if its own client has left, too. */
  abandoned: (() => void) | undefined
}

/** What a client gets of a response that the cache has seen. */
export type FillHead =
  /** The response itself, with this member of Cache-Status and without these fields. */
  | { readonly kind: 'upstream'; readonly cacheStatus: string; readonly removes: readonly string[] }
  /** A stored response instead: it was revalidated, or takes the place of an error; the rest of the upstream's is dropped. */
  | { readonly kind: 'stored'; readonly answer: CacheAnswer }

/** A request that waits for the response to another one. */
export interface CacheFollower {
  /** Waits for at most `ms`: for the shared answer, or for the word to ask the upstream. Never rejects. */
  wait(ms: number): Promise<FollowResult>
  /** Gives up, because the client has left. */
  leave(): void
}

export type FollowResult =
  | { readonly kind: 'answer'; readonly answer: CacheAnswer }
  /** The response can't be shared; the fill stores nothing that others wait for. */
  | { readonly kind: 'fill'; readonly fill: CacheFill }
  | { readonly kind: 'timeout' }
