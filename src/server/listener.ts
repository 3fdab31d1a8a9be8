import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { safeResponses } from '../lib/http/response.ts'
import { Connections } from './connections.ts'
import { type Listener, makeHttpListener } from './http-listener.ts'
import { makeTlsListener } from './tls-listener.ts'

// How often Node.js checks its timeouts, in ms.
const CHECK_INTERVAL_MS = 1000

/** What a listener asks the server. */
export interface ListenerNeeds {
  readonly acceptsUpgrade: (request: IncomingMessage) => boolean
  readonly currentApp: () => FastifyInstance
}

/** Makes a server: HTTP with null, or TLS with HTTP/2 beside HTTP/1.1. */
export function makeListener(
  tls: FastifyInstance['tls'],
  { acceptsUpgrade, currentApp }: ListenerNeeds
): Listener {
  const responses = safeResponses((error, { method }) =>
    currentApp().log.error({ err: error, method }, 'response header could not be sent')
  )
  // Each route limits the time of its requests; Node's own timeout would end a slow but steady upload.
  const httpOptions = {
    ServerResponse: responses.Http1Response,
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    optimizeEmptyRequests: true,
    // An HTTP/2 server leaves it off, which delays responses over HTTP/1.1.
    noDelay: true,
    // A request for any other protocol (h2c) is handled as an ordinary request.
    shouldUpgradeCallback: acceptsUpgrade,
    insecureHTTPParser: false,
    // A request without Host is refused by the gateway, with an access-log line.
    requireHostHeader: false
  }
  const connections = new Connections(() => currentApp().socketLimits)
  const parts = { httpOptions, connections, responses, currentApp }
  return tls === null ? makeHttpListener(parts) : makeTlsListener(currentApp(), tls, parts)
}

/** Returns why a config can't replace another without a restart; undefined where it can. */
export function restartReason(before: FastifyInstance, after: FastifyInstance): string | undefined {
  const [old, next] = [before.tls, after.tls]
  if ((old === null) !== (next === null))
    return `"tls" can't be switched ${next === null ? 'off' : 'on'} without a restart`
  if (old === null || next === null) return undefined
  if (old.http2 !== next.http2) return '"tls.http2" can\'t change without a restart'
  if (old.redirectFrom !== next.redirectFrom) return '"tls.redirectFrom" can\'t change without a restart'
  return undefined
}
