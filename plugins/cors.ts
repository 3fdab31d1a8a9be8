import cors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  capture,
  Duration,
  duration,
  fp,
  type OptionFault,
  originMatcher,
  overrideOf,
  perRoute,
  type Static,
  Type
} from '../src/kit/index.ts'

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
export type CorsOptions = Static<typeof options>

export function faults({ origins, credentials }: CorsOptions): OptionFault[] {
  if (credentials && origins.includes('*'))
    return [
      {
        path: ['credentials'],
        message:
          '"credentials" can\'t go with the origin "*": any page could act for your users; name the origins'
      }
    ]
  const wrong = origins.findIndex((origin) => origin !== '*' && !/^https?:\/\/(\*\.)?[^*/]+$/.test(origin))
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

const COMMON = ['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE']
const OURS = [
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers'
]

export default fp<CorsOptions>(
  async function corsConcern(app, root) {
    perRoute(app, key, root, (said, route) => {
      const any = said.origins.includes('*')
      const allowed = originMatcher(said.origins)
      const methods = [...(said.methods ?? route.methods ?? COMMON)]
      const make = (preflight: boolean): Promise<Hook> =>
        hookOf(app, { ...vendorOptions(said, any, allowed, methods), preflight })
      const ready = Promise.all([make(true), make(false)])
      let onPreflight: Hook
      let onRequest: Hook
      app.addHook('onReady', async function readyCors() {
        ;[onPreflight, onRequest] = await ready
      })
      return {
        onRequest(request, reply, done) {
          if (request.method === 'OPTIONS' && isPreflight(request)) {
            onPreflight(request, reply, () => {
              // An origin that is not allowed gets an answer without permission, which is what a browser reads as no.
              reply.code(204).header('content-length', '0').send()
            })
          } else if (request.headers.origin === undefined) {
            if (!any) reply.header('vary', 'Origin')
            done()
          } else onRequest(request, reply, done)
        },
        onHead(_request, reply, head) {
          // The upstream's own permissions would widen ours.
          for (const name of OURS) if (!reply.hasHeader(name)) head.remove(name)
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

const isPreflight = ({ headers }: FastifyRequest): boolean =>
  headers.origin !== undefined && headers['access-control-request-method'] !== undefined

async function hookOf(app: Parameters<typeof capture>[0], options: FastifyCorsOptions): Promise<Hook> {
  const [hook] = (await capture(app, cors, options))['onRequest'] ?? []
  return hook as unknown as Hook
}

function vendorOptions(
  said: CorsOptions,
  any: boolean,
  allowed: (origin: string) => boolean,
  methods: string[]
): FastifyCorsOptions {
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
