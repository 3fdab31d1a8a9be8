import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { currentResponse } from '../../src/lib/http/current-response.ts'
import { HeadersTooLarge, Malformed, type Refusal, TooSlow } from '../../src/lib/refusals.ts'
import { problemOf, serializeProblem } from './format.ts'

/** Creates the `clientError` listener, which responds to requests that Node's parser rejects. */
export function parserErrorHandler(
  log: FastifyBaseLogger
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return function respondToParserError(error, socket) {
    const refusal = parserRefusal(error)
    // A response can't be written in the middle of another one, nor before the response to an earlier request.
    const pending = currentResponse(socket)
    const responseBegun = pending !== undefined && (pending.headersSent || pending.req.complete)
    if (error.code !== 'ECONNRESET' && socket.writable && !responseBegun) {
      log.warn(
        { status: refusal.statusCode, code: refusal.code, ip: socket.remoteAddress },
        'malformed request refused'
      )
      socket.write(rawResponse(refusal))
    }
    socket.destroySoon()
  }
}

function parserRefusal(error: NodeJS.ErrnoException): Refusal {
  if (error.code?.startsWith('SP_ERR_') === true) return error as Refusal
  if (error.code === 'HPE_HEADER_OVERFLOW') return new HeadersTooLarge()
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new TooSlow()
  return new Malformed()
}

function rawResponse(refusal: Refusal): string {
  const body = serializeProblem(problemOf(refusal))
  const status = refusal.statusCode ?? 400
  const headerLines = Object.entries(refusal.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${headerLines.join('')}content-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n${body}`
}
