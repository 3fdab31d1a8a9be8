import { fp, onRequestDone, peerOf, perOptions } from '../../src/kit/index.ts'
import type { MetricFamily } from '../../src/lib/contracts/metrics.ts'
import { share } from '../../src/lib/units.ts'
import { makeSampler } from './ids.ts'
import { key, type TracingOptions } from './options.ts'
import { Propagator } from './propagation/index.ts'
import { RequestTrace, type Tracer } from './request-trace.ts'
import { SpanCounts } from './span-counts.ts'

export { comparison } from './compare.ts'
export { faults, given, key, options, override, rootOnly, type TracingOptions, variables } from './options.ts'

export const requestHeaders = (): string[] => ['traceparent', 'tracestate', 'baggage', 'b3']

declare module 'fastify' {
  interface FastifyInstance {
    /** The counts of spans; null if tracing is not configured. */
    tracing: { families(): MetricFamily[] } | null
  }
}

export default fp<TracingOptions>(
  async function tracing(app, options) {
    if (app.simulation !== null) return
    const { endpoint, headers, service } = options
    // A gateway without tracing does not load OpenTelemetry.
    const { SpanExport } = await import('./span-export.ts')
    const counts = app.resources.lease(app, 'span counts', () => new SpanCounts())
    const receiver = { endpoint, headers, service }
    const spans = app.resources.lease(
      app,
      `span export ${JSON.stringify(receiver)}`,
      () => new SpanExport(receiver, counts, app.log),
      (value) => value.close()
    )
    app.tracing = counts
    const tracer: Tracer = {
      propagator: new Propagator(options.propagate),
      restarts: options.restart,
      keepsErrors: options.errors,
      isSampled: makeSampler(share(options.sample)),
      export: (span) => spans.add(span)
    }
    perOptions(app, key, {}, () => ({
      onRequest(request, reply, done) {
        const trace = new RequestTrace(
          tracer,
          tracer.propagator.read(request.raw.headers),
          app.trusts(peerOf(request))
        )
        request.traceContext = trace
        if (trace.isRecording) onRequestDone(request, reply, (...closed) => trace.end(...closed))
        done()
      }
    }))
  },
  { name: key, fastify: '5.x' }
)
