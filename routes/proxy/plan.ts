import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AttemptPolicy, UpstreamService, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import type { RequestHead, RequestHeadOptions } from '../../src/lib/http/request-head.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { WriteDestination } from './destination.ts'
import type { ResponseHeadPlan } from './response.ts'
import type { TunnelOptions } from './websocket/tunnel.ts'

/** An upstream, and how requests of a route are sent to it. */
export interface UpstreamRoute {
  readonly upstream: UpstreamService
  readonly policy: AttemptPolicy
  /** Bytes of a body that are kept for a target that ends its connection before it has processed it, whatever the method is. */
  readonly replay: number
}

/** How a route forwards, compiled at boot; the same for all its requests. */
export interface ForwardPlan {
  readonly head: RequestHeadOptions
  /** Answers in the place of an upstream that gave no answer. */
  readonly fallback: ((request: FastifyRequest, reply: FastifyReply, refusal: Refusal) => void) | undefined
  /** Sends a copy of a request elsewhere, once its body is known. */
  readonly mirror:
    | ((request: FastifyRequest, errand: PreparedRequest, body: Buffer | null | undefined) => void)
    | undefined
  answerFor(target: UpstreamTarget): ResponseHeadPlan
}

/** What one request asks of an upstream, whichever target gets it. */
export interface PreparedRequest {
  /** The path and the query, behind the path of the target. */
  readonly path: string
  /** The head, whose Host is the target's to say. */
  readonly head: RequestHead
  readonly body: Readable | Buffer | null
  /** Bytes of the body that are kept, to be sent again. */
  readonly keep: number
  /** Whether it may be executed twice. */
  readonly idempotent: boolean
  /** Writes WebDAV's Destination for a target; undefined where it goes on as it came. */
  readonly destination: WriteDestination | undefined
  /** What a connection that switches protocols may take; undefined where the request does not ask for one. */
  readonly joint: TunnelOptions | undefined
}
