import type { FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { callerBy } from '../../src/lib/caller.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'

/** The session that authenticated the request has ended; its stream was cut. */
export const SessionOver = createError('SP_ERR_AUTH_SESSION_OVER', 'Session ended', 401)

/** Returns whether a session authenticated a request, alone or beside another credential. */
export const isOfSession = (request: FastifyRequest): boolean => callerBy(request, 'session') !== undefined

// Beside event streams, media types that upstreams stream until the client disconnects.
const LONG_LIVED =
  /^(?:application\/(?:grpc|x-ndjson|ndjson|jsonl|json-seq|stream\+json|x-jsonlines)|multipart\/x-mixed-replace)/i

/** Returns whether a response with these headers, names and values in turn, is streamed until the client disconnects. */
export function isLongLived(head: readonly string[]): boolean {
  for (let i = 0; i < head.length; i += 2)
    if (head[i] === 'content-type') return LONG_LIVED.test((head[i + 1] as string).trim())
  return false
}

/** Calls `onEnd` when the session of a request ends before its response does. */
export function watchSession(request: FastifyRequest, reply: FastifyReply, onEnd: () => void): void {
  const { sessions } = request.server
  if (sessions !== null) onResponseClosed(reply.raw, stopWatching, sessions.onEnd(request, onEnd), undefined)
}

function stopWatching(unwatch: () => void): void {
  unwatch()
}
