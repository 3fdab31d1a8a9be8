import type { FastifyRequest } from 'fastify'
import type { DispatchHandler, DispatchOptions, Sender } from '../../../src/lib/contracts/dispatch.ts'
import type { RequestObserver } from '../../../src/lib/contracts/simulation.ts'

/** Whose requests are observed: an upstream by its name or URL, and one of its targets. */
export interface ObservedTarget {
  readonly upstream: string
  readonly target: string
}

/** Returns a sender that tells an observer what it sends for clients; the sender itself where nothing is observed. */
export function observedSender(sender: Sender, observer: RequestObserver | null, at: ObservedTarget): Sender {
  if (observer?.onUpstreamRequest === undefined) return sender
  return {
    send(options: DispatchOptions, handler: DispatchHandler): void {
      const { method, path, headers, headersTimeout = 0, source } = options
      if (source !== null && source !== undefined)
        observer.onUpstreamRequest?.(
          { ...at, method, path, headers, headersTimeout },
          source as FastifyRequest
        )
      sender.send(options, handler)
    }
  }
}
