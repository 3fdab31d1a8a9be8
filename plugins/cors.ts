import cors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AboutComparison, Comparison, OptionChange } from '../src/kit/concern.ts'
import {
  defineWarning,
  fp,
  type Hooks,
  type OptionFault,
  perOptions,
  type RouteInfo,
  Type,
  type Warning
} from '../src/kit/index.ts'
import { originMatcher } from '../src/lib/caller.ts'
import { captureHooks } from '../src/lib/capture-hooks.ts'
import { hasMoreOrigins, isSame, notIn } from '../src/lib/compare-options.ts'
import { isLoopbackHost } from '../src/lib/http/networks.ts'
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
          'The origins that may read responses: "*" for all, origins, or patterns whose "*" is one label.',
        examples: [['https://app.example.com', 'https://*.preview.example.com']]
      }
    ),
    credentials: Type.Boolean({
      default: false,
      description: 'Whether requests may include credentials; not together with "*".'
    }),
    methods: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Z-]+$' }), {
        description: 'The allowed methods; by default those of the route.',
        examples: [['GET', 'POST']]
      })
    ),
    headers: Type.Optional(
      Type.Array(Type.String(), {
        description: 'The allowed request headers; by default those that the preflight requests.',
        examples: [['content-type', 'authorization']]
      })
    ),
    expose: Type.Array(Type.String(), {
      default: [],
      description: 'The response headers that pages may read.',
      examples: [['x-request-id']]
    }),
    maxAge: Duration({
      default: '10m',
      description: 'How long a browser may cache the response to a preflight.'
    })
  },
  {
    additionalProperties: false,
    description: 'Allows pages of other origins to use a route (CORS), and responds to their preflights.',
    examples: [{ origins: ['https://app.example.com'], credentials: true }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const preflights = true
export type CorsOptions = Static<typeof options>

export function faults({ origins, credentials }: CorsOptions): OptionFault[] {
  // Any page can send the origin "null", from a sandboxed frame.
  const wildcard = origins.find((origin) => origin === '*' || origin === 'null')
  if (credentials && wildcard !== undefined)
    return [
      {
        path: ['credentials'],
        message: `expected named origins beside "credentials", got "${wildcard}": any page could act for your users`
      }
    ]
  const invalid = origins.findIndex((origin) => !/^(\*|null|https?:\/\/(\*\.)?[^*/]+)$/.test(origin))
  return invalid === -1
    ? []
    : [
        {
          path: ['origins', invalid],
          message: `expected "*" as the whole first label, as in "https://*.example.com", got "${origins[invalid]}"; name each port and scheme`
        }
      ]
}

const wideCredentials = defineWarning(
  'SP_WARN_CORS_CREDENTIALS',
  'high',
  'Pages that others can make act with the credentials of your users'
)

// Below these, everybody can have a name.
const SHARED_HOSTS =
  /^(?:[^.]+|(?:co|com|org|net|gov|ac|edu)\.[a-z]{2}|s3\.(?:[a-z0-9-]+\.)?amazonaws\.com|[a-z0-9-]+\.elb\.amazonaws\.com|(?:[a-z]+\.)?(?:run|hosted)\.app|appspot\.com|azurestaticapps\.net|blob\.core\.windows\.net|trafficmanager\.net|cloudapp\.(?:net|azure\.com)|up\.railway\.app|trycloudflare\.com|r2\.dev|surge\.sh|glitch\.me|replit\.app|repl\.co|lovable\.app|ngrok\.app|ngrok-free\.dev|loca\.lt|deno\.dev|github\.io|gitlab\.io|pages\.dev|workers\.dev|vercel\.app|netlify\.app|herokuapp\.com|web\.app|firebaseapp\.com|onrender\.com|fly\.dev|azurewebsites\.net|cloudfront\.net|amazonaws\.com|blogspot\.com|ngrok\.io|ngrok-free\.app)$/

/** Warns of origins with credentials that others than the owner can have: names below a shared host, and plain http. */
export function warnings({ origins, credentials }: CorsOptions): Warning[] {
  if (!credentials) return []
  return origins.flatMap((origin, i) => {
    const [, scheme, wildcard, host = ''] = /^(https?):\/\/(\*\.)?([^/:]*)/.exec(origin) ?? []
    const why =
      wildcard !== undefined && SHARED_HOSTS.test(host)
        ? 'everybody can have a name below it'
        : scheme === 'http' && !isLoopbackHost(host) && !host.endsWith('localhost')
          ? 'without TLS everybody on the way can be this origin'
          : undefined
    return why === undefined
      ? []
      : [
          wideCredentials(
            `lets pages of ${origin} act with the credentials of your users, and ${why}; name the origins, with https`,
            ['origins', i]
          )
        ]
  })
}

/** How `diff` compares two resolved options: what pages with the credentials of a user may do, and what others may read. */
export const comparison: Comparison = {
  changes(before: CorsOptions | undefined, after: CorsOptions | undefined, about) {
    const withCredentials = (options: CorsOptions | undefined): readonly string[] =>
      options?.credentials === true ? options.origins : []
    const [old, next] = [before?.origins ?? [], after?.origins ?? []]
    const found: OptionChange[] = []
    const origins = ['origins']
    if (hasMoreOrigins(withCredentials(after), withCredentials(before)))
      found.push({
        class: 'widened-access',
        path: origins,
        message: 'lets pages of more origins act for a user'
      })
    else if (hasMoreOrigins(next, old))
      found.push({ class: 'exposure', path: origins, message: 'lets pages of more origins read responses' })
    if (hasMoreOrigins(old, next) || hasMoreOrigins(withCredentials(before), withCredentials(after)))
      found.push({ class: 'narrowed-access', path: origins, message: 'allows pages of fewer origins' })
    if (before !== undefined && after !== undefined)
      found.push(...allowedChanges(before, after, about), ...exposedChanges(before, after))
    return found
  },
  options: { maxAge: { class: 'timing', message: 'lets browsers keep preflights for another time' } }
}

/** Compares the methods and headers of requests that pages may send: for a user where both have credentials. */
function allowedChanges(before: CorsOptions, after: CorsOptions, about: AboutComparison): OptionChange[] {
  const isForUsers = before.credentials && after.credentials
  const methodsIn = (options: CorsOptions, route: RouteInfo | undefined): readonly string[] =>
    route === undefined ? (options.methods ?? DEFAULT_METHODS) : methodsFor(options, route)
  // Undefined where all headers are allowed.
  const headersIn = ({ headers }: CorsOptions): readonly string[] | undefined =>
    headers?.map((name) => name.toLowerCase())
  const lists = [
    ['methods', methodsIn(before, about.before), methodsIn(after, about.after)],
    ['headers', headersIn(before), headersIn(after)]
  ] as const
  return lists.flatMap(([name, old, next]): OptionChange[] => {
    const isMore = old !== undefined && (next === undefined || notIn(next, old).length > 0)
    const isLess = next !== undefined && (old === undefined || notIn(old, next).length > 0)
    const at = { path: [name], message: `lets pages of other origins send other ${name}` }
    if (!isForUsers) return isMore || isLess ? [{ class: 'exposure', ...at }] : []
    return [
      ...(isMore
        ? [{ ...at, class: 'widened-access' as const, message: `lets pages send more ${name} for a user` }]
        : []),
      ...(isLess
        ? [{ ...at, class: 'narrowed-access' as const, message: `lets pages send fewer ${name} for a user` }]
        : [])
    ]
  })
}

const exposedChanges = (before: CorsOptions, after: CorsOptions): OptionChange[] =>
  isSame(before.expose, after.expose)
    ? []
    : [
        {
          class: 'exposure',
          path: ['expose'],
          message: 'lets pages of other origins read other headers'
        }
      ]

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
    const build = (options: CorsOptions, route: RouteInfo): Hooks => {
      const allowsAll = options.origins.includes('*')
      const hooks = captureCorsHooks(
        app,
        vendorOptions(options, allowsAll, methodsFor(options, route)),
        ready
      )
      const respondsToPreflights = answersPreflights(route)
      return {
        onRequest(request, reply, done) {
          if (respondsToPreflights && request.method === 'OPTIONS' && isPreflight(request)) {
            hooks.onPreflight(request, reply, () => {
              // A response without permission makes the browser refuse an origin that is not allowed.
              reply.code(204).header('content-length', '0').send()
            })
          } else if (request.headers.origin === undefined) {
            done()
          } else hooks.onRequest(request, reply, done)
        },
        ...(allowsAll ? {} : { vary: 'Origin' }),
        // CORS headers of the upstream would extend the permissions of the gateway.
        strips: CORS_HEADERS
      }
    }
    perOptions(
      app,
      key,
      root,
      build,
      (options, route) => `${answersPreflights(route)} ${methodsFor(options, route).join()}`
    )
  },
  { name: key, fastify: '5.x' }
)

