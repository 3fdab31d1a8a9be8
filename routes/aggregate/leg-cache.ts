import { hash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import type { CacheAnswer, CacheFill, CacheFollower, TargetCache } from '../../src/lib/contracts/cache.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { type CacheOptions, compileTags } from '../../src/lib/http/cache-options.ts'
import { headerOf, setHeader } from '../../src/lib/http/flat-head.ts'
import { headerValues } from './cache-values.ts'
import type { LegResponse } from './call.ts'
import { Calls, endInTime } from './calls.ts'
import { CallFailed, CLIENT_GONE, type LegFailure } from './failures.ts'
import type { CachedResponse, Leg, LegAnswers } from './leg.ts'
import { type LegCall, outbound } from './leg-call.ts'
import type { LegOptions } from './options.ts'
import { memoryOfValue } from './value-memory.ts'

/** What the cache of a leg is made of. */
export interface LegCachePlan {
  readonly info: RouteInfo
  readonly options: LegOptions
  readonly cache: CacheOptions
  readonly leg: Omit<Leg, 'cache' | 'invalidate'>
}

// Stored responses that a leg renews in the background at the same time; others stay stale a little longer.
const MAX_REFRESHES = 64

const CLOSING = new Error('The renewal of a stored response is over')

// The time limit of a request for several clients where neither the leg nor the route has one, in ms.
const FILL_MS = 60_000

/** Answers the requests of a leg from the cache, or has them sent. */
export class LegCache implements LegAnswers {
  readonly #app: FastifyInstance
  readonly #plan: LegCachePlan
  readonly #configured: ReadonlySet<string>
  readonly #refreshes = new Set<Calls>()
  readonly #tags: (request: FastifyRequest) => string[]
  #stored: TargetCache | undefined

  constructor(app: FastifyInstance, plan: LegCachePlan) {
    this.#app = app
    this.#plan = plan
    this.#configured = new Set(plan.leg.request.ownNames)
    this.#tags = compileTags(plan.cache.tags)
    const endRefreshes = async (): Promise<void> => {
      for (const calls of this.#refreshes) calls.end(CLOSING)
    }
    app.addHook('preClose', endRefreshes)
  }

  async answer(call: LegCall, calls: Calls, deadline: Deadline | null): Promise<CachedResponse> {
    const response = await this.#answer(call, { calls, deadline })
    const tags = this.#tags(call.request)
    if (tags.length === 0) return response
    // The names are those of the route's response, too.
    return { ...response, fields: [...response.fields, ...tags.flatMap((tag) => ['surrogate-key', tag])] }
  }

  async #answer(call: LegCall, asking: Asking): Promise<CachedResponse> {
    const { leg } = this.#plan
    const { calls, deadline } = asking
    const lookup = await this.#cache().lookup(call.request, {
      upstream: this.#plan.options.upstream,
      path: call.path,
      head: call.head,
      configured: this.#configured,
      values: this.#valuesOf(call)
    })
    if (lookup.kind === 'hit') {
      if (lookup.refresh !== undefined) this.#refresh(lookup.refresh, call, deadline)
      return await responseOf(lookup.answer, calls)
    }
    if (lookup.kind === 'fill') return await this.#share(lookup.fill, call, asking)
    if (lookup.kind === 'follow') return await this.#follow(lookup.follower, call, asking)
    return await calls.send(leg.upstream, outbound(leg, call, deadline), leg.policy, call.limits)
  }

  /** Makes the cache with the first request, when the cache of the gateway is there. */
  #cache(): TargetCache {
    const { info, options, cache, leg } = this.#plan
    const responses = this.#app.responseCache
    if (responses === undefined) throw new Error('The concern "cache" is not installed')
    this.#stored ??= responses.forTarget(
      {
        route: info,
        leg: leg.name,
        dependsOn: JSON.stringify([
          { ...options, cache: undefined },
          leg.upstream.optionsHash,
          (info.options['headers'] as { request?: object } | undefined)?.request ?? {}
        ])
      },
      cache
    )
    return this.#stored
  }

  /** Returns what of a request decides its response, beside the path and what the response varies by. */
  #valuesOf({ request, head, body }: LegCall): (string | undefined)[] {
    const { leg } = this.#plan
    return [
      leg.request.method,
      ...(body === null ? [] : [body.type, body.coding, hash('sha256', body.bytes, 'base64url')]),
      ...leg.request.ownNames.map((name) => headerOf(head, name)),
      ...headerValues(request)
    ]
  }

  async #follow(
    follower: CacheFollower,
    call: LegCall,
    { calls, deadline }: Asking
  ): Promise<CachedResponse> {
    const leave = (): void => follower.leave()
    const result = await calls.wait(follower.wait(timeLeft(call, deadline)), leave)
    if (result.kind === 'fill') return await this.#share(result.fill, call, { calls, deadline })
    if (result.kind === 'timeout') throw new CallFailed({ reason: 'timeout' })
    return await responseOf(result.answer, calls)
  }

  /** Sends a request whose response others may wait for: it goes on for them where the client's response ends before. */
  async #share(fill: CacheFill, call: LegCall, { calls, deadline }: Asking): Promise<CachedResponse> {
    const own = new Calls(this.#app.buffers)
    let isWanted = true
    const endUnused = (): void => {
      if (!isWanted && !fill.isAwaited) own.end(CLIENT_GONE)
    }
    fill.abandoned = endUnused
    const response = await calls.wait(this.#fill(fill, call, { calls: own, deadline }), () => {
      isWanted = false
      endUnused()
    })
    calls.hold(response.body.length)
    return response
  }

  /** Renews a stored response in the background. */
  #refresh(fill: CacheFill, call: LegCall, deadline: Deadline | null): void {
    if (this.#refreshes.size >= MAX_REFRESHES) {
      fill.fail()
      return
    }
    const calls = new Calls(this.#app.buffers)
    this.#refreshes.add(calls)
    this.#fill(fill, call, { calls, deadline })
      .catch((error: unknown) => {
        if (error !== CLOSING && !(error instanceof CallFailed))
          call.request.log.error(
            { err: error, requestId: call.request.id },
            'renewing a stored response failed'
          )
      })
      .finally(() => this.#refreshes.delete(calls))
  }

  /** Sends a request and stores its response, within calls of its own. */
  async #fill(fill: CacheFill, call: LegCall, { calls, deadline }: Asking): Promise<CachedResponse> {
    const { leg } = this.#plan
    // The one of the client's request ends with its client.
    const own = new Deadline(Math.max(1, timeLeft(call, deadline, FILL_MS))).enforce(endInTime, calls)
    const revalidating = { ...call, head: withFields(call.head, fill.sets) }
    try {
      const response = await calls.send(
        leg.upstream,
        outbound(leg, revalidating, own),
        leg.policy,
        call.limits
      )
      if (leg.isParsed) calls.hold(memoryOfValue(response.body, leg.from))
      // A body that is not what the leg expects is not stored.
      const value = leg.read(response)
      store(fill, response)
      return { ...response, value }
    } catch (error) {
      const instead = insteadOf(error, fill)
      if (instead === undefined) throw error
      return await responseOf(instead, calls)
    } finally {
      own.cancel()
      calls.release(CLOSING)
    }
  }
}

