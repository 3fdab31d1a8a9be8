import type { IncomingMessage } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isHttp2 } from './http2.ts'

/** Makes the routes of an encapsulated plugin ignore request bodies of any content type. */
export function ignoreBodies(app: FastifyInstance): void {
  acceptAnyContentTypes(app)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', function leaveUnread(_request, _payload, done) {
    done(null)
  })
}

/** Returns whether a request may have a body, by its framing (RFC 9112 section 6). */
export function mayHaveBody(raw: IncomingMessage): boolean {
  // HTTP/2 ends a request by END_STREAM, not by a length.
  if (isHttp2(raw)) return !(raw as unknown as Http2ServerRequest).stream.endAfterHeaders
  const { 'transfer-encoding': coding, 'content-length': length = '0' } = raw.headers
  return coding !== undefined || length !== '0'
}

/** Aborts a request: closes its connection, or over HTTP/2 its stream. */
export function abortRequest(raw: IncomingMessage): void {
  if (isHttp2(raw)) (raw as unknown as Http2ServerRequest).stream.close(constants.NGHTTP2_CANCEL)
  else raw.destroy()
}

/** Resets the connection of a client that does not read. After a graceful end the kernel would hold a megabyte or more for as long as the client does not read. */
export function resetConnection(socket: Socket): void {
  // TLS has no reset; the connection below it has.
  const { _parent: below } = socket
  try {
    ;(below ?? socket).resetAndDestroy()
  } catch {
    // Node.js throws for a Unix socket, and for TLS connections that the gateway opened.
    socket.destroy()
  }
}

/** Makes the routes of an encapsulated plugin accept an invalid Content-Type, which Fastify refuses with 415 before it looks for a parser. */
export function acceptAnyContentTypes(app: FastifyInstance): void {
  app.addHook('preParsing', function replaceInvalidType(request, _reply, payload, done) {
    acceptAnyContentType(request)
    done(null, payload)
  })
}

/** Replaces an invalid Content-Type for Fastify; the raw header, which is forwarded, stays unchanged. */
export function acceptAnyContentType(request: FastifyRequest): void {
  const type = request.raw.headers['content-type']
  if (type !== undefined && !MEDIA_TYPE.test(type)) request.headers = { 'content-type': OCTET_STREAM }
}

const MEDIA_TYPE = /^[ \t]*[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+[ \t]*(;|$)/

// The media type of unknown content (RFC 2046 section 4.5.1).
const OCTET_STREAM = 'application/octet-stream'
