import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, Http2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'

const grounds = new WeakMap<Http2Session, object>()

/** Gives a request of HTTP/2 a socket that goes on telling whose it is after its stream has ended: Node's own one throws then, and the log asks last. */
export function grounded(request: IncomingMessage): IncomingMessage {
  const { session } = (request as unknown as Http2ServerRequest).stream
  if (session === undefined) return request
  let ground = grounds.get(session)
  if (ground === undefined) {
    ground = groundOf(session)
    grounds.set(session, ground)
  }
  Object.defineProperty(request, 'socket', { value: ground })
  return request
}

function groundOf(session: Http2Session): object {
  const socket = session.socket as TLSSocket
  const { remoteAddress, remotePort, localAddress, localPort, authorized } = socket
  const certificate = socket.getPeerCertificate()
  return {
    remoteAddress,
    remotePort,
    localAddress,
    localPort,
    authorized,
    encrypted: true,
    getPeerCertificate: () => certificate,
    get destroyed() {
      return session.destroyed
    }
  }
}
