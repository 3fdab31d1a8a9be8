import type { OnReadOpts } from 'node:net'
import { buildConnector } from 'undici'

/** Where the connections of a target go, if not where its origin says. */
export interface Place {
  readonly address: string
  readonly port: number
}

export type Connector = buildConnector.connector

/** How connections are opened: what undici's connector takes, with what TLS takes. */
export type ConnectorOptions = buildConnector.BuildOptions & {
  servername?: string
  useH2c?: boolean
  onread?: OnReadOpts
}

/** Builds what opens the connections of a target, to its place. */
export function makeConnector(options: ConnectorOptions, place: Place | undefined): Connector {
  const connect = buildConnector(options)
  return (to, callback) => {
    const where = place === undefined ? to : { ...to, hostname: place.address, port: String(place.port) }
    const named = { ...where, servername: to.servername ?? nameOf(options, to.hostname) }
    return connect(named as never, callback)
  }
}

// The name that the certificate has to be for stays the origin's, wherever the connection goes.
const nameOf = ({ servername }: ConnectorOptions, hostname: string): string | undefined =>
  servername ?? (/^[\d.]+$|:|^\[/.test(hostname) ? undefined : hostname)
