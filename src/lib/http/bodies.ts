import type { IncomingMessage } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isHttp2 } from './http2.ts'

/** Lets the routes of an encapsulated plugin answer without a look at the body, whatever it says it is. */
export function ignoreBodies(app: FastifyInstance): void {
  acceptAnyContentTypes(app)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', function leaveUnread(_request, _payload, done) {
    done(null)
  })
}

/** Ends what is left of a request: its connection, or over HTTP/2 its stream alone. */
export function abortRequest(raw: IncomingMessage): void {
  if (isHttp2(raw)) (raw as unknown as Http2ServerRequest).stream.close(constants.NGHTTP2_CANCEL)
  else raw.destroy()
}

/** Ends a connection whose client takes nothing, with a reset: after an end the kernel would keep what was written, a megabyte and more, for as long as the client likes. */
export function resetConnection(socket: Socket): void {
  // TLS has no reset of its own, but the connection below it has.
  const { _parent: below } = socket
  try {
    ;(below ?? socket).resetAndDestroy()
  } catch {
    // A Unix socket has none, and neither has TLS that was opened by us: Node.js throws.
    socket.destroy()
  }
}

/** Lets the routes of an encapsulated plugin take a Content-Type that is none, which Fastify refuses with 415 before it looks for a parser. */
export function acceptAnyContentTypes(app: FastifyInstance): void {
  app.addHook('preParsing', function nameNoType(request, _reply, payload, done) {
    acceptAnyContentType(request)
    done(null, payload)
  })
}

/** Replaces a Content-Type that is none, for Fastify alone: the raw header, which is forwarded, stays as it came. */
export function acceptAnyContentType(request: FastifyRequest): void {
  const type = request.raw.headers['content-type']
  if (type !== undefined && !MEDIA_TYPE.test(type)) request.headers = { 'content-type': UNKNOWN }
}

const MEDIA_TYPE = /^[ \t]*[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+[ \t]*(;|$)/

// "Octets of whatever kind" (RFC 2046 section 4.5.1).
const UNKNOWN = 'application/octet-stream'