const methodsFor = ({ methods }: CorsOptions, route: RouteInfo): string[] => [
  ...(methods ?? route.methods ?? DEFAULT_METHODS)
]

// A 405 route has no methods, so it can't allow one.
const answersPreflights = ({ methods }: RouteInfo): boolean => methods?.length !== 0

/** The hooks of @fastify/cors, for preflights and for all other requests. */
interface CorsHooks {
  onPreflight: Hook
  onRequest: Hook
}

function captureCorsHooks(
  app: FastifyInstance,
  options: FastifyCorsOptions,
  ready: Promise<void>[]
): CorsHooks {
  const notReady: Hook = (_request, _reply, next) => next(new Error('cors is not ready'))
  const hooks: CorsHooks = { onPreflight: notReady, onRequest: notReady }
  const captureInto = async (name: keyof CorsHooks, preflight: boolean): Promise<void> => {
    const [hook] = (await captureHooks(app, cors, { ...options, preflight }))['onRequest'] ?? []
    hooks[name] = hook as unknown as Hook
  }
  ready.push(captureInto('onPreflight', true), captureInto('onRequest', false))
  return hooks
}

const isPreflight = ({ headers }: FastifyRequest): boolean =>
  headers.origin !== undefined && headers['access-control-request-method'] !== undefined

function vendorOptions(options: CorsOptions, allowsAll: boolean, methods: string[]): FastifyCorsOptions {
  const allowed = originMatcher(options.origins)
  return {
    origin: allowsAll
      ? '*'
      : (origin, callback) => callback(null, origin !== undefined && allowed(origin) ? origin : false),
    credentials: options.credentials,
    methods,
    strictPreflight: false,
    maxAge: Math.floor(duration(options.maxAge) / 1000),
    exposedHeaders: options.expose.length === 0 ? (null as never) : [...options.expose],
    ...(options.headers === undefined ? {} : { allowedHeaders: [...options.headers] })
  }
}
