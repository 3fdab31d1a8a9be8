import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'

/** Tells whether a request came over HTTP/2; the version alone does not, since a request line of HTTP/1 can claim any. */
export const isHttp2 = (raw: IncomingMessage): boolean =>
  (raw as unknown as Partial<Http2ServerRequest>).stream !== undefined
