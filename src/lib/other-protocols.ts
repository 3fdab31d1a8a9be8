import type { IncomingMessage } from 'node:http'

const others = new WeakSet<IncomingMessage>()

/** Marks an RTSP or ICE (Icecast) request, which Node's parser accepts as HTTP/1.0. Call it while the request is being parsed; it needs the whole request line in one read. */
export function markOtherProtocol(request: IncomingMessage): void {
  const { method, url } = request
  const bytes = request.socket.parser?.getCurrentBuffer?.()
  if (bytes?.includes(`${method} ${url} RTSP/`) === true || bytes?.includes(`${method} ${url} ICE/`) === true)
    others.add(request)
}

/** Returns whether a request was marked as one of another protocol. */
export const isOtherProtocol = (request: IncomingMessage): boolean => others.has(request)
