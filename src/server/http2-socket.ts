import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, Http2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'

const snapshots = new WeakMap<Http2Session, object>()

/** Gives an HTTP/2 request a socket whose addresses stay readable after its stream has ended: Node's own one throws then, and the access log reads them last. */
export function withSocketInfo(request: IncomingMessage): IncomingMessage {
  const { session } = (request as unknown as Http2ServerRequest).stream
  if (session === undefined) return request
  let snapshot = snapshots.get(session)
  if (snapshot === undefined) {
    snapshot = snapshotOf(session)
    snapshots.set(session, snapshot)
  }
  Object.defineProperty(request, 'socket', { value: snapshot })
  return request
}

function snapshotOf(session: Http2Session): object {
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
