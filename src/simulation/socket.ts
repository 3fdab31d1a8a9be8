import { type Duplex, duplexPair } from 'node:stream'

/** The client of a simulated connection. */
export interface SimulatedPeer {
  /** Its IP address. */
  readonly address: string
  /** Whether it is connected by TLS. */
  readonly isSecure: boolean
}

/** Makes a connection in memory; returns the side of the client, and that of the server with what Node.js expects of a socket. */
export function simulatedConnection({ address, isSecure }: SimulatedPeer): {
  client: Duplex
  server: Duplex
} {
  const [client, server] = duplexPair()
  // A reset is how a server refuses a client that sends too much.
  client.on('error', () => {})
  const socket = Object.assign(server, {
    remoteAddress: address,
    remoteFamily: address.includes(':') ? 'IPv6' : 'IPv4',
    remotePort: 50_000,
    localAddress: '127.0.0.1',
    localPort: isSecure ? 443 : 80,
    ...(isSecure ? { encrypted: true, authorized: false, getPeerCertificate: () => ({}) } : {}),
    bytesWritten: 0,
    setTimeout: () => socket,
    setKeepAlive: () => socket,
    setNoDelay: () => socket,
    ref: () => socket,
    unref: () => socket,
    resetAndDestroy: () => socket.destroy(),
    destroySoon() {
      socket.end(() => socket.destroy())
    }
  })
  return { client, server: socket }
}
