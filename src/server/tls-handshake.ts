import type { SecureContext, TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { settleCallback } from '../lib/callback.ts'

/** The ALPN names of HTTP/1 (RFC 7301); the parser reads both versions. */
export const HTTP1_PROTOCOLS: readonly string[] = ['http/1.1', 'http/1.0']

/** The ALPN name of a certificate authority that checks a challenge (RFC 8737). */
export const ACME_PROTOCOL = 'acme-tls/1'

type SniCallback = (error: unknown, context?: SecureContext) => void

/** Makes the callbacks that choose the protocol and the certificate during a TLS handshake. */
export function handshakeCallbacks(
  protocols: readonly string[],
  currentTls: () => FastifyInstance['tls']
): object {
  const challenged = new WeakSet<TLSSocket>()
  return {
    // Runs before SNICallback in TLS 1.3 and after it in TLS 1.2, where only the gateway that ordered can answer at once.
    ALPNCallback(
      this: TLSSocket,
      { servername, protocols: offered }: { servername: string; protocols: string[] }
    ) {
      const tls = currentTls()
      if (tls?.usesAcme !== true || !offered.includes(ACME_PROTOCOL))
        return protocols.find((protocol) => offered.includes(protocol))
      challenged.add(this)
      const own = tls.ownAlpnContext(servername.toLowerCase())
      if (own !== undefined) this.setKeyCert(own)
      return ACME_PROTOCOL
    },
    SNICallback(this: TLSSocket, host: string, done: SniCallback) {
      const tls = currentTls()
      if (tls === null || !challenged.has(this)) done(null, tls?.contextFor(host))
      else settleCallback(tls.alpnContext(host), done)
    }
  }
}
