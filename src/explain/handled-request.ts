import type { FastifyRequest } from 'fastify'
import type { UpstreamRequest } from '../lib/contracts/simulation.ts'

/** A request that has been handled, and what was seen of it. */
export interface HandledRequest {
  readonly method: string
  /** The URL as it was sent. */
  readonly url: string
  /** The address of the peer. */
  readonly from: string
  /** Names and values, as sent. */
  readonly headers: readonly (readonly [string, string])[]
  /** undefined where its bytes were no valid request. */
  readonly request: FastifyRequest | undefined
  /** The status of the response; undefined where the connection was closed without one. */
  readonly status: number | undefined
  /** The code and detail of a refusal by the parser, which has no request. */
  readonly parserRefusal?: { readonly code: string; readonly detail: string } | undefined
  /** The headers of a response that is at hand: lower-case names and values. */
  readonly responseHeaders?: readonly (readonly [string, string])[] | undefined
  readonly upstreamRequests: readonly UpstreamRequest[]
  /** Whether a client really sent it, so that no value of its query is shown. */
  readonly isLive: boolean
  /** The gates whose verdicts are not known, each with what was assumed. */
  readonly unknown: ReadonlyMap<string, string>
}
