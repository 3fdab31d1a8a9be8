import type { ServerResponse } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FastifyError } from 'fastify'
import type { Comparison, Concurrency } from '../src/kit/concern.ts'
import {
  createError,
  type Description,
  describeRefusal,
  fp,
  perOptions,
  RETRY_AFTER,
  Type
} from '../src/kit/index.ts'
import { limitChanges } from '../src/lib/compare-options.ts'
import { onResponseClosed } from '../src/lib/http/response-end.ts'
import { upgradeOf } from '../src/lib/http/upgrade.ts'
import { withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { DurationOrNone, durationOrNone, EXPECTED, SizeOrNone, sizeOrNone } from '../src/lib/units.ts'

export const key = 'overload'

const numberOrNone = <D extends number | false>(schema: { default: D; description: string }) =>
  Type.Unsafe<number | false>({
    anyOf: [{ type: 'integer', minimum: 1 }, { const: false }],
    [EXPECTED]: 'a number from 1, or false for none',
    ...schema
  })

export const options = Type.Object(
  {
    ...gate,
    eventLoopDelay: DurationOrNone({
      positive: true,
      default: '200ms',
      description: 'The maximum delay of the event loop; beyond it the response is 503.'
    }),
    maxInFlight: numberOrNone({
      default: 2000,
      description: 'The maximum number of requests in flight in the process; beyond it the response is 503.'
    }),
    maxConnections: numberOrNone({
      default: false,
      description:
        'The maximum number of connections of the process; further ones are closed at once. At the root only, since the route is not known before.'
    }),
    buffers: SizeOrNone({
      default: '256mb',
      description:
        'The maximum bytes of bodies buffered in the process; at the root only. Beyond it read-ahead waits, retries and mirrors buffer nothing, and requests that need a buffer get 503.'
    }),
    priority: Type.Unsafe<'critical' | 'normal' | 'background'>({
      type: 'string',
      enum: ['critical', 'normal', 'background'],
      default: 'normal',
      description:
        'Which requests are refused first: background at 80 % of a limit, normal at the limit, critical at twice the limit.'
    })
  },
  {
    additionalProperties: false,
    description: 'Sheds load that exceeds the capacity of the process.',
    examples: [{ maxInFlight: 1000 }]
  }
)

const { maxConnections: _maxConnections, buffers: _buffers, ...onRoutes } = options.properties
export const guardsAccess = false
export const stateless = true

export function concurrency({ maxConnections, maxInFlight }: OverloadOptions): Concurrency | undefined {
  if (maxConnections !== false)
    return { option: `${key}.maxConnections`, max: maxConnections, limitsConnections: true }
  if (maxInFlight === false) return undefined
  return { option: `${key}.maxInFlight`, max: maxInFlight, limitsConnections: false }
}

export const override = overrideOf(
  Type.Object(onRoutes, {
    additionalProperties: false,
    description: 'Sheds load that exceeds the capacity of the process.',
    examples: [{ maxInFlight: 1000 }]
  })
)
export type OverloadOptions = Static<typeof options>

/** The event loop is delayed beyond the limit (RFC 9110 section 15.6.4). */
export const EventLoopLate = createError(
  'SP_ERR_OVERLOAD_EVENT_LOOP',
  'Service overloaded: event loop delay over the limit, retry later',
  503
)
/** The process has the maximum number of requests in flight. */
export const InFlightExceeded = createError(
  'SP_ERR_OVERLOAD_IN_FLIGHT',
  'Service overloaded: too many requests in flight, retry later',
  503
)

export const describes = ({ eventLoopDelay, maxInFlight }: OverloadOptions): Description => ({
  refusals: [
    ...(eventLoopDelay === false ? [] : [describeRefusal(EventLoopLate, { headers: RETRY_AFTER })]),
    ...(maxInFlight === false ? [] : [describeRefusal(InFlightExceeded, { headers: RETRY_AFTER })])
  ]
})

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  limits: true,
  changes(before: OverloadOptions, after: OverloadOptions) {
    const numberOf = (value: number | false): number => (value === false ? Number.POSITIVE_INFINITY : value)
    const delayOf = ({ eventLoopDelay }: OverloadOptions): number =>
      durationOrNone(eventLoopDelay) ?? Number.POSITIVE_INFINITY
    return [
      limitChanges(['eventLoopDelay'], delayOf(before), delayOf(after)),
      limitChanges(['maxInFlight'], numberOf(before.maxInFlight), numberOf(after.maxInFlight)),
      limitChanges(['maxConnections'], numberOf(before.maxConnections), numberOf(after.maxConnections)),
      limitChanges(['buffers'], sizeOrNone(before.buffers), sizeOrNone(after.buffers)),
      limitChanges(['priority'], SHARES[before.priority], SHARES[after.priority])
    ].flat()
  }
}

