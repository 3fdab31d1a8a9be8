import type { BuiltinContext, BuiltinRoute } from '../src/kit/index.ts'
import { ungated } from './ungated.ts'

/** The keys by which upstreams verify who the gateway says calls; where some route signs. */
export function jwksRoutes({ routes }: BuiltinContext): BuiltinRoute[] {
  if (!routes.some(({ words }) => signs(words['auth']))) return []
  return [
    {
      name: 'keys',
      path: '/-/jwks.json',
      hosts: [],
      methods: ['GET', 'HEAD'],
      words: ungated,
      async handler(request, reply) {
        const keys = await Promise.all([...request.server.signers.values()].map(({ jwk }) => jwk))
        const known = new Map(keys.map((key) => [key.kid, key]))
        reply.type('application/jwk-set+json').header('cache-control', 'public, max-age=300')
        return JSON.stringify({ keys: [...known.values()] })
      }
    }
  ]
}

const signs = (auth: unknown): boolean =>
  typeof auth === 'object' && auth !== null && (auth as { assertion?: unknown }).assertion !== undefined
