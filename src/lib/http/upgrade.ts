import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** The connection of an upgrade request, which Node's parser has released. */
export interface Upgrade {
  readonly socket: Duplex
  /** The bytes that have arrived after the request. */
  readonly head: Buffer
  /** Closes the WebSocket with a close code; undefined until a target has taken over the connection. */
  closeTunnel?: (code: number) => void
  /** Called once the client has its 101, long before the connection closes. */
  onSwitched?: () => void
}

const UPGRADE = Symbol('upgrade')

interface Upgrading extends IncomingMessage {
  [UPGRADE]?: Upgrade
}

/** Stores the connection of an upgrade request. */
export function noteUpgrade(request: IncomingMessage, upgrade: Upgrade): void {
  ;(request as Upgrading)[UPGRADE] = upgrade
}

/** Returns the connection of an upgrade request; undefined for other requests. */
export const upgradeOf = (request: IncomingMessage): Upgrade | undefined => (request as Upgrading)[UPGRADE]

/** Returns whether a request asks for a WebSocket (RFC 6455 section 4.1). */
export const wantsWebSocket = ({ method, headers, httpVersionMinor }: IncomingMessage): boolean =>
  method === 'GET' &&
  httpVersionMinor === 1 &&
  headers.upgrade?.toLowerCase() === 'websocket' &&
  // A body would be read as bytes of the WebSocket.
  headers['transfer-encoding'] === undefined &&
  (headers['content-length'] === undefined || headers['content-length'] === '0')
