import type { BuiltinRoute } from '../src/kit/builtin.ts'
import { showCertificate } from '../src/lib/contracts/certificates.ts'
import { storeState } from '../src/lib/contracts/store.ts'
import { queryValue } from '../src/lib/http/url-parts.ts'
import { ungated } from './ungated.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the process accepts new requests; `ready` is false while it drains. */
    readiness: { ready: boolean }
  }
}

/** The liveness and readiness routes for an orchestrator. */
export const health: readonly BuiltinRoute[] = [
  {
    name: 'live',
    path: '/-/live',
    hosts: [],
    methods: ['GET', 'HEAD'],
    options: ungated,
    async handler(_request, reply) {
      reply.header('cache-control', 'no-store')
      return { status: 'live' }
    }
  },
  {
    name: 'ready',
    path: '/-/ready',
    hosts: [],
    methods: ['GET', 'HEAD'],
    options: ungated,
    async handler(request, reply) {
      const { ready } = request.server.readiness
      reply.code(ready ? 200 : 503).header('cache-control', 'no-store')
      if (!ready) reply.header('retry-after', '5')
      const status = ready ? 'ready' : 'draining'
      if (queryValue(request.raw.url ?? '', 'verbose') === undefined) return { status }
      const store = storeState(request.server.store)
      const certificates = request.server.tls?.certificates().map(showCertificate)
      return {
        status,
        store,
        upstreams: request.server.upstreamHealth(),
        ...(certificates === undefined ? {} : { certificates })
      }
    }
  }
]
