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

const map = (description: string, example: Readonly<Record<string, string | false>>) =>
  Type.Record(
    HeaderName,
    Type.Unsafe<string | false>({
      anyOf: [{ type: 'string' }, { const: false }],
      [TEMPLATE]: true,
      [EXPECTED]: 'a string (with values such as "{client.ip}"), or false to remove it'
    }),
    {
      additionalProperties: false,
      default: {},
      description,
      examples: [example]
    }
  )

export const options = Type.Object(
  {
    request: map('Request headers sent to the upstream: a string sets one, false removes it.', {
      'x-client': '{client.ip}',
      cookie: false
    }),
    underscores: Type.Unsafe<'drop' | 'keep'>({
      type: 'string',
      enum: ['drop', 'keep'],
      default: 'drop',
      description:
        'Whether request headers with an underscore, which many services take for the header with a dash, are removed (drop) or forwarded (keep); the metadata of gRPC calls always is.'
    }),
    response: map('Response headers sent to the client: a string sets one, false removes it.', {
      'x-served-by': 'gateway',
      server: false
    })
  },
  {
    additionalProperties: false,
    description: 'Sets and removes headers of requests and responses.',
    examples: [{ request: { 'x-client': '{client.ip}' }, response: { server: false } }]
  }
)

export const override = overrideOf(options)
export type HeadersOptions = Static<typeof options>

/** A request header to set, or to remove if `value` is undefined. */
export interface HeaderChange {
  readonly name: string
  readonly value: Template | undefined
}

export const faults = (options: HeadersOptions, about: About): OptionFault[] =>
  (['request', 'response'] as const).flatMap((direction) =>
    Object.entries(options[direction]).flatMap(([name, value]) => {
      const path = [direction, name]
      const found = [...headerFaults(name, value, path), ...templateFaults(value, path)]
      if (direction === 'request' && value !== false && isReserved(name, options, about))
        found.push({
          path,
          message: `"${name}" is an identity header that "auth" sends to upstreams and may not be set here; choose another name`
        })
      return found
    })
  )

// The identity headers of all routes, memoized by the list of routes.
const identityHeaders = new WeakMap<object, ReadonlySet<string>>()

/** Returns whether "auth" sets a header: on any route, or Authorization and Cookie on a route with these options. */
function isReserved(name: string, options: HeadersOptions, { routes, optionsOf }: About): boolean {
  const plain = cgiName(name.toLowerCase())
  const everywhere = getOrCreate(identityHeaders, routes, () => {
    const all = [optionsOf('auth'), ...new Set(routes.map(({ auth }) => auth))]
    return new Set(all.flatMap((auth) => identityHeadersOf(auth).everywhere))
  })
  if (everywhere.has(plain)) return true
  return (
    (plain === 'authorization' || plain === 'cookie') &&
    routes.some(({ auth, headers }) => headers === options && identityHeadersOf(auth).here.includes(plain))
  )
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The request headers that the route changes for its upstream; null for none. */
    headerChanges: readonly HeaderChange[] | null
  }
}

// Headers that let a cache store a response (RFC 9111, RFC 9213); errors and the gateway's own pages are never cached.
const CACHE_HEADER = /^(expires|surrogate-control|([a-z-]+-)?cache-control)$/

export default fp<HeadersOptions>(
  async function headers(app, root) {
    app.decorateRequest('headerChanges', null)
    const isBuiltin = (_options: HeadersOptions, { kind }: RouteInfo): boolean => kind === 'builtin'
    const build = (options: HeadersOptions, route: RouteInfo): Hooks => {
      const requestChanges = compileChanges(options.request)
      const responseChanges = compileChanges(options.response)
      const errorChanges = responseChanges.filter(({ name }) => !CACHE_HEADER.test(name))
      const builtin = isBuiltin(options, route)
      return {
        ...(requestChanges.length === 0
          ? {}
          : {
              onRequest(request, _reply, done) {
                request.headerChanges = requestChanges
                done()
              }
            }),
        ...(responseChanges.length === 0
          ? {}
          : {
              onHead(request, _reply, head) {
                const { refusal } = request
                const isError = builtin || (refusal !== null && refusal.byTarget !== true)
                for (const { name, value } of isError ? errorChanges : responseChanges) {
                  // A missing value removes the header instead of leaving it empty.
                  const rendered = cleanHeader(value?.renderWhole(request) ?? '')
                  if (rendered === '') head.remove(name)
                  else head.set(name, rendered)
                }
              }
            })
      }
    }
    perOptions(app, key, root, build, isBuiltin)
  },
  { name: key, fastify: '5.x' }
)

const compileChanges = (map: HeadersOptions['request']): HeaderChange[] =>
  Object.entries(map).map(([name, value]) => ({
    name: name.toLowerCase(),
    value: value === false ? undefined : template(value)
  }))
