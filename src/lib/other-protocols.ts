import type { IncomingMessage } from 'node:http'

const others = new WeakSet<IncomingMessage>()

/** Notes a request of RTSP or ICE (Icecast), which Node's parser takes for HTTP/1.0; works only while the request is being parsed, and where its first line came in one piece. */
export function noteOtherProtocol(request: IncomingMessage): void {
  const { method, url } = request
  const bytes = request.socket.parser?.getCurrentBuffer?.()
  if (bytes?.includes(`${method} ${url} RTSP/`) === true || bytes?.includes(`${method} ${url} ICE/`) === true)
    others.add(request)
}

/** Returns whether a request was noted as one of another protocol. */
export const isOtherProtocol = (request: IncomingMessage): boolean => others.has(request)
