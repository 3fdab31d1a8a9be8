import type { FastifyRequest } from 'fastify'
import type { DispatchHandler, DispatchOptions, Sender } from '../../../src/lib/contracts/dispatch.ts'
import type { NamedTarget, RequestObserver } from '../../../src/lib/contracts/simulation.ts'

/** Returns the names and values of a request's headers in turn, with those of an upgrade. */
export const sentFields = ({ headers, upgrade }: DispatchOptions): readonly string[] =>
  upgrade === undefined ? headers : [...headers, 'connection', 'upgrade', 'upgrade', upgrade]

/** Returns a sender that tells an observer what it sends for clients; the sender itself where nothing is observed. */
export function observedSender(sender: Sender, observer: RequestObserver | null, at: NamedTarget): Sender {
  if (observer?.onUpstreamRequest === undefined) return sender
  return {
    send(options: DispatchOptions, handler: DispatchHandler): void {
      const { method, path, headersTimeout = 0, source } = options
      if (source !== null && source !== undefined)
        observer.onUpstreamRequest?.(
          { ...at, method, path, headers: sentFields(options), headersTimeout },
          source as FastifyRequest
        )
      sender.send(options, handler)
    }
  }
}
