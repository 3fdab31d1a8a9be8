import type { FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'

/** The session that let the request in is over; its stream was cut. */
export const SessionOver = createError('SP_ERR_AUTH_SESSION_OVER', 'The session is over', 401)

/** Tells whether it was a session that let a request in. */
export const isOfSession = ({ caller }: FastifyRequest): boolean => caller?.by === 'session'

// Beside event streams, what an upstream sends until its client leaves.
const GOES_ON =
  /^(?:application\/(?:grpc|x-ndjson|ndjson|jsonl|json-seq|stream\+json|x-jsonlines)|multipart\/x-mixed-replace)/i

/** Tells whether a head, names and values in turn, begins an answer that goes on until its client leaves. */
export function isEndless(head: readonly string[]): boolean {
  for (let i = 0; i < head.length; i += 2)
    if (head[i] === 'content-type') return GOES_ON.test((head[i + 1] as string).trim())
  return false
}

/** Calls `end` when the session of a request is over, unless its answer is over first. */
export function watchSession(request: FastifyRequest, reply: FastifyReply, end: () => void): void {
  const { sessions } = request.server
  if (sessions !== null) onResponseClosed(reply.raw, stop, sessions.onEnd(request, end), undefined)
}

function stop(unwatch: () => void): void {
  unwatch()
}
