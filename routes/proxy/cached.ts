import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import type {
  CacheAnswer,
  CacheFill,
  CacheFollower,
  Lookup,
  ResponseCache,
  RouteCache
} from '../../src/lib/contracts/cache.ts'
import { setHeader } from '../../src/lib/http/flat-head.ts'
import { cut, isClosed } from '../../src/lib/http/response.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { DeadlineExceeded, NotStored, type Refusal, withHeaders } from '../../src/lib/refusals.ts'
import { CachedPlans } from './cached-plans.ts'
import { Exchange } from './exchange.ts'
import { FillWriter } from './fill-writer.ts'
import { PassWriter } from './pass-writer.ts'
import type { ForwardPlan, MakeWriter, PreparedRequest, UpstreamRoute } from './plan.ts'
import { Refresh } from './refresh.ts'
import type { ChooseUpstream } from './split.ts'
import { sendStored } from './stored-response.ts'

/** How a route with a cache forwards what the cache has not. */
export interface Forwarder {
  readonly plan: ForwardPlan
  readonly routeOf: ChooseUpstream
  prepare(request: FastifyRequest, route: UpstreamRoute): PreparedRequest
  /** Returns the path as it goes upstream. */
  path(request: FastifyRequest): string
  /** Returns the query as it goes upstream. */
  query(request: FastifyRequest): string
  /** What changes with the options that responses depend on. */
  readonly dependsOn: readonly unknown[]
}

// Stored responses that a route renews in the background at the same time; others stay stale a little longer.
const MAX_REFRESHES = 64

/** The route that a request goes on to when the cache does not answer it. */
interface Ongoing {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly route: UpstreamRoute
}

/** Answers the requests of a route from its cache, or has them forwarded. */
export class CachedRoute {
  readonly #responses: ResponseCache
  readonly #info: RouteInfo
  readonly #forwarder: Forwarder
  readonly #refreshes = new Set<Refresh>()
  #cache: RouteCache | undefined
  #plans: CachedPlans | undefined

  constructor(responses: ResponseCache, info: RouteInfo, forwarder: Forwarder) {
    this.#responses = responses
    this.#info = info
    this.#forwarder = forwarder
  }

  /** Aborts what renews stored responses. */
  close(): void {
    for (const refresh of this.#refreshes) refresh.abort(new Error('The gateway is closing'))
  }

  /** Answers a request. */
  answer(request: FastifyRequest, reply: FastifyReply): void {
    const { routeOf, path, query } = this.#forwarder
    const route = routeOf(request, reply)
    const ongoing = { request, reply, route }
    const cache = this.#routeCache()
    const stageValues = (this.#plans as CachedPlans).valuesOf(request)
    const found = cache.lookup(request, {
      // All upstreams that a config gives by their URL have the same name.
      upstream: `${route.upstream.name} ${route.upstream.optionsHash}`,
      query: query(request),
      values: [path(request), ...headerValues(request), ...stageValues]
    })
    if (found instanceof Promise)
      this.#later(
        ongoing,
        found.then((lookup) => this.#act(ongoing, lookup))
      )
    else this.#act(ongoing, found)
  }

  /** Makes the cache with the first request, when all stages are known. */
  #routeCache(): RouteCache {
    if (this.#cache !== undefined) return this.#cache
    const { options } = this.#info
    this.#plans = new CachedPlans(this.#info, this.#forwarder.plan)
    const stageOptions = this.#plans.before.map(({ key }) => [key, options[key]])
    const dependsOn = JSON.stringify([
      ...this.#forwarder.dependsOn,
      ...stageOptions,
      (options['headers'] as { request?: object } | undefined)?.request ?? {},
      options['query']
    ])
    this.#cache = this.#responses.for(this.#info, dependsOn) as RouteCache
    return this.#cache
  }

  #act(ongoing: Ongoing, lookup: Lookup): void {
    const { reply } = ongoing
    if (lookup.kind === 'hit') {
      this.#send(ongoing, lookup.answer)
      if (lookup.refresh !== undefined) this.#refresh(ongoing, lookup.refresh)
    } else if (lookup.kind === 'fill') this.#fill(ongoing, lookup.fill)
    else if (lookup.kind === 'follow') this.#later(ongoing, this.#follow(ongoing, lookup.follower))
    else if (lookup.kind === 'refuse')
      reply.send(withHeaders(new NotStored(), { 'cache-status': lookup.cacheStatus }))
    else {
      const passed = { cache: this.#routeCache(), cacheStatus: lookup.cacheStatus, removes: lookup.removes }
      this.#forward(ongoing, (...sides) => new PassWriter(...sides, passed))
    }
  }

  #send({ request, reply }: Ongoing, answer: CacheAnswer): void {
    const { body } = answer
    if (!isClosed(reply.raw)) sendStored(request, reply, answer, this.#plans as CachedPlans)
    else if (body !== null && !Buffer.isBuffer(body)) body.destroy()
  }

  #fill(ongoing: Ongoing, fill: CacheFill): void {
    const plans = this.#plans as CachedPlans
    try {
      this.#forward(ongoing, (...sides) => new FillWriter(...sides, { fill, plans }), fill)
    } catch (error) {
      fill.fail()
      throw error
    }
  }

  async #follow(ongoing: Ongoing, follower: CacheFollower): Promise<void> {
    const { request, reply } = ongoing
    onResponseClosed(reply.raw, leave, follower, undefined)
    const result = await follower.wait(Math.max(0, request.deadline?.remaining ?? MAX_TIMER_MS))
    if (result.kind === 'answer') this.#send(ongoing, result.answer)
    else if (result.kind === 'fill') this.#fill(ongoing, result.fill)
    else if (!isClosed(reply.raw)) this.#refuse(ongoing, new DeadlineExceeded())
  }

