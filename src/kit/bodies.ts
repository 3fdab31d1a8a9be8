import type { IncomingMessage } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import { isHttp2 } from './http2.ts'

/** Lets the routes of an encapsulated plugin answer without a look at the body, whatever it says it is. */
export function leaveBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', function leaveUnread(_request, _payload, done) {
    done(null)
  })
}

/** Ends what is left of a request: its connection, or over HTTP/2 its stream alone. */
export function hangUp(raw: IncomingMessage): void {
  if (isHttp2(raw)) (raw as unknown as Http2ServerRequest).stream.close(constants.NGHTTP2_CANCEL)
  else raw.destroy()
}
