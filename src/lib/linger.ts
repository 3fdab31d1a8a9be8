import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import { Socket } from 'node:net'
import { startTimer, stopTimer } from './clock.ts'

// nginx's lingering_time and lingering_timeout, in milliseconds: in all, and between two parts of the body.
const LONGEST = 30_000
const LONGEST_SILENCE = 5000

/**
 * Reads on and drops what comes of a body that already has its answer. A connection that is closed while the client sends is
 * reset by the kernel, and the client gets EPIPE in the place of the answer. Call it before the request is answered.
 */
export function lingerAfterAnswer(request: IncomingMessage, response: ServerResponse): void {
  const { headers, socket } = request
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return
  let isLast = false
  response.once('prefinish', () => {
    // Node's server calls this at 'finish' after an answer that says "Connection: close".
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

/** Does the same for a request of HTTP/2, whose stream ends without an error (RFC 9113 section 8.1). */
export function lingerAfterHttp2Answer(request: IncomingMessage): void {
  const { stream } = request as unknown as Http2ServerRequest
  if (stream.endAfterHeaders) return
  // The response itself finishes only when its stream is closed.
  stream.once('finish', () =>
    linger(request, stream, () => {
      if (!request.complete) stream.close(constants.NGHTTP2_NO_ERROR)
    })
  )
}

/** Drops what comes until the body is complete, its client silent or the time over; then calls `done`. */
function linger(
  request: IncomingMessage,
  carrier: { once(event: 'close', listener: () => void): unknown; readonly destroyed: boolean },
  done: () => void
): void {
  if (request.complete || carrier.destroyed) return
  const finish = (): void => {
    stopTimer(all)
    stopTimer(silence)
    if (!carrier.destroyed) done()
  }
  const all = startTimer(finish, LONGEST).unref()
  const silence = startTimer(finish, LONGEST_SILENCE).unref()
  request
    .on('data', () => void silence.refresh())
    .once('end', finish)
    .on('error', () => {})
    .resume()
  carrier.once('close', finish)
}

const close = (socket: Socket): void => Socket.prototype.destroySoon.call(socket)
