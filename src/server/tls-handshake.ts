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
  const negotiated = new WeakSet<TLSSocket>()
  const answers = new WeakMap<TLSSocket, SecureContext>()
  return {
    // Runs before SNICallback in TLS 1.3 and after it in TLS 1.2, where it can't wait: SNICallback has read the answer.
    ALPNCallback(
      this: TLSSocket,
      { servername, protocols: offered }: { servername: string; protocols: string[] }
    ) {
      const tls = currentTls()
      negotiated.add(this)
      if (tls?.usesAcme !== true || !offered.includes(ACME_PROTOCOL))
        return protocols.find((protocol) => offered.includes(protocol))
      challenged.add(this)
      const answer = tls.ownAlpnContext(servername.toLowerCase()) ?? answers.get(this)
      if (answer !== undefined) this.setKeyCert(answer)
      return ACME_PROTOCOL
    },
    SNICallback(this: TLSSocket, host: string, done: SniCallback) {
      const tls = currentTls()
      if (tls !== null && challenged.has(this)) settleCallback(tls.alpnContext(host), done)
      else if (tls === null || negotiated.has(this) || !tls.mayBeChallenged(host))
        done(null, tls?.contextFor(host))
      else settleCallback<SecureContext | undefined>(contextOrAnswer(this, tls, host), done)
    }
  }

  /** Returns the certificate for a host while a challenge for it may be pending, and keeps the answer for ALPNCallback. */
  async function contextOrAnswer(
    socket: TLSSocket,
    tls: NonNullable<FastifyInstance['tls']>,
    host: string
  ): Promise<SecureContext | undefined> {
    const answer = await tls.alpnContext(host).catch(() => undefined)
    if (answer !== undefined) answers.set(socket, answer)
    // TLS 1.2 chooses the cipher by this certificate. Without one for the host, no client but the authority gets through.
    return tls.hasCertificateFor(host) ? tls.contextFor(host) : (answer ?? tls.contextFor(host))
  }
}
