import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** The connection of a request that asks to switch protocols, which Node's parser has left. */
export interface Upgrade {
  readonly socket: Duplex
  /** What came behind the request already. */
  readonly head: Buffer
  /** Ends it in its own protocol's way, with a WebSocket's close code, once a target has taken it over. */
  leave?: (code: number) => void
}

const UPGRADE = Symbol('upgrade')

interface Upgrading extends IncomingMessage {
  [UPGRADE]?: Upgrade
}

/** Notes the connection of a request that asks to switch protocols. */
export function noteUpgrade(request: IncomingMessage, upgrade: Upgrade): void {
  ;(request as Upgrading)[UPGRADE] = upgrade
}

/** Finds the connection of a request that asks to switch protocols; undefined for all others. */
export const upgradeOf = (request: IncomingMessage): Upgrade | undefined => (request as Upgrading)[UPGRADE]

/** Tells whether a request asks for a WebSocket (RFC 6455 section 4.1). */
export const wantsWebSocket = ({ method, headers, httpVersionMinor }: IncomingMessage): boolean =>
  method === 'GET' &&
  httpVersionMinor === 1 &&
  headers.upgrade?.toLowerCase() === 'websocket' &&
  // A body would be taken for what the other protocol says.
  headers['transfer-encoding'] === undefined &&
  (headers['content-length'] === undefined || headers['content-length'] === '0')
