import type { TargetComparison } from '../src/kit/concern.ts'
import {
  type About,
  type Description,
  fp,
  type OptionFault,
  type TargetRoutes,
  Type
} from '../src/kit/index.ts'
import { ignoreBodies } from '../src/lib/http/bodies.ts'
import { makeRewrite, rewriteFaults } from '../src/lib/http/rewrite.ts'
import { pathOf, queryOf } from '../src/lib/http/url-parts.ts'
import { RouteUnknown } from '../src/lib/refusals.ts'
import { isObject, type Static } from '../src/lib/schema.ts'
import { yieldIfDue } from '../src/lib/time-slicing.ts'
import { EXPECTED, TEMPLATE } from '../src/lib/units.ts'
import { template, templateFaults, type ValueKind } from '../src/lib/values.ts'

export const key = 'redirect'
export const target = true
export const stateless = true

export const options = Type.Object(
  {
    to: Type.String({
      pattern: '^(/|https?://)',
      [TEMPLATE]: true,
      [EXPECTED]: 'a path or an http(s) URL',
      description:
        'The new address: a path or a URL; on "/a/*" the path after "/a" is kept, and so is the query, unless "rest" or "query" is false.',
      examples: ['/new/']
    }),
    status: Type.Unsafe<301 | 302 | 303 | 307 | 308>({
      type: 'integer',
      enum: [301, 302, 303, 307, 308],
      default: 308,
      description:
        'The status: 308 and 301 are permanent, 307 and 302 temporary; 307 and 308 keep the method.'
    }),
    rest: Type.Boolean({
      default: true,
      description: 'Whether what "/*" matches is appended to the new address.'
    }),
    query: Type.Boolean({
      default: true,
      description: 'Whether the query of the request is kept.'
    })
  },
  {
    additionalProperties: false,
    description: 'Redirects the client to another address.',
    examples: [{ to: '/new/' }]
  }
)

export type RedirectOptions = Static<typeof options>

export const describes = ({ status }: RedirectOptions): Description => ({
  methods: ['GET'],
  responses: {
    [status]: {
      description: `Has moved ${status === 301 || status === 308 ? 'permanently' : 'temporarily'}.`,
      headers: {
        Location: { description: 'The new address.', schema: { type: 'string', format: 'uri-reference' } }
      }
    }
  }
})

export function faults({ to, rest }: RedirectOptions, about: About): OptionFault[] {
  const { origin, path, fragment } = partsOf(to)
  const { paths } = about
  const isOwn =
    isOwnOrigin(origin, about, about.optionsOf('tls') ? 'https' : 'http') || isPublicOrigin(origin, about)
  const pathOptions = about.optionsOf('paths')
  const fold = (text: string): string =>
    isObject(pathOptions) && pathOptions['ignoreCase'] === true ? text.toLowerCase() : text
  const target = isOwn
    ? paths.find(
        (from) =>
          // Without the rest of the path the new address may have a route of its own.
          (rest || !from.endsWith('/*')) &&
          fold(normalizedPath(from.replace(/\/\*$/, '/'))) ===
            fold(normalizedTarget(path, { wildcard: from.endsWith('/*') }))
      )
    : undefined
  const loop: OptionFault[] =
    target === undefined
      ? []
      : [
          {
            path: ['to'],
            message: `expected another address than the route's own, got "${to}": "${target}" would redirect to itself`
          }
        ]
  return [
    ...templateFaults(origin, ['to'], ORIGIN_VALUES),
    ...rewriteFaults(path + fragment, paths, ['to']),
    ...loop
  ]
}

/** Returns whether a redirect adds a slash to an exact path; then the route must not match the path with the slash. */
export function leavesSlash(
  { to }: RedirectOptions,
  from: string,
  about: Pick<About, 'hosts' | 'publicUrl'>
): boolean {
  const { origin, path } = partsOf(to)
  return (
    normalizedTarget(path, { wildcard: false }) === `${normalizedPath(from)}/` &&
    (isOwnOrigin(origin, about) || origin === about.publicUrl)
  )
}

