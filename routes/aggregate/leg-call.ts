import type { FastifyRequest } from 'fastify'
import { bufferedBody } from '../../src/lib/ask-upstream.ts'
import type { OutboundRequest } from '../../src/lib/contracts/upstream.ts'
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

/** A request that an upstream takes, of a client. */
export interface ClientRequest extends OutboundRequest {
  readonly source: FastifyRequest
}

/** Returns a request of a leg as its upstream takes it. */
export function outbound(
  { request: { method }, safe }: Sent,
  { request, path, head, body }: LegCall,
  deadline: Deadline | null
): ClientRequest {
  const own = [...head]
  return {
    source: request,
    method,
    path,
    idempotent: safe,
    body: body === null ? null : bufferedBody(body.bytes),
    deadline,
    headersFor({ host }) {
      own[1] = host
      return own
    }
  }
}
