import type { Comparison } from '../../src/kit/concern.ts'

const EXPORTS = 'what is exported of requests changes none of them'

/** How `diff` compares two resolved options: where traces are sent, and what upstreams get of them. */
export const comparison: Comparison = {
  options: {
    endpoint: { class: 'exposure', message: 'sends traces of requests elsewhere' },
    headers: EXPORTS,
    service: EXPORTS,
    sample: EXPORTS,
    errors: EXPORTS,
    restart: { class: 'exposure', message: 'passes on the trace ids of clients, or no longer' },
    propagate: { class: 'exposure', message: 'sends other headers of traces to upstreams' }
  },
  onOff: { class: 'exposure', message: 'sends traces of requests, or no longer' }
}
