import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteCache } from '../../src/lib/contracts/cache.ts'
import { withCacheStatus } from './cached-plans.ts'
import { ResponseWriter, type ResponseWriterListener } from './response.ts'
import type { ResponseHeadPlan, UpstreamHead } from './response-head.ts'

/** What the cache says of a request that it has nothing to do with. */
export interface PassedCache {
  readonly cache: RouteCache
  readonly cacheStatus: string
  readonly removes: readonly string[]
}

/** Writes a response that passes the cache, and tells the cache what it has changed. */
export class PassWriter extends ResponseWriter {
  readonly #request: FastifyRequest
  readonly #passed: PassedCache

  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    listener: ResponseWriterListener,
    passed: PassedCache
  ) {
    super(request, reply, listener)
    this.#request = request
    this.#passed = passed
  }

  override start(head: UpstreamHead, plan: ResponseHeadPlan): Error | undefined {
    const { cache, cacheStatus, removes } = this.#passed
    cache.invalidate(this.#request, head)
    return super.start(withCacheStatus(head, cacheStatus, removes), plan)
  }
}
