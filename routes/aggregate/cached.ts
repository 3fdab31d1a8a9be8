import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import type {
  CacheFill,
  CacheFollower,
  Lookup,
  ResponseCache,
  RouteCache
} from '../../src/lib/contracts/cache.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { queryOf } from '../../src/lib/http/url-parts.ts'
import { DeadlineExceeded, NotStored, withHeaders } from '../../src/lib/refusals.ts'
import { isObject } from '../../src/lib/schema.ts'
import type { Answer } from './answer.ts'
import { type MakeAnswer, sendAnswer, sendError } from './answering.ts'
import { cacheValues } from './cache-values.ts'
import { Calls, endInTime } from './calls.ts'
import { CLIENT_GONE } from './failures.ts'
import type { Leg } from './leg.ts'
import type { AggregateOptions } from './options.ts'
import { headToStore, sendStored } from './stored-answer.ts'

// Stored responses that a route renews in the background at the same time; others stay stale a little longer.
const MAX_REFRESHES = 64

const CLOSING = new Error('The renewal of a stored response is over')

// The time limit of a renewal where the route has none, in ms.
const REFRESH_MS = 60_000

/** What a route answers where its cache can't. */
export interface CachedAnswersPlan {
  readonly responses: ResponseCache
  readonly info: RouteInfo
  readonly options: AggregateOptions
  readonly legs: ReadonlyMap<string, Leg>
  readonly make: MakeAnswer
  /** Answers a request without the cache; calls back with the response before it is sent. */
  pass(request: FastifyRequest, reply: FastifyReply, onMade: (made: Answer) => void): void
}

/** Answers the requests of a route from its cache, or runs its legs. */
export class CachedAnswers {
  readonly #app: FastifyInstance
  readonly #plan: CachedAnswersPlan
  readonly #valuesOf: (request: FastifyRequest) => (string | undefined)[]
  readonly #refreshes = new Set<Calls>()
  #cache: RouteCache | undefined

  constructor(app: FastifyInstance, plan: CachedAnswersPlan) {
    this.#app = app
    this.#plan = plan
    this.#valuesOf = cacheValues(plan.options)
  }

  /** Ends what renews stored responses. */
  close(): void {
    for (const calls of this.#refreshes) calls.end(CLOSING)
  }

  /** Answers a request. */
  async answer(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const lookup = await this.#routeCache().lookup(request, {
      upstream: '',
      query: queryOf(request.raw.url ?? ''),
      values: this.#valuesOf(request)
    })
    if (!isClosed(reply.raw)) await this.#act(lookup, request, reply)
    else if (lookup.kind === 'fill') lookup.fill.fail()
    else if (lookup.kind === 'follow') lookup.follower.leave()
  }

  /** Makes the cache with the first request, when all upstreams are known. */
  #routeCache(): RouteCache {
    const { responses, info, options, legs } = this.#plan
    this.#cache ??= responses.for(
      info,
      JSON.stringify([
        options,
        [...legs.values()].map(({ upstream }) => upstream.optionsHash),
        (info.options['headers'] as { request?: object } | undefined)?.request ?? {},
        info.options['query']
      ])
    ) as RouteCache
    return this.#cache
  }

  async #act(lookup: Lookup, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { kind } = lookup
    if (kind === 'hit') {
      sendStored(lookup.answer, request, reply)
      if (lookup.refresh !== undefined) await this.#refresh(lookup.refresh, request)
    } else if (kind === 'fill') await this.#fill(lookup.fill, request, reply)
    else if (kind === 'follow') await this.#follow(lookup.follower, request, reply)
    else if (kind === 'refuse')
      sendError(withHeaders(new NotStored(), { 'cache-status': lookup.cacheStatus }), request, reply)
    else
      this.#plan.pass(request, reply, (made) => {
        this.#routeCache().invalidate(request, headToStore(made))
        reply.header('cache-status', lookup.cacheStatus)
      })
  }

  async #follow(follower: CacheFollower, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    onResponseClosed(reply.raw, leave, follower, undefined)
    const result = await follower.wait(Math.max(0, request.deadline?.remaining ?? MAX_TIMER_MS))
    if (result.kind === 'answer') sendStored(result.answer, request, reply)
    else if (result.kind === 'fill') await this.#fill(result.fill, request, reply)
    else sendError(new DeadlineExceeded(), request, reply)
  }

  /** Runs the legs for a client, and for those that wait for the same response. */
  async #fill(fill: CacheFill, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (isClosed(reply.raw)) {
      fill.fail()
      return
    }
    const calls = new Calls(this.#app.buffers)
    let isMade = false
    const releaseUnused = (): void => {
      if (isClosed(reply.raw) && (isMade || !fill.isAwaited)) calls.release(CLIENT_GONE)
    }
    onResponseClosed(reply.raw, releaseUnused, undefined, undefined)
    fill.abandoned = releaseUnused
    // The one of the request ends with its client.
    const limit = request.deadline?.isEnforced === true ? request.deadline.remaining : undefined
    const deadline = limit === undefined ? null : new Deadline(Math.max(1, limit)).enforce(endInTime, calls)
    request.deadline?.cancel()
    try {
      const made = await this.#plan.make(request, calls, deadline)
      const cacheStatus = store(fill, made)
      if (cacheStatus !== undefined) reply.header('cache-status', cacheStatus)
      sendAnswer(made, request, reply)
    } catch (error) {
      const stale = isOfUpstream(error) ? fill.staleIfError() : undefined
      if (stale !== undefined) sendStored(stale, request, reply)
      else {
        fill.fail()
        sendError(error, request, reply)
      }
    } finally {
      deadline?.cancel()
      isMade = true
      releaseUnused()
    }
  }

  /** Renews a stored response in the background. */
  async #refresh(fill: CacheFill, request: FastifyRequest): Promise<void> {
    if (this.#refreshes.size >= MAX_REFRESHES) {
      fill.fail()
      return
    }
    const calls = new Calls(this.#app.buffers)
    const limit = request.deadline?.remaining ?? REFRESH_MS
    const deadline = new Deadline(Math.max(1, limit)).enforce(endInTime, calls)
    this.#refreshes.add(calls)
    try {
      store(fill, await this.#plan.make(request, calls, deadline))
    } catch (error) {
      fill.fail()
      if (!isRefusal(error))
        request.log.error({ err: error, requestId: request.id }, 'renewing a stored response failed')
    } finally {
      deadline.cancel()
      calls.release(CLOSING)
      this.#refreshes.delete(calls)
    }
  }
}

/** Gives a response to the cache; returns what Cache-Status says of it. */
function store(fill: CacheFill, made: Answer): string | undefined {
  const seen = fill.head(headToStore(made))
  for (const chunk of made.chunks) fill.write(chunk)
  fill.end()
  return seen.kind === 'upstream' ? seen.cacheStatus : undefined
}

const leave = (follower: CacheFollower): void => follower.leave()

const isRefusal = (error: unknown): boolean => isObject(error) && String(error['code']).startsWith('SP_ERR_')

/** Tells whether an error says that upstreams fail, so that a stale response takes its place. */
const isOfUpstream = (error: unknown): boolean => isObject(error) && Number(error['statusCode']) >= 502