/** Returns whether an origin is the route's own: none, the host of the request, or a host of the route, with the given scheme. */
function isOwnOrigin(origin: string, { hosts }: Pick<About, 'hosts'>, scheme?: string): boolean {
  if (origin === '') return true
  const [, originScheme, host = ''] = /^(https?):\/\/(.*)$/i.exec(origin) ?? []
  const name = host.toLowerCase()
  if (scheme !== undefined && originScheme?.toLowerCase() !== scheme) return false
  return name === '{host}' || hosts.includes(name)
}

/** Returns whether an origin is the one that browsers see, and the route takes requests for it. */
const isPublicOrigin = (origin: string, { hosts, publicUrl }: Pick<About, 'hosts' | 'publicUrl'>): boolean =>
  origin !== '' && origin === publicUrl && (hosts.length === 0 || hosts.includes(new URL(publicUrl).hostname))

/** Normalizes the path of a redirect's target; with a wildcard a trailing slash makes no difference. */
function normalizedTarget(to: string, { wildcard }: { wildcard: boolean }): string {
  const path = normalizedPath(to.replace(/[?#].*$/, ''))
  return wildcard && !path.endsWith('/') ? `${path}/` : path
}

/** Normalizes the path of a route or a target for comparison: parameters by their names, the rest decoded. */
function normalizedPath(path: string): string {
  const named = path.replaceAll(/\/:(\w+)(?:\([^/]*\))?(?=\/|$)/g, '/{params.$1}')
  try {
    return decodeURIComponent(named)
  } catch {
    return named
  }
}

// Other values of a request would let the client choose the host.
const ORIGIN_VALUES: readonly ValueKind[] = ['host']

/** Splits an address; a "#" in a value such as {headers.x#y} begins no fragment. */
function partsOf(to: string): { origin: string; path: string; fragment: string } {
  const [, origin = '', path = '', fragment = ''] =
    /^(https?:\/\/[^/?#]*)?((?:\{[^{}]*\}|[^#])*)(.*)$/.exec(percentEncoded(to)) ?? []
  return { origin, path: path.startsWith('/') ? path : `/${path}`, fragment }
}

const percentEncoded = (to: string): string => to.replaceAll(/[^\x21-\x7e]/gu, encodeURIComponent)

const OTHERWISE = { class: 'moved', message: 'redirects otherwise' } as const

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  options: {
    to: { class: 'moved', message: 'redirects elsewhere' },
    status: OTHERWISE,
    rest: OTHERWISE,
    query: OTHERWISE
  }
}

export default fp<TargetRoutes<RedirectOptions>>(
  async function redirect(app, { routes }) {
    ignoreBodies(app)
    for (const {
      info,
      mounts,
      options: { to, status, rest, query: keepsQuery }
    } of routes) {
      await yieldIfDue()
      const { origin, path, fragment } = partsOf(to)
      const originTemplate = template(origin, ORIGIN_VALUES)
      const rewrite = makeRewrite(path, info.paths, { rest })
      // A fragment comes after what is kept of the request (RFC 3986 section 3).
      // In a query, values may be empty and have dot segments.
      const queried = makeRewrite(`/?${fragment}`, info.paths, { rest: false })
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function sendRedirect(request, reply) {
            const requested = pathOf(request)
            const target = rewrite(requested, request)
            // The new address has no route of its own: clients would be redirected until they give up.
            if (!rest && origin === '' && target.replace(/[?#].*$/, '') === requested)
              throw new RouteUnknown()
            const ownQuery = keepsQuery ? queryOf(request.raw.url ?? '') : ''
            const query = ownQuery !== '' && target.includes('?') ? `&${ownQuery.slice(1)}` : ownQuery
            // A Location that begins with two slashes names another host.
            const location =
              origin === '' ? target.replace(/^\/{2,}/, '/') : originTemplate.render(request) + target
            return reply
              .code(status)
              .header('location', location + query + queried(requested, request).slice(2))
              .send()
          }
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)
