import type { ServerResponse } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FastifyError } from 'fastify'
import { type Concurrency, createError, fp, perOptions, Type } from '../src/kit/index.ts'
import { onResponseClosed } from '../src/lib/http/response-end.ts'
import { upgradeOf } from '../src/lib/http/upgrade.ts'
import { withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { DurationOrNone, durationOrNone, EXPECTED, SizeOrNone, sizeOrNone } from '../src/lib/units.ts'

export const key = 'overload'

const numberOrNone = <D extends number | false>(said: { default: D; description: string }) =>
  Type.Unsafe<number | false>({
    anyOf: [{ type: 'integer', minimum: 1 }, { const: false }],
    [EXPECTED]: 'a number from 1, or false for none',
    ...said
  })

export const options = Type.Object(
  {
    ...gate,
    eventLoopDelay: DurationOrNone({
      positive: true,
      default: '200ms',
      description: 'How late the process may be with its work; beyond it the answer is 503.'
    }),
    maxInFlight: numberOrNone({
      default: 2000,
      description: 'How many requests of the whole process may be under way; beyond it the answer is 503.'
    }),
    maxConnections: numberOrNone({
      default: false,
      description:
        'How many connections the process takes; beyond it they are closed at once. Said at the root only, since no route is known before.'
    }),
    buffers: SizeOrNone({
      default: '256mb',
      description:
        'The most bytes of bodies that the process holds in memory; said at the root only. Beyond it read-ahead waits, retries and mirrors keep nothing, and what has to hold a body is 503.'
    }),
    priority: Type.Unsafe<'critical' | 'normal' | 'background'>({
      type: 'string',
      enum: ['critical', 'normal', 'background'],
      default: 'normal',
      description:
        'Who is refused first: background at 80 % of a limit, normal at the limit, critical at twice as much.'
    })
  },
  { additionalProperties: false, description: 'Refuses what is more than the process can do.' }
)

const { maxConnections: _maxConnections, buffers: _buffers, ...onRoutes } = options.properties
export const guardsAccess = false

export function concurrency({ maxConnections, maxInFlight }: OverloadOptions): Concurrency | undefined {
  if (maxConnections !== false)
    return { option: `${key}.maxConnections`, max: maxConnections, limitsConnections: true }
  if (maxInFlight === false) return undefined
  return { option: `${key}.maxInFlight`, max: maxInFlight, limitsConnections: false }
}

export const override = overrideOf(
  Type.Object(onRoutes, {
    additionalProperties: false,
    description: 'Refuses what is more than the process can do.'
  })
)
export type OverloadOptions = Static<typeof options>

/** The process is too late with its work (RFC 9110 section 15.6.4). */
export const EventLoopLate = createError(
  'SP_ERR_OVERLOAD_EVENT_LOOP',
  'The gateway has more to do than it can; try again in a while',
  503
)
/** As many requests are under way as the process takes. */
export const InFlightExceeded = createError(
  'SP_ERR_OVERLOAD_IN_FLIGHT',
  'The gateway has as many requests under way as it takes; try again in a while',
  503
)

// How much of a limit each priority may use.
const SHARES = { background: 0.8, normal: 1, critical: 2 } as const

// Who is refused comes back after 1 to so many seconds: not all at once.
const MAX_RETRY_AFTER_SECONDS = 3

export default fp<OverloadOptions>(
  async function overload(app, root) {
    if (root.maxConnections !== false) app.maxConnections = root.maxConnections
    const bufferLimit = sizeOrNone(root.buffers)
    // A configuration that can't be built changes no limit of the one that runs.
    app.addHook('onReady', async function limitBuffers() {
      app.buffers.limit = bufferLimit
    })
    const load = app.resources.lease(app, `${key} load`, () => ({ inFlight: 0 }))
    perOptions(app, key, root, ({ eventLoopDelay, maxInFlight, priority, mode }) => {
      const share = SHARES[priority]
      const mostInFlight =
        maxInFlight === false ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(maxInFlight * share))
      const latest = (durationOrNone(eventLoopDelay) ?? Number.POSITIVE_INFINITY) * share
      const lateness =
        eventLoopDelay === false
          ? NO_DELAY
          : app.resources.lease(
              app,
              `${key} lateness`,
              () => new EventLoopDelay(),
              (each) => each.close()
            )
      const report = mode === 'report'
      return {
        onRequest(request, reply, done) {
          let refusal: FastifyError | undefined
          if (lateness.ms > latest) refusal = new EventLoopLate()
          else if (load.inFlight >= mostInFlight) refusal = new InFlightExceeded()
          // A connection that switches protocols may stay for hours and do nothing: it is no request under way.
          if ((refusal === undefined || report) && upgradeOf(request.raw) === undefined)
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
  // Whose client left while other hooks were at work has closed already.
  if (response.destroyed) return
  load.inFlight++
  onResponseClosed(response, releaseInFlight, load, 1)
}

function releaseInFlight(load: Load, requests: number): void {
  load.inFlight -= requests
}

// How often, and how exactly, the event loop is looked at, in milliseconds.
const SAMPLE_INTERVAL_MS = 500
const HISTOGRAM_RESOLUTION_MS = 20
const NS_PER_MS = 1e6

const NO_DELAY = { ms: 0 }

/** Tells how late a process is with its work: the middle one of the last three half seconds, so that one long pause, such as a reload, is no overload. */
class EventLoopDelay {
  ms = 0
  #last: readonly number[] = [0, 0, 0]
  readonly #histogram = monitorEventLoopDelay({ resolution: HISTOGRAM_RESOLUTION_MS })
  readonly #timer = setInterval(() => this.#look(), SAMPLE_INTERVAL_MS)

  constructor() {
    this.#timer.unref()
    this.#histogram.enable()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#histogram.disable()
  }

  #look(): void {
    const { count: turns, mean, stddev } = this.#histogram
    // The first turn after a reset is not measured: where turns are long, there may be none yet.
    if (turns === 0) return
    this.#histogram.reset()
    // A request falls into a long turn more often than into a short one: turns count by their length.
    const met = (mean + stddev ** 2 / mean) / NS_PER_MS - HISTOGRAM_RESOLUTION_MS
    this.#last = [...this.#last.slice(1), Math.max(0, met)]
    this.ms = this.#last.toSorted((a, b) => a - b)[1] ?? 0
  }
}
