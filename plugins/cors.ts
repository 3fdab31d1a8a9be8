import cors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fp, type Hooks, type OptionFault, perOptions, type RouteInfo, Type } from '../src/kit/index.ts'
import { originMatcher } from '../src/lib/caller.ts'
import { captureHooks } from '../src/lib/capture-hooks.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration } from '../src/lib/units.ts'

export const key = 'cors'

export const options = Type.Object(
  {
    origins: Type.Array(
      Type.String({
        pattern: '^(\\*|null|https?://[^/]+)$',
        'x-says':
          '"*", an origin such as "https://app.example.com", or a pattern such as "https://*.example.com"'
      }),
      {
        description:
          'Which origins may read answers: "*" for all, origins, or patterns whose "*" is one label.'
      }
    ),
    credentials: Type.Boolean({
      default: false,
      description: 'Whether they may send cookies and log-ins; never together with "*".'
    }),
    methods: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Z-]+$' }), {
        description: "The methods they may use; without this word the route's own."
      })
    ),
    headers: Type.Optional(
      Type.Array(Type.String(), {
        description: 'The request headers they may send; without this word those that they ask for.'
      })
    ),
    expose: Type.Array(Type.String(), {
      default: [],
      description: 'The headers of an answer that they may read.'
    }),
    maxAge: Duration({
      default: '10m',
      description: 'How long a browser may remember the answer to a preflight.'
    })
  },
  {
    additionalProperties: false,
    description: 'Lets pages of other origins use a route (CORS), and answers their preflights.'
  }
)

export const override = overrideOf(options)
export const preflights = true
export type CorsOptions = Static<typeof options>

export function faults({ origins, credentials }: CorsOptions): OptionFault[] {
  // Any page can have the origin "null": it only takes a sandboxed frame.
  const anybody = origins.find((origin) => origin === '*' || origin === 'null')
  if (credentials && anybody !== undefined)
    return [
      {
        path: ['credentials'],
        message: `"credentials" can't go with the origin "${anybody}": any page could act for your users; name the origins`
      }
    ]
  const wrong = origins.findIndex((origin) => !/^(\*|null|https?:\/\/(\*\.)?[^*/]+)$/.test(origin))
  return wrong === -1
    ? []
    : [
        {
          path: ['origins', wrong],
          message: `"${origins[wrong]}" has a "*" that is no whole first label; "https://*.example.com" would do`
        }
      ]
}

type Hook = (request: FastifyRequest, reply: FastifyReply, next: (error?: Error) => void) => void

const DEFAULT_METHODS = ['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE']
const CORS_HEADERS = [
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'access-control-allow-private-network',
  'access-control-max-age'
]

export default fp<CorsOptions>(
  async function corsConcern(app, root) {
    const ready: Promise<void>[] = []
    app.addHook('onReady', async function readyCors() {
      await Promise.all(ready)
    })
    const build = (said: CorsOptions, route: RouteInfo): Hooks => {
      const any = said.origins.includes('*')
      const hooks = captureCorsHooks(app, vendorOptions(said, any, methodsFor(said, route)), ready)
      const answers = answersPreflights(route)
      return {
        onRequest(request, reply, done) {
          if (answers && request.method === 'OPTIONS' && isPreflight(request)) {
            hooks.onPreflight(request, reply, () => {
              // An origin that is not allowed gets an answer without permission, which is what a browser reads as no.
              reply.code(204).header('content-length', '0').send()
            })
          } else if (request.headers.origin === undefined) {
            done()
          } else hooks.onRequest(request, reply, done)
        },
        ...(any ? {} : { vary: 'Origin' }),
        // The upstream's own permissions would widen ours.
        strips: CORS_HEADERS
      }
    }
    perOptions(
      app,
      key,
      root,
      build,
      (said, route) => `${answersPreflights(route)} ${methodsFor(said, route).join()}`
    )
  },
  { name: key, fastify: '5.x' }
)

const methodsFor = ({ methods }: CorsOptions, route: RouteInfo): string[] => [
  ...(methods ?? route.methods ?? DEFAULT_METHODS)
]

// A path that refuses a method takes none: it can't permit one either.
const answersPreflights = ({ methods }: RouteInfo): boolean => methods?.length !== 0

/** The vendor's hook for preflights, and the one for all other requests. */
interface CorsHooks {
  onPreflight: Hook
  onRequest: Hook
}

function captureCorsHooks(
  app: FastifyInstance,
  options: FastifyCorsOptions,
  ready: Promise<void>[]
): CorsHooks {
  const early: Hook = (_request, _reply, next) => next(new Error('cors is not ready'))
  const pair: CorsHooks = { onPreflight: early, onRequest: early }
  const take = async (name: keyof CorsHooks, preflight: boolean): Promise<void> => {
    const [hook] = (await captureHooks(app, cors, { ...options, preflight }))['onRequest'] ?? []
    pair[name] = hook as unknown as Hook
  }
  ready.push(take('onPreflight', true), take('onRequest', false))
  return pair
}

const isPreflight = ({ headers }: FastifyRequest): boolean =>
  headers.origin !== undefined && headers['access-control-request-method'] !== undefined

function vendorOptions(said: CorsOptions, any: boolean, methods: string[]): FastifyCorsOptions {
  const allowed = originMatcher(said.origins)
  return {
    origin: any
      ? '*'
      : (origin, callback) => callback(null, origin !== undefined && allowed(origin) ? origin : false),
    credentials: said.credentials,
    methods,
    strictPreflight: false,
    maxAge: Math.floor(duration(said.maxAge) / 1000),
    exposedHeaders: said.expose.length === 0 ? (null as never) : [...said.expose],
    ...(said.headers === undefined ? {} : { allowedHeaders: [...said.headers] })
  }
}
