import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { currentResponse } from '../../src/lib/http/current-response.ts'
import { HeadersTooLarge, Malformed, type Refusal, TooSlow } from '../../src/lib/refusals.ts'
import type { ErrorFormat } from './format.ts'
import { problemOf } from './problem.ts'

/** Creates the `clientError` listener, which responds to requests that Node's parser rejects. */
export function parserErrorHandler(
  log: FastifyBaseLogger,
  format: ErrorFormat
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
      socket.write(rawResponse(refusal, format))
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

function rawResponse(refusal: Refusal, format: ErrorFormat): string {
  const problem = problemOf(refusal)
  const { type, policy, render } = format(problem, undefined)
  const body = render({ problem, request: undefined })
  const headers = {
    ...refusal.headers,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(policy === undefined ? {} : { 'content-security-policy': policy }),
    'x-content-type-options': 'nosniff',
    connection: 'close'
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${body}`
}
