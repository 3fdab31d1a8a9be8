import {
  type About,
  fp,
  type Hooks,
  type OptionFault,
  perOptions,
  type RouteInfo,
  Type
} from '../src/kit/index.ts'
import { identityHeadersOf } from '../src/lib/caller.ts'
import { HeaderName, headerFaults } from '../src/lib/http/header-options.ts'
import { cgiName, cleanHeader } from '../src/lib/http/headers.ts'
import { getOrCreate } from '../src/lib/memoize.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { EXPECTED, TEMPLATE } from '../src/lib/units.ts'
import { type Template, template, templateFaults } from '../src/lib/values.ts'

export const key = 'headers'

const map = (description: string) =>
  Type.Record(
    HeaderName,
    Type.Unsafe<string | false>({
      anyOf: [{ type: 'string' }, { const: false }],
      [TEMPLATE]: true,
      [EXPECTED]: 'a text (with values such as "{client.ip}"), or false to remove it'
    }),
    {
      additionalProperties: false,
      default: {},
      description
    }
  )

export const options = Type.Object(
  {
    request: map('Headers of the request as the upstream gets it: a text sets one, false removes it.'),
    response: map('Headers of the answer as the client gets it: a text sets one, false removes it.')
  },
  { additionalProperties: false, description: 'Sets and removes headers on the way in and out.' }
)

export const override = overrideOf(options)
export type HeadersOptions = Static<typeof options>

/** A header to set on the way to the upstream, or to remove where there is no template. */
export interface HeaderChange {
  readonly name: string
  readonly value: Template | undefined
}

export const faults = (said: HeadersOptions, about: About): OptionFault[] =>
  (['request', 'response'] as const).flatMap((way) =>
    Object.entries(said[way]).flatMap(([name, value]) => {
      const path = [way, name]
      const found = [...headerFaults(name, value, path), ...templateFaults(value, path)]
      if (way === 'request' && value !== false && isReserved(name, said, about))
        found.push({
          path,
          message: `"${name}" is a header by which "auth" tells upstreams who calls; a text here would pass for it, so take another name`
        })
      return found
    })
  )

// The headers that "auth" writes on some route, by the list of routes.
const reserved = new WeakMap<object, ReadonlySet<string>>()

/** Tells whether "auth" writes a header: anywhere, or for Authorization and Cookie on a route with these options. */
function isReserved(name: string, said: HeadersOptions, { routes, word }: About): boolean {
  const plain = cgiName(name.toLowerCase())
  const everywhere = getOrCreate(reserved, routes, () => {
    const all = [word('auth'), ...new Set(routes.map(({ auth }) => auth))]
    return new Set(all.flatMap((auth) => identityHeadersOf(auth).everywhere))
  })
  if (everywhere.has(plain)) return true
  return (
    (plain === 'authorization' || plain === 'cookie') &&
    routes.some(({ auth, headers }) => headers === said && identityHeadersOf(auth).here.includes(plain))
  )
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the route changes in the request's headers on the way to its upstream; null for nothing. */
    headerChanges: readonly HeaderChange[] | null
  }
}

// Headers by which a cache may keep an answer (RFC 9111, RFC 9213); refusals and the gateway's own pages are never kept.
const CACHE_HEADER = /^(expires|surrogate-control|([a-z-]+-)?cache-control)$/

export default fp<HeadersOptions>(
  async function headers(app, root) {
    app.decorateRequest('headerChanges', null)
    const isOwn = (_said: HeadersOptions, { kind }: RouteInfo): boolean => kind === 'standing'
    const build = (said: HeadersOptions, route: RouteInfo): Hooks => {
      const onRequest = compileChanges(said.request)
      const onResponse = compileChanges(said.response)
      const onRefusal = onResponse.filter(({ name }) => !CACHE_HEADER.test(name))
      const own = isOwn(said, route)
      return {
        ...(onRequest.length === 0
          ? {}
          : {
              onRequest(request, _reply, done) {
                request.headerChanges = onRequest
                done()
              }
            }),
        ...(onResponse.length === 0
          ? {}
          : {
              onHead(request, _reply, head) {
                const { refusal } = request
                const refused = own || (refusal !== null && refusal.byTarget !== true)
                for (const { name, value } of refused ? onRefusal : onResponse) {
                  // A value that the request does not have is no header, not an empty one.
                  const made = cleanHeader(value?.renderWhole(request) ?? '')
                  if (made === '') head.remove(name)
                  else head.set(name, made)
                }
              }
            })
      }
    }
    perOptions(app, key, root, build, isOwn)
  },
  { name: key, fastify: '5.x' }
)

const compileChanges = (map: HeadersOptions['request']): HeaderChange[] =>
  Object.entries(map).map(([name, value]) => ({
    name: name.toLowerCase(),
    value: value === false ? undefined : template(value)
  }))
