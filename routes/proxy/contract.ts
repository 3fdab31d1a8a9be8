import type { FastifyError, FastifyRequest } from 'fastify'
import type { Sender } from '../../src/kit/index.ts'

/** What the forwarder needs of an upstream; `app.upstream` hands out no less. */
export interface Upstream {
  readonly name: string
  /** Whether requests go by HTTP/2 where a target offers it. */
  readonly http2: boolean
  /** Milliseconds; 0 for none. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  /** The requests under way, and the tries among them that are not the first. */
  readonly traffic: { active: number; extra: number; retries: number }
  /** Seconds until a target may take requests again. */
  readonly retryAfter: number
  pick(request: FastifyRequest, tried?: readonly UpstreamTarget[]): UpstreamTarget | undefined
  /** Tells whether one more request may be tried again, `budget` being the share of those under way. */
  mayRepeat(budget: number): boolean
  /** Writes the cookie that keeps a client at a target. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined
}

/** One place an upstream listens at. */
export interface UpstreamTarget {
  readonly name: string
  readonly host: string
  readonly origin: string
  readonly base: string
  readonly http2: boolean
  readonly pool: Sender
  readonly upgrades: Sender
  /** Notes that a request is sent; tells whether it tries a target that may be down still. */
  take(): boolean
  judge(ok: boolean, probe: boolean): void
  untried(probe: boolean): void
  leave(): void
}

/** What a request's route allows it; `request.limits` says no less. */
export interface StreamLimits {
  readonly body: number
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Says who reads the body of a request, and is told when it comes too slowly. */
  readBy(request: FastifyRequest, reader: { fail(error: FastifyError): void }): void
}

export type { Forwarding } from '../../src/kit/index.ts'
