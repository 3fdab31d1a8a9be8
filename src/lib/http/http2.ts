import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'

/** Returns whether a request came over HTTP/2. Its version proves nothing, since an HTTP/1 request line may contain any version. */
export const isHttp2 = (raw: IncomingMessage): boolean =>
  (raw as unknown as Partial<Http2ServerRequest>).stream !== undefined
