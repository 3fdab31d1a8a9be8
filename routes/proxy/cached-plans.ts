import { STATUS_CODES } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import type { CacheAnswer, ResponseSource } from '../../src/lib/contracts/cache.ts'
import { type Compression, type CompressionOptions, compressionFor } from '../../src/lib/http/compression.ts'
import { setHeader } from '../../src/lib/http/flat-head.ts'
import type { ResponseStage } from '../../src/lib/http/staged-body.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { ForwardPlan } from './plan.ts'
import type { ResponseHeadPlan, UpstreamHead } from './response-head.ts'

/** How responses of a cached route are changed: what comes out of the stages before the cache is stored, and all others changes are made for each client. */
export class CachedPlans {
  /** The stages whose output is stored. */
  readonly before: readonly ResponseStage[]
  readonly #head: RouteInfo['head']
  readonly #forward: ForwardPlan
  readonly #plans = new WeakMap<ResponseHeadPlan, ResponseHeadPlan>()
  readonly #plainPlans = new WeakMap<ResponseHeadPlan, ResponseHeadPlan>()
  /** What compresses stored responses where nothing else is behind the cache; undefined where they are not compressed, or in a stage. */
  readonly compression: Compression | undefined

  /** Splits the stages of a head plan, which is complete. */
  constructor({ head, options }: RouteInfo, forward: ForwardPlan) {
    const at = head.stages.findIndex(({ key }) => key === 'cache')
    this.before = head.stages.slice(0, Math.max(at, 0))
    this.#head = { ...head, stages: head.stages.slice(at + 1) }
    this.#forward = forward
    const behind = this.#head.stages.map(({ key }) => key)
    this.compression =
      behind.join() === 'compress' ? compressionFor(options['compress'] as CompressionOptions) : undefined
  }

  /** Returns the values of a request that the stages before the cache put into responses. */
  valuesOf(request: FastifyRequest): (string | undefined)[] {
    return this.before.flatMap(({ values }) => values?.(request) ?? [])
  }

  /** Returns a plan without the stages before the cache. */
  behindCache(plan: ResponseHeadPlan): ResponseHeadPlan {
    return getOrCreate(this.#plans, plan, () => ({ ...plan, head: this.#head }))
  }

  /** Returns how a stored response that needs no stage is changed for a client. */
  plainPlanFor({ source = NO_SOURCE }: CacheAnswer): ResponseHeadPlan {
    const plan = this.#forward.responseHeadFor(source)
    return getOrCreate(this.#plainPlans, plan, () => ({ ...plan, head: { ...this.#head, stages: [] } }))
  }

  /** Returns how a stored response is changed for a client. */
  planFor({ source = NO_SOURCE }: CacheAnswer): ResponseHeadPlan {
    return this.behindCache(this.#forward.responseHeadFor(source))
  }
}

// Stored responses have a source where headers may name it.
const NO_SOURCE: ResponseSource = { host: '', origin: '', base: '' }

/** Returns the head of a stored response, as if the upstream had sent it. */
export const storedHead = ({ status, fields, body, cacheStatus }: CacheAnswer): UpstreamHead => ({
  status,
  statusText: STATUS_CODES[status] ?? '',
  fields: [...fields, 'cache-status', cacheStatus],
  endStream: body === null,
  stickyCookie: undefined
})

/** Returns a head of an upstream with a further member of Cache-Status (RFC 9211), and without some fields. */
export function withCacheStatus(
  head: UpstreamHead,
  cacheStatus: string,
  removes: readonly string[]
): UpstreamHead {
  const fields = [...head.fields, 'cache-status', cacheStatus]
  for (const name of removes) setHeader(fields, name, undefined)
  return { ...head, fields }
}
