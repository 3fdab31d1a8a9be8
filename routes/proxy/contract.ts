import type { FastifyError, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'

/** What the forwarder needs of an upstream; `app.upstream` hands out no less. */
export interface Upstream {
  readonly name: string
  readonly targets: readonly UpstreamTarget[]
  /** Milliseconds; 0 for none. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  pick(): UpstreamTarget | undefined
}

/** One place an upstream listens at. */
export interface UpstreamTarget {
  readonly name: string
  readonly host: string
  readonly origin: string
  readonly base: string
  readonly pool: Dispatcher
  readonly load: { requests: number }
  readonly most: number
}

/** What a request's route allows it; `request.limits` says no less. */
export interface StreamLimits {
  readonly body: number
  readonly time: number | undefined
  readonly idle: number | undefined
  tooLarge(request: FastifyRequest): FastifyError | undefined
}

export type { Forwarding } from '../../src/kit/index.ts'
