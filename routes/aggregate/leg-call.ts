import type { FastifyRequest } from 'fastify'
import type { OutboundRequest, ReplayableBody } from '../../src/lib/contracts/upstream.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import type { CallLimits } from './call.ts'
import type { LegBody } from './leg-request.ts'

/** One request of a leg. */
export interface LegCall {
  /** The client's. */
  readonly request: FastifyRequest
  readonly path: string
  /** Names in lower case and values in turn, Host first. */
  readonly head: readonly string[]
  readonly body: LegBody | null
  readonly limits: CallLimits
}

/** What of a leg decides how its requests are sent. */
interface Sent {
  readonly request: { readonly method: string }
  readonly safe: boolean
}

/** Returns a request of a leg as its upstream takes it. */
export function outbound(
  { request: { method }, safe }: Sent,
  { request, path, head, body }: LegCall,
  deadline: Deadline | null
): OutboundRequest {
  const own = [...head]
  return {
    source: request,
    method,
    path,
    idempotent: safe,
    body: body === null ? null : replayable(body),
    deadline,
    headersFor({ host }) {
      own[1] = host
      return own
    }
  }
}

const replayable = ({ bytes }: LegBody): ReplayableBody => ({
  isDisposable: false,
  ended: true,
  isReplayable: true,
  isReplayableWithin: (maxBytes) => bytes.length <= maxBytes,
  open: () => bytes
})
