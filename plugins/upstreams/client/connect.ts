import type { OnReadOpts, Socket } from 'node:net'
import { buildConnector, errors } from 'undici'
import { isExhausted } from '../../../src/lib/descriptors.ts'
import { SocketsExhausted, withHeaders } from '../../../src/lib/refusals.ts'

/** Where the connections of a target go, if not where its origin says. */
export interface Address {
  readonly address: string
  readonly port: number
}

/** Opens a connection, or tells why there is none. */
export type Connect = (opened: (socket: Socket) => void, failed: (error: Error) => void) => void

/** How connections are opened: what undici's connector takes, with what TLS takes. */
export type ConnectorOptions = buildConnector.BuildOptions & {
  servername?: string
  useH2c?: boolean
  onread?: OnReadOpts
}

/** Builds what opens the connections of a target: to its place, or where its URL says; `exhausted` is called with the cause when this machine has no socket left. */
export function makeConnect(
  origin: URL,
  options: ConnectorOptions,
  place: Address | undefined,
  exhausted: (cause: string) => void
): Connect {
  const connect = buildConnector(options)
  const { protocol, port, host } = origin
  const hostname = origin.hostname.startsWith('[') ? origin.hostname.slice(1, -1) : origin.hostname
  const to = {
    protocol,
    host,
    hostname: place?.address ?? hostname,
    port: place === undefined ? port : String(place.port),
    // The name that the certificate has to be for stays the origin's, wherever the connection goes.
    servername: options.servername ?? (/^[\d.]+$|:/.test(hostname) ? undefined : hostname)
  }
  return (opened, failed) =>
    connect(to as never, (...[error, socket]) => {
      if (error === null && socket !== null) opened(socket)
      else if (error !== null && isExhausted(error)) {
        exhausted((error as NodeJS.ErrnoException).code ?? error.name)
        failed(withHeaders(new SocketsExhausted(), { 'retry-after': '1' }))
      } else failed(error ?? new errors.SocketError('closed'))
    })
}