  #refuse({ request, reply }: Ongoing, refusal: Refusal): void {
    const { fallback } = this.#forwarder.plan
    if (fallback === undefined) reply.send(refusal)
    else fallback.refuse(request, reply, refusal)
  }

  #refresh({ request, route }: Ongoing, fill: CacheFill): void {
    if (this.#refreshes.size >= MAX_REFRESHES) {
      fill.fail()
      return
    }
    try {
      const refresh = new Refresh(request, this.#prepare(request, route, fill), {
        fill,
        plans: this.#plans as CachedPlans,
        forward: this.#forwarder.plan,
        onOver: (over) => this.#refreshes.delete(over)
      })
      this.#refreshes.add(refresh)
      refresh.start()
    } catch (error) {
      // The client has its response already.
      request.log.error({ err: error, requestId: request.id }, 'renewing a stored response failed')
      fill.fail()
    }
  }

  #forward({ request, reply, route }: Ongoing, makeWriter: MakeWriter, fill?: CacheFill): void {
    const prepared = { ...this.#prepare(request, route, fill), makeWriter }
    new Exchange(request, reply, this.#forwarder.plan, prepared).start()
  }

  #prepare(request: FastifyRequest, route: UpstreamRoute, fill: CacheFill | undefined): PreparedRequest {
    const prepared = this.#forwarder.prepare(request, route)
    if (fill === undefined) return prepared
    const { head } = prepared
    for (const name of fill.removes) setHeader(head, name, undefined)
    // What is stored is for all clients, whichever content codings they accept.
    setHeader(head, 'accept-encoding', 'identity')
    for (let i = 0; i < fill.sets.length; i += 2) setHeader(head, fill.sets[i] as string, fill.sets[i + 1])
    return prepared
  }

  /** Handles the errors of what goes on after the handler has returned. */
  #later({ request, reply }: Ongoing, going: Promise<void>): void {
    going.catch((error: Error) => {
      if (isClosed(reply.raw)) return
      if (!reply.raw.headersSent) {
        reply.send(error)
        return
      }
      request.log.error({ err: error, requestId: request.id }, 'a request failed')
      cut(reply.raw)
    })
  }
}

const leave = (follower: CacheFollower): void => follower.leave()

/** Returns the values of the request that go upstream in headers. */
const headerValues = (request: FastifyRequest): (string | undefined)[] =>
  (request.headerChanges ?? []).flatMap(({ value }) =>
    value === undefined || value.constant ? [] : [value.renderKey(request)]
  )
