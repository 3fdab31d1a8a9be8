import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'

/** Delays the next head of an HTTP/2 response until its end, so that both are one frame (gRPC "Trailers-Only"). */
export function holdHeadersForTrailersOnly(response: ServerResponse): void {
  const held = response as unknown as Http2ServerResponse
  held.writeHead = function holdHead(status: number, headers: Record<string, string | string[]>) {
    delete (held as Partial<Http2ServerResponse>).writeHead
    held.statusCode = status
    for (const name in headers) held.setHeader(name, headers[name] as string)
    return held
  } as typeof held.writeHead
}