/** The calls that a request belongs to, and the time limit of the client's response. */
interface Asking {
  readonly calls: Calls
  readonly deadline: Deadline | null
}

/** Returns how long a leg may still take, in ms. */
const timeLeft = ({ limits }: LegCall, deadline: Deadline | null, most = MAX_TIMER_MS): number =>
  Math.max(0, Math.min(limits.timeout, deadline?.remaining ?? most))

/** Gives a response to the cache. */
function store(fill: CacheFill, { status, fields, body }: LegResponse): void {
  fill.head({ status, fields: [...withoutFraming(fields), 'content-length', String(body.length)] })
  fill.write(body)
  fill.end()
}

// What the failure of an upstream is, so that a stale response takes its place.
const OF_UPSTREAM: ReadonlySet<LegFailure['reason']> = new Set(['timeout', 'refused', 'tls', 'reset', 'open'])

/** Tells the cache of a failure; returns the stored response that takes its place, undefined for none. */
function insteadOf(error: unknown, fill: CacheFill): CacheAnswer | undefined {
  if (!(error instanceof CallFailed)) {
    fill.fail()
    return undefined
  }
  const { failure, fields } = error
  if (failure.status !== undefined && fields !== undefined) {
    const seen = fill.head({ status: failure.status, fields: withoutFraming(fields) })
    if (seen.kind === 'stored') return seen.answer
    // Of a failure, only the status is stored.
    fill.end()
    return undefined
  }
  const stale = OF_UPSTREAM.has(failure.reason) ? fill.staleIfError() : undefined
  if (stale === undefined) fill.fail()
  return stale
}

// The body is decoded, or was not read.
const FRAMING = new Set(['content-encoding', 'content-length', 'content-range', 'transfer-encoding'])

const withoutFraming = (fields: readonly string[]): string[] =>
  fields.filter((_, i) => !FRAMING.has(fields[i - (i % 2)] as string))

/** Returns a stored response; rejects with a CallFailed where it is a failure. */
async function responseOf({ status, fields, body }: CacheAnswer, calls: Calls): Promise<LegResponse> {
  const bytes =
    body === null || Buffer.isBuffer(body)
      ? (body ?? NO_BODY)
      : await calls.wait(buffer(body), () => body.destroy())
  if (status < 200 || status > 299) throw new CallFailed({ reason: 'status', status })
  calls.hold(bytes.length)
  return { status, fields, body: bytes }
}

const NO_BODY = Buffer.alloc(0)

/** Returns a head with some fields set: names and values in turn. */
function withFields(head: readonly string[], fields: readonly string[]): string[] {
  const own = [...head]
  for (let i = 0; i < fields.length; i += 2) setHeader(own, fields[i] as string, fields[i + 1])
  return own
}

/** Makes the stored responses of an upstream, given by its name or URL, for a path invalid (RFC 9111 section 4.4). */
export function invalidate(app: FastifyInstance, upstream: string, path: string): void {
  const base = upstream.includes('://') ? upstream.replace(/\/$/, '') : `//${upstream}`
  // The invalidation is sent when the store is available again.
  app.responseCache?.purge({ urls: [base + path] }).catch(() => {})
}
