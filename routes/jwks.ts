import type { BuiltinContext, BuiltinRoute } from '../src/kit/builtin.ts'
import { ungated } from './ungated.ts'

/** Returns the route with the keys that verify the gateway's assertions; none if no route signs any. */
export function jwksRoutes({ routes }: BuiltinContext): BuiltinRoute[] {
  if (!routes.some(({ options }) => signsAssertions(options['auth']))) return []
  return [
    {
      name: 'keys',
      path: '/-/jwks.json',
      hosts: [],
      methods: ['GET', 'HEAD'],
      options: ungated,
      async handler(request, reply) {
        const keys = await Promise.all([...request.server.signers.values()].map(({ jwk }) => jwk))
        const byId = new Map(keys.map((key) => [key.kid, key]))
        reply.type('application/jwk-set+json').header('cache-control', 'public, max-age=300')
        return JSON.stringify({ keys: [...byId.values()] })
      }
    }
  ]
}

const signsAssertions = (auth: unknown): boolean =>
  typeof auth === 'object' && auth !== null && (auth as { assertion?: unknown }).assertion !== undefined
