import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Comparison } from '../../src/kit/concern.ts'
import { fp, type OptionFault, perRoute, Type } from '../../src/kit/index.ts'
import type { MetricFamily, RequestFigures } from '../../src/lib/contracts/metrics.ts'
import { onRequestDone } from '../../src/lib/http/response-end.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration } from '../../src/lib/units.ts'
import { Recorder } from './recorder.ts'

export const key = 'metrics'

export const options = Type.Object(
  {
    buckets: Type.Array(Duration({ description: 'The upper bound of a bucket.' }), {
      minItems: 1,
      default: ['5ms', '10ms', '25ms', '50ms', '100ms', '250ms', '500ms', '1s', '2500ms', '5s', '10s'],
      description: 'The upper bounds of the duration buckets, in ascending order.'
    })
  },
  {
    additionalProperties: false,
    description: 'Collects metrics of requests, for /metrics of the admin listener.',
    examples: [{ buckets: ['10ms', '100ms', '1s', '10s'] }]
  }
)

export const override = false
export const stateless = true
export const rootOnly = true
export type MetricsOptions = Static<typeof options>

export function faults({ buckets }: MetricsOptions): OptionFault[] {
  const bounds = buckets.map(duration)
  return bounds.flatMap((bound, i) =>
    i > 0 && bound <= (bounds[i - 1] ?? 0)
      ? [
          {
            path: ['buckets', i],
            message: `"${buckets[i]}" is not above "${buckets[i - 1]}"; expected ascending bounds`
          }
        ]
      : []
  )
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of requests; null if not configured. */
    metrics: { families(): MetricFamily[]; figures(): RequestFigures } | null
  }
}

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: { buckets: 'how requests are counted changes none of them' },
  onOff: 'whether requests are counted changes none of them'
}

export default fp<MetricsOptions>(
  async function metrics(app, { buckets }) {
    const bounds = buckets.map(duration)
    const recorder = app.resources.lease(app, `metrics ${bounds.join()}`, () => new Recorder(bounds))
    app.metrics = recorder
    app.sallyportKit.cost = (gate, ms) => recorder.cost(gate, ms)
    perRoute(app, key, {}, (_options, route) => {
      const counts = app.resources.lease(
        app,
        `metrics ${bounds.join()} ${route.name}`,
        () => recorder.add(route.name),
        () => recorder.remove(route.name)
      )
      const count = (request: FastifyRequest, reply: FastifyReply): void =>
        recorder.count(counts, request, reply, route)
      return {
        onRequest(request, reply, done) {
          onRequestDone(request, reply, count)
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)
