import type { FastifyRequest } from 'fastify'
import type { Comparison, IsConfigured } from '../src/kit/concern.ts'
import {
  type AboutDescription,
  createError,
  type Description,
  describeRefusal,
  fp,
  perRoute,
  type RouteInfo,
  Type
} from '../src/kit/index.ts'
import { originMatcher, publicOrigin, strategiesIn } from '../src/lib/caller.ts'
import { hasMoreOrigins } from '../src/lib/compare-options.ts'
import { peerOf } from '../src/lib/http/addresses.ts'
import { gate, isObject, overrideOf, type Static } from '../src/lib/schema.ts'

export const key = 'csrf'

export const options = Type.Object(
  {
    ...gate,
    origins: Type.Array(
      Type.String({ pattern: '^https?://[^/]+$', 'x-says': 'an origin such as "https://app.example.com"' }),
      {
        default: [],
        description:
          'Other origins whose pages may send requests with a session; the origins of cors with credentials are always allowed.',
        examples: [['https://partner.example.com']]
      }
    )
  },
  {
    additionalProperties: false,
    description: 'Rejects requests that pages of other sites send with the session of a user.',
    examples: [{ origins: ['https://partner.example.com'] }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const always = (isConfigured: IsConfigured): boolean => isConfigured('auth')
export type CsrfOptions = Static<typeof options>

/** The request was sent by a page of another site. */
export const CrossSite = createError('SP_ERR_CSRF_CROSS_SITE', 'Forbidden: cross-site request', 403)

export function describes(_options: CsrfOptions, { optionsOf }: AboutDescription): Description {
  const auth = optionsOf('auth')
  if (!isObject(auth)) return {}
  const by = auth['by'] as readonly string[] | undefined
  const isAccepted = (name: string): boolean =>
    auth[name] !== undefined && auth[name] !== false && (by === undefined || strategiesIn(by).includes(name))
  const isChecked = AMBIENT.some(isAccepted) || hasExempt(auth)
  return { refusals: isChecked ? [describeRefusal(CrossSite, { onlyFor: 'unsafe' })] : [] }
}

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  protects: false,
  restricts: (_options: CsrfOptions, route) => isCovered(route),
  changes: (before: CsrfOptions, after: CsrfOptions, about) =>
    about.before === undefined ||
    about.after === undefined ||
    !isCovered(about.before) ||
    !isCovered(about.after)
      ? []
      : [
          ...(hasMoreOrigins(after.origins, before.origins)
            ? ([
                {
                  class: 'widened-access',
                  path: ['origins'],
                  message: 'lets pages of more origins send requests with a session'
                }
              ] as const)
            : []),
          ...(hasMoreOrigins(before.origins, after.origins)
            ? ([
                {
                  class: 'narrowed-access',
                  path: ['origins'],
                  message: 'refuses requests of pages of some origins'
                }
              ] as const)
            : [])
        ],
  admits: (_options: CsrfOptions, { method }) =>
    method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? true : undefined
}

export default fp<CsrfOptions>(
  async function csrf(app, root) {
    // Normalized as browsers send it: in lower case, without the default port.
    const ownOrigin = URL.parse(app.publicUrl ?? '')?.origin ?? null
    perRoute(app, key, root, (options, route) => {
      if (!isCovered(route)) return undefined
      const allowed = allowedOrigins(options, route)
      return {
        onRequest(request, _reply, done) {
          const safe = request.caller !== null && !isAmbient(request, request.caller.by)
          done(safe || isSameSite(request, ownOrigin, allowed) ? undefined : new CrossSite())
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

// The strategies whose credentials a browser attaches by itself, whichever page sends the request.
const AMBIENT = ['session', 'basic', 'clientCertificate', 'forward']

/** Returns whether a browser may have attached the credential by itself; for forward auth, a cookie or any Authorization but Bearer. */
function isAmbient({ headers }: FastifyRequest, by: string): boolean {
  if (by !== 'forward') return AMBIENT.includes(by)
  return (
    headers.cookie !== undefined ||
    (headers.authorization !== undefined && !/^bearer\s/i.test(headers.authorization))
  )
}

/** Returns whether a route is protected: log-in and log-out, routes that configure it, and routes with ambient credentials. */
function isCovered(route: RouteInfo): boolean {
  const mention = route.mentionOf(key)
  if (route.kind === 'builtin' || mention === 'inside') return true
  const auth = route.options['auth'] as
    | { session?: boolean; by?: readonly string[]; exempt?: readonly string[] }
    | false
    | undefined
  // A public route has no user whom another site could impersonate.
  if (typeof auth !== 'object') return mention === 'root' && route.mentionOf('auth') === undefined
  if (hasExempt(auth)) return true
  if (auth.session !== true && mention === undefined) return false
  const { by } = auth
  return by === undefined || AMBIENT.some((name) => strategiesIn(by).includes(name))
}

// An exempt address is a credential that a browser has by itself.
const hasExempt = ({ exempt = [] }: { readonly exempt?: readonly unknown[] }): boolean => exempt.length > 0

function allowedOrigins({ origins }: CsrfOptions, route: RouteInfo): (origin: string) => boolean {
  const cors = route.options['cors'] as
    | { origins: readonly string[]; credentials: boolean }
    | false
    | undefined
  const all = typeof cors === 'object' && cors.credentials ? [...origins, ...cors.origins] : origins
  return originMatcher(all)
}

/** Returns whether a request is not cross-site: by Fetch Metadata, else by Origin; a request with neither is not from a browser. */
function isSameSite(
  request: FastifyRequest,
  ownOrigin: string | null,
  allowed: (origin: string) => boolean
): boolean {
  const { method, headers } = request
  if ((method === 'GET' || method === 'HEAD' || method === 'OPTIONS') && headers.upgrade === undefined)
    return true
  const { origin } = headers
  const site = headers['sec-fetch-site']
  if (site === 'same-origin' || site === 'none') return true
  if (origin === undefined) return site === undefined
  if (allowed(origin)) return true
  if (site !== undefined) return false
  return origin === ownOrigin || origin === publicOrigin(request) || isForwardedOrigin(request, origin)
}

/**
 * Returns whether a chain of trusted proxies forwarded an origin: some append to X-Forwarded-Host and -Proto, which
 * pages of other sites can't send.
 */
function isForwardedOrigin(request: FastifyRequest, origin: string): boolean {
  const { server, headers } = request
  if (server.publicUrl !== null || !server.trusts(peerOf(request))) return false
  const [scheme = '', host = ''] = origin.split('://', 2)
  return (
    isListed(headers['x-forwarded-proto'], scheme, request.protocol) &&
    isListed(headers['x-forwarded-host'], host, request.host)
  )
}

function isListed(list: string | string[] | undefined, wanted: string, fallback: string): boolean {
  const values = list === undefined ? [fallback] : String(list).split(',')
  return wanted !== '' && values.some((each) => each.trim().toLowerCase() === wanted)
}
