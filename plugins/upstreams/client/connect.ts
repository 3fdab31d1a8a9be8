import type { OnReadOpts, Socket } from 'node:net'
import { buildConnector, errors } from 'undici'
import { isExhausted } from '../../../src/lib/descriptors.ts'
import { SocketsExhausted, withHeaders } from '../../../src/lib/refusals.ts'

/** The address to connect to, if it is not the origin's. */
export interface Address {
  readonly address: string
  readonly port: number
}

/** Opens a connection and calls one of the two callbacks. */
export type Connect = (opened: (socket: Socket) => void, failed: (error: Error) => void) => void

/** The options of undici's connector and of `tls.connect`. */
export type ConnectorOptions = buildConnector.BuildOptions & {
  servername?: string
  useH2c?: boolean
  onread?: OnReadOpts
}

/** Returns the function that opens connections to a target; `exhausted` is called with the error code when this machine is out of sockets. */
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
    // The certificate must be valid for the origin's name, whatever the address.
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
