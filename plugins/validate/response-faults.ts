import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Invalid } from '../../src/lib/body/json-schema/schema-errors.ts'
import { LabeledCounter, type MetricFamily } from '../../src/lib/contracts/metrics.ts'

// A service may be wrong in any number of ways.
const MAX_LOGGED = 1000

/** Counts the responses that are not as their document says, and logs each distinct fault once. */
export class ResponseFaults {
  readonly #counter = new LabeledCounter('route')
  readonly #logged = new Set<string>()

  /** Counts a response, and logs what is new about it; never the values. */
  add({ method, log }: FastifyRequest, route: string, status: number, { errors }: Invalid): void {
    this.#counter.count(route)
    for (const { pointer, keyword, detail } of errors) {
      // The items of a list are wrong in the same way.
      const place = pointer.replaceAll(/\/\d+(?=\/|$)/g, '/*')
      const key = `${route}\0${method}\0${status}\0${place}\0${keyword}`
      if (this.#logged.has(key) || this.#logged.size >= MAX_LOGGED) continue
      this.#logged.add(key)
      log.warn(
        { route, method, status, pointer: place, keyword, detail },
        'response does not match its openapi document'
      )
    }
  }

  families(): MetricFamily[] {
    return [
      {
        name: 'sallyport_invalid_responses_total',
        help: 'Responses that do not match the OpenAPI document of their route.',
        type: 'counter',
        values: this.#counter.values()
      }
    ]
  }
}

/** Returns the faults that are counted in this process; they outlive a reload. */
export function leaseFaults(app: FastifyInstance): ResponseFaults {
  return app.resources.lease(app, 'validate response faults', () => new ResponseFaults())
}
