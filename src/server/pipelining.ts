import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { currentResponse } from '../lib/http/current-response.ts'

/** Handles a request, once its turn on the connection has come. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

const PIPELINE = Symbol('pipeline')

interface Pipeline {
  /** Whether a request of the connection has no response yet. */
  busy: boolean
  readonly queue: (readonly [handle: RequestHandler, request: IncomingMessage, response: ServerResponse])[]
  /** Rejects the invalid bytes behind the last request, once that request has its response. */
  reject?: () => void
}

interface PipelinedSocket extends Socket {
  [PIPELINE]?: Pipeline
}

/** Handles the requests of one connection one at a time, so that a client that pipelines occupies one place and not 100,000. */
export function handleInOrder(
  handle: RequestHandler,
  request: IncomingMessage,
  response: ServerResponse
): void {
  const socket: PipelinedSocket = request.socket
  socket[PIPELINE] ??= { busy: false, queue: [] }
  const pipeline = socket[PIPELINE]
  if (pipeline.busy) {
    pipeline.queue.push([handle, request, response])
    // Further bytes stay in the kernel's buffer, which is bounded.
    socket.pause()
  } else {
    pipeline.busy = true
    handle(request, response)
  }
}

/** Returns whether requests are queued on a connection behind the current one. */
export const hasQueuedRequests = (socket: PipelinedSocket): boolean =>
  (socket[PIPELINE]?.queue.length ?? 0) > 0

/** Handles the next request of a connection, now that the current one has its response. */
export function handleNext(socket: PipelinedSocket): void {
  const pipeline = socket[PIPELINE]
  if (pipeline === undefined) return
  // A response with "Connection: close" is the last one: requests pipelined behind it are not processed (RFC 9112 section 9.6).
  if (socket.writableEnded) {
    pipeline.queue.length = 0
    return
  }
  const next = socket.destroyed ? undefined : pipeline.queue.shift()
  if (next !== undefined) {
    const [handle, request, response] = next
    handle(request, response)
    return
  }
  pipeline.busy = false
  if (pipeline.reject !== undefined) pipeline.reject()
  else if (socket.isPaused()) socket.resume()
}

/** Rejects bytes that are not a valid request, after the requests before them have their responses. */
export function rejectInOrder(socket: PipelinedSocket, reject: () => void): void {
  const pipeline = socket[PIPELINE]
  if (pipeline === undefined || !pipeline.busy) {
    reject()
    return
  }
  const last = pipeline.queue.at(-1)?.[1]
  // The invalid bytes are the body of a queued request, which has not been handled yet.
  if (last?.complete === false) pipeline.queue.pop()
  if (last === undefined && currentResponse(socket)?.req.complete === false) reject()
  else pipeline.reject ??= reject
}
