import type { FastifyRequest } from 'fastify'
import type { EndedSpan } from './span.ts'

const NO_EVENTS: EndedSpan['events'] = []

/** Returns the verdicts of the gates as events of the server span; none unless the gateway was built with `trace`. Events have the error code alone, because a reason may name a caller. */
export function gateEvents(trace: FastifyRequest['trace'], wallOffset: number): EndedSpan['events'] {
  if (trace === null) return NO_EVENTS
  return trace.map(({ gate, phase, verdict, code, began = 0, ms }) => ({
    name: `gate ${gate}`,
    time: began + wallOffset,
    attributes: {
      'sallyport.gate': gate,
      'sallyport.phase': phase,
      'sallyport.verdict': verdict,
      'sallyport.duration_ms': ms,
      'error.type': code
    }
  }))
}
