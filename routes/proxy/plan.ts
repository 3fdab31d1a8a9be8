import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ResponseSource } from '../../src/lib/contracts/cache.ts'
import type { AttemptPolicy, UpstreamService } from '../../src/lib/contracts/upstream.ts'
import type { RequestHead } from '../../src/lib/http/flat-head.ts'
import type { RequestHeadOptions } from '../../src/lib/http/request-head.ts'
import type { WriteDestination } from './destination.ts'
import type { Fallback } from './fallback.ts'
import type { ResponseWriter, ResponseWriterListener } from './response.ts'
import type { ResponseHeadPlan } from './response-head.ts'
import type { TunnelOptions } from './websocket/tunnel.ts'

/** An upstream, and how requests of a route are sent to it. */
export interface UpstreamRoute {
  readonly upstream: UpstreamService
  readonly policy: AttemptPolicy
  /** Bytes of a body that are kept, whatever the method, in case a target closes its connection before it has processed the request. */
  readonly failoverBytes: number
}

/** How a route forwards, compiled at boot; the same for all its requests. */
export interface ForwardPlan {
  readonly requestHeadOptions: RequestHeadOptions
  /** Sends the response that replaces an error. */
  readonly fallback: Fallback | undefined
  /** Sends a copy of a request to another upstream, once its body is known. */
  readonly mirror:
    | ((request: FastifyRequest, prepared: PreparedRequest, body: Buffer | null | undefined) => void)
    | undefined
  /** Returns how headers of a target's responses are changed. */
  responseHeadFor(target: ResponseSource): ResponseHeadPlan
}

/** What one request asks of an upstream, whichever target gets it. */
export interface PreparedRequest {
  readonly route: UpstreamRoute
  /** The path and the query, without the base path of the target. */
  readonly path: string
  /** The headers; the Host is set for each target. */
  readonly head: RequestHead
  readonly body: Readable | Buffer | null
  /** Bytes of the body that are kept for a retry or a copy. */
  readonly replayBytes: number
  readonly idempotent: boolean
  /** Writes WebDAV's Destination for a target; undefined to pass it unchanged. */
  readonly destination: WriteDestination | undefined
  /** The limits of the WebSocket that the request asks for; undefined for an ordinary request. */
  readonly tunnel: TunnelOptions | undefined
  /** Makes what writes the response where a cache sees it; undefined for an ordinary one. */
  readonly makeWriter: MakeWriter | undefined
}

/** Makes what writes the response to a client. */
export type MakeWriter = (
  request: FastifyRequest,
  reply: FastifyReply,
  listener: ResponseWriterListener
) => ResponseWriter
