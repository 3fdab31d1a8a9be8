import type { FastifyRequest } from 'fastify'
import { createError, fp, perRoute, type RouteInfo, Type, type WordsSaid } from '../src/kit/index.ts'
import { originMatcher, publicOrigin } from '../src/lib/caller.ts'
import { peerOf } from '../src/lib/http/addresses.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'

export const key = 'csrf'

export const options = Type.Object(
  {
    ...gate,
    origins: Type.Array(
      Type.String({ pattern: '^https?://[^/]+$', 'x-says': 'an origin such as "https://app.example.com"' }),
      {
        default: [],
        description:
          'Other origins whose pages may act for a user with a session; those of cors with credentials may anyway.'
      }
    )
  },
  {
    additionalProperties: false,
    description: 'Keeps pages of other sites from acting for a user with a session.'
  }
)

export const override = overrideOf(options)
export const always = (said: WordsSaid): boolean => said('auth')
export type CsrfOptions = Static<typeof options>

/** A page of another site made this request. */
export const CrossSite = createError('SP_ERR_CSRF_CROSS_SITE', 'A page of another site may not do this', 403)

export default fp<CsrfOptions>(
  async function csrf(app, root) {
    // As browsers write an origin: in lower case, and without the port of its scheme.
    const ours = URL.parse(app.publicUrl ?? '')?.origin ?? null
    perRoute(app, key, root, (said, route) => {
      if (!isCovered(route)) return undefined
      const allowed = allowedOrigins(said, route)
      return {
        onRequest(request, _reply, done) {
          const safe = request.caller !== null && !isAmbient(request, request.caller.by)
          done(safe || isSameSite(request, ours, allowed) ? undefined : new CrossSite())
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

// The strategies whose credentials a browser may send by itself, whichever page asks.
const AMBIENT = ['session', 'basic', 'clientCertificate', 'forward']

/** Tells whether a browser may have sent the credential of a caller by itself; what a service judged may be a cookie of its own, or a token that only a script can send. */
function isAmbient({ headers }: FastifyRequest, by: string): boolean {
  if (by !== 'forward') return AMBIENT.includes(by)
  return (
    headers.cookie !== undefined ||
    (headers.authorization !== undefined && !/^bearer\s/i.test(headers.authorization))
  )
}

/** Tells whether a route is covered: log-in and log-out, what the config names, and where browsers' own credentials let in beside a session. */
function isCovered(route: RouteInfo): boolean {
  const mention = route.mentionOf(key)
  if (route.kind === 'standing' || mention === 'inside') return true
  const auth = route.words['auth'] as { session?: boolean; by?: readonly string[] } | false | undefined
  // What is public on purpose has no user whom another site could act for.
  if (typeof auth !== 'object') return mention === 'root' && route.mentionOf('auth') === undefined
  if (auth.session !== true && mention === undefined) return false
  const { by } = auth
  return by === undefined || AMBIENT.some((name) => by.includes(name))
}

function allowedOrigins({ origins }: CsrfOptions, route: RouteInfo): (origin: string) => boolean {
  const cors = route.words['cors'] as { origins: readonly string[]; credentials: boolean } | false | undefined
  const all = typeof cors === 'object' && cors.credentials ? [...origins, ...cors.origins] : origins
  return originMatcher(all)
}

/** Tells whether a request can't be another site's doing: by Fetch Metadata, else by its Origin; with neither it is no browser's. */
function isSameSite(
  request: FastifyRequest,
  ours: string | null,
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
  return origin === ours || origin === publicOrigin(request) || isForwardedOrigin(request, origin)
}

/** Tells whether trusted proxies in a row name an origin as the one that was asked: some append to X-Forwarded-Host and -Proto, and no page of another site can send these. */
function isForwardedOrigin(request: FastifyRequest, origin: string): boolean {
  const { server, headers } = request
  if (server.publicUrl !== null || !server.trusts(peerOf(request))) return false
  const [scheme = '', host = ''] = origin.split('://', 2)
  return (
    isListed(headers['x-forwarded-proto'], scheme, request.protocol) &&
    isListed(headers['x-forwarded-host'], host, request.host)
  )
}

function isListed(list: string | string[] | undefined, wanted: string, otherwise: string): boolean {
  const values = list === undefined ? [otherwise] : String(list).split(',')
  return wanted !== '' && values.some((each) => each.trim().toLowerCase() === wanted)
}
