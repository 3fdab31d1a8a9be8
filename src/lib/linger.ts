import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import { Socket } from 'node:net'
import { startTimer, stopTimer } from './clock.ts'

// The defaults of nginx's lingering_time and lingering_timeout, in ms.
const LINGERING_TIME_MS = 30_000
const LINGERING_TIMEOUT_MS = 5000

/**
 * Reads and drops the rest of a body after its response. If a connection closes while the client is sending, the kernel
 * resets it and the client gets EPIPE instead of the response. Call it before the response is sent.
 */
export function lingerAfterResponse(request: IncomingMessage, response: ServerResponse): void {
  const { headers, socket } = request
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return
  let isLast = false
  response.once('prefinish', () => {
    // Node's server calls this at 'finish' after a response with "Connection: close".
    socket.destroySoon = function endFirst(this: Socket) {
      isLast = true
      if (request.complete) close(this)
      else this.end()
    }
  })
  response.once('finish', () => {
    Reflect.deleteProperty(socket, 'destroySoon')
    linger(request, socket, () => {
      if (!request.complete) socket.destroy()
      else if (isLast) close(socket)
    })
  })
}

/** Does the same for an HTTP/2 request, whose stream then ends without an error (RFC 9113 section 8.1). */
export function lingerAfterHttp2Response(request: IncomingMessage): void {
  const { stream } = request as unknown as Http2ServerRequest
  if (stream.endAfterHeaders) return
  // The response object finishes only when its stream is closed.
  stream.once('finish', () =>
    linger(request, stream, () => {
      if (!request.complete) stream.close(constants.NGHTTP2_NO_ERROR)
    })
  )
}

/** Drops the body until it is complete, idle for too long, or over the total time; then calls `done`. */
function linger(
  request: IncomingMessage,
  carrier: { once(event: 'close', listener: () => void): unknown; readonly destroyed: boolean },
  done: () => void
): void {
  if (request.complete || carrier.destroyed) return
  const finish = (): void => {
    stopTimer(total)
    stopTimer(idle)
    if (!carrier.destroyed) done()
  }
  const total = startTimer(finish, LINGERING_TIME_MS).unref()
  const idle = startTimer(finish, LINGERING_TIMEOUT_MS).unref()
  request
    .on('data', () => void idle.refresh())
    .once('end', finish)
    .on('error', () => {})
    .resume()
  carrier.once('close', finish)
}

const close = (socket: Socket): void => Socket.prototype.destroySoon.call(socket)
