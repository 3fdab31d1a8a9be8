import type { FastifyRequest } from 'fastify'
import {
  createError,
  fp,
  gate,
  originMatcher,
  overrideOf,
  perRoute,
  type RouteInfo,
  type Static,
  sessionCounts,
  Type,
  type WordsSaid
} from '../src/kit/index.ts'

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
      if (!counts(route)) return undefined
      const allowed = allowedOrigins(said, route)
      return {
        onRequest(request, _reply, done) {
          const safe = request.caller !== null && !BY_ITSELF.has(request.caller.by)
          done(safe || isSafe(request, ours, allowed) ? undefined : new CrossSite())
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

// The ways whose credentials a browser brings along by itself, whoever's page asks.
const BY_ITSELF = new Set(['session', 'basic'])

// Where a cookie is the credential: routes that a session unlocks, log-in and log-out.
function counts(route: RouteInfo): boolean {
  return route.kind === 'standing' || sessionCounts(route.words)
}

function allowedOrigins({ origins }: CsrfOptions, route: RouteInfo): (origin: string) => boolean {
  const cors = route.words['cors'] as { origins: readonly string[]; credentials: boolean } | false | undefined
  const all = typeof cors === 'object' && cors.credentials ? [...origins, ...cors.origins] : origins
  return originMatcher(all)
}

/** Tells whether a request can't be another site's doing: by Fetch Metadata, else by its Origin; with neither it is no browser's. */
function isSafe(request: FastifyRequest, ours: string | null, allowed: (origin: string) => boolean): boolean {
  const { method, headers } = request
  if ((method === 'GET' || method === 'HEAD' || method === 'OPTIONS') && headers.upgrade === undefined)
    return true
  const { origin } = headers
  const site = headers['sec-fetch-site']
  if (site === 'same-origin' || site === 'none') return true
  if (origin === undefined) return site === undefined
  if (allowed(origin)) return true
  return site === undefined && origin === (ours ?? `${request.protocol}://${request.host}`)
}
