import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'

/** Tells whether a request came over HTTP/2; the version alone does not, since a request line of HTTP/1 can claim any. */
export const isHttp2 = (raw: IncomingMessage): boolean =>
  (raw as unknown as Partial<Http2ServerRequest>).stream !== undefined

/** Lets the next head of a response of HTTP/2 wait for its end, so that both are one frame: a client of gRPC takes a status only from the last. */
export function endWithHead(response: ServerResponse): void {
  const held = response as unknown as Http2ServerResponse
  held.writeHead = function holdHead(status: number, headers: Record<string, string | string[]>) {
    delete (held as Partial<Http2ServerResponse>).writeHead
    held.statusCode = status
    for (const name in headers) held.setHeader(name, headers[name] as string)
    return held
  } as typeof held.writeHead
}