// The share of a limit that each priority may use.
const SHARES = { background: 0.8, normal: 1, critical: 2 } as const

// Retry-After is random between 1 and this, so that clients don't return all at once.
const MAX_RETRY_AFTER_SECONDS = 3

export default fp<OverloadOptions>(
  async function overload(app, root) {
    if (root.maxConnections !== false) app.maxConnections = root.maxConnections
    const bufferLimit = sizeOrNone(root.buffers)
    // Set when the instance is ready, so that a config that fails to build does not change the running limit.
    app.addHook('onReady', async function limitBuffers() {
      app.buffers.limit = bufferLimit
    })
    const load = app.resources.lease(app, `${key} load`, () => ({ inFlight: 0 }))
    perOptions(app, key, root, ({ eventLoopDelay, maxInFlight, priority, mode }) => {
      const share = SHARES[priority]
      const inFlightLimit =
        maxInFlight === false ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(maxInFlight * share))
      const delayLimit = (durationOrNone(eventLoopDelay) ?? Number.POSITIVE_INFINITY) * share
      const eventLoop =
        eventLoopDelay === false
          ? NO_DELAY
          : app.resources.lease(
              app,
              `${key} event loop delay`,
              () => new EventLoopDelay(),
              (monitor) => monitor.close()
            )
      const reportsOnly = mode === 'report'
      return {
        onRequest(request, reply, done) {
          let refusal: FastifyError | undefined
          if (eventLoop.ms > delayLimit) refusal = new EventLoopLate()
          else if (load.inFlight >= inFlightLimit) refusal = new InFlightExceeded()
          // An upgraded connection may stay open and idle for hours, so it does not count as in flight.
          if ((refusal === undefined || reportsOnly) && upgradeOf(request.raw) === undefined)
            countInFlight(load, reply.raw)
          done(refusal && withRetryAfter(refusal))
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

const withRetryAfter = (refusal: FastifyError): FastifyError =>
  withHeaders(refusal, { 'retry-after': String(1 + Math.floor(Math.random() * MAX_RETRY_AFTER_SECONDS)) })

interface Load {
  inFlight: number
}

function countInFlight(load: Load, response: ServerResponse): void {
  // The client may have left during earlier hooks; the close event has already fired then.
  if (response.destroyed) return
  load.inFlight++
  onResponseClosed(response, releaseInFlight, load, 1)
}

function releaseInFlight(load: Load, requests: number): void {
  load.inFlight -= requests
}

// The sampling interval of the event loop delay, and the resolution of its histogram.
const SAMPLE_INTERVAL_MS = 500
const HISTOGRAM_RESOLUTION_MS = 20
const NS_PER_MS = 1e6

const NO_DELAY = { ms: 0 }

/** Measures the event loop delay as the median of three samples, so that a single pause, such as a reload, is no overload. */
class EventLoopDelay {
  ms = 0
  #samples: readonly number[] = [0, 0, 0]
  readonly #histogram = monitorEventLoopDelay({ resolution: HISTOGRAM_RESOLUTION_MS })
  readonly #timer = setInterval(() => this.#sample(), SAMPLE_INTERVAL_MS)

  constructor() {
    this.#timer.unref()
    this.#histogram.enable()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#histogram.disable()
  }

  #sample(): void {
    const { count: turns, mean, stddev } = this.#histogram
    // The first turn after a reset is not recorded, so long turns may leave the histogram empty.
    if (turns === 0) return
    this.#histogram.reset()
    // Weighted by length, since a request arrives during a long turn more often than during a short one.
    const delay = (mean + stddev ** 2 / mean) / NS_PER_MS - HISTOGRAM_RESOLUTION_MS
    this.#samples = [...this.#samples.slice(1), Math.max(0, delay)]
    this.ms = this.#samples.toSorted((a, b) => a - b)[1] ?? 0
  }
}
