import type { FastifyRequest } from 'fastify'
import type { Comparison } from '../src/kit/concern.ts'
import {
  type About,
  defineWarning,
  fp,
  type Head,
  type Hooks,
  type OptionFault,
  perOptions,
  type RouteInfo,
  Type,
  type Warning
} from '../src/kit/index.ts'
import { identityHeadersOf } from '../src/lib/caller.ts'
import { acceptsProviderSession } from '../src/lib/caller-tokens.ts'
import { isSame } from '../src/lib/compare-options.ts'
import { isAlwaysForwarded, isNeverForwarded } from '../src/lib/http/copied-headers.ts'
import {
  compileHeaders,
  type HeaderChange,
  HeaderChanges,
  headerChangeFaults,
  onlyRemoves,
  tokensInHeaders
} from '../src/lib/http/header-changes.ts'
import { HeaderName } from '../src/lib/http/header-options.ts'
import { cgiName, cleanHeader, isAmbiguousName } from '../src/lib/http/headers.ts'
import { HOP_BY_HOP } from '../src/lib/http/hop-by-hop.ts'
import { getOrCreate } from '../src/lib/memoize.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { WITH_TOKENS } from '../src/lib/values.ts'

export const key = 'headers'

export const requestHeaders = ({ request }: HeadersOptions): string[] =>
  Object.keys(request).map((name) => name.toLowerCase())

/** Returns whether `only` or `underscores` keeps a request header from upstreams. */
export const dropsRequestHeader = ({ only, underscores }: HeadersOptions = OFF, name: string): boolean => {
  const plain = cgiName(name)
  if (isNeverForwarded(name) || isAlwaysForwarded(name, plain)) return false
  const isListed = only === undefined || only.some((listed) => listed.toLowerCase() === name)
  return !isListed || (underscores === 'drop' && isAmbiguousName(name, plain))
}

export const options = Type.Object(
  {
    request: HeaderChanges('request', {
      description:
        'Request headers sent to the upstream: a string sets one, false removes it, an object adds a field or sets a default.',
      examples: [{ 'x-client': '{client.ip}', cookie: false, accept: { default: 'application/json' } }]
    }),
    only: Type.Optional(
      Type.Array(HeaderName, {
        uniqueItems: true,
        description:
          'The request headers of clients that are forwarded to the upstream; by default all. Those of the body, X-Forwarded-* and what "request" sets are sent anyway.',
        examples: [['accept', 'authorization']]
      })
    ),
    underscores: Type.Unsafe<'drop' | 'keep'>({
      type: 'string',
      enum: ['drop', 'keep'],
      default: 'drop',
      description:
        'Whether request headers with an underscore, which many services take for the header with a dash, are removed (drop) or forwarded (keep); a name that begins with an underscore and the metadata of gRPC calls are always forwarded.'
    }),
    response: HeaderChanges('response', {
      description:
        'Response headers sent to the client: a string sets one, false removes it, an object adds a field, sets a default, or changes responses of some statuses only.',
      examples: [
        {
          'x-served-by': 'gateway',
          server: false,
          'cache-control': { default: 'max-age=60', on: ['2xx', 304] },
          link: { add: '</docs>; rel=help' }
        }
      ]
    })
  },
  {
    additionalProperties: false,
    description: 'Sets and removes headers of requests and responses.',
    examples: [{ request: { 'x-client': '{client.ip}' }, response: { server: false } }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export type HeadersOptions = Static<typeof options>

export const faults = (options: HeadersOptions, about: About): OptionFault[] => [
  ...listFaults(options),
  ...(['request', 'response'] as const).flatMap((direction) =>
    Object.entries(options[direction]).flatMap(([name, value]) => {
      const path = [direction, name]
      const known = direction === 'request' ? WITH_TOKENS : undefined
      const found = headerChangeFaults(name, value, path, known)
      if (direction === 'request' && found.length === 0) found.push(...tokenFaults(name, options, about))
      if (direction === 'request' && !onlyRemoves(value) && isReserved(name, options, about))
        found.push({
          path,
          message: `"${name}" is an identity header that "auth" sends to upstreams and may not be set here; choose another name`
        })
      return found
    })
  )
]

// Why no route forwards these, and what would work.
const NOT_LISTABLE: Readonly<Record<string, string>> = {
  host: '"preserveHost": true of the target forwards it',
  trailer: 'it is about the framing of one message (RFC 9110 section 6.6.2)',
  expect: 'the gateway meets it itself (RFC 9110 section 10.1.1)',
  proxy: 'it is never forwarded, since CGI takes it for the variable HTTP_PROXY (CVE-2016-5385)',
  'sallyport-explain': 'it is for the gateway alone'
}

/** Returns the errors of listed headers that no route forwards. */
const listFaults = ({ only = [] }: HeadersOptions): OptionFault[] =>
  only.flatMap((name, at) => {
    const lower = name.toLowerCase()
    if (!isNeverForwarded(lower)) return []
    const instead = HOP_BY_HOP.has(lower)
      ? 'it belongs to one connection (RFC 9110 section 7.6.1), and what an upgrade or trailers need is sent anyway'
      : NOT_LISTABLE[lower]
    return [
      { path: ['only', at], message: `expected a header that can be forwarded, got "${name}"; ${instead}` }
    ]
  })

const droppedName = defineWarning(
  'SP_WARN_HEADERS_UNDERSCORES',
  'low',
  'A listed header that is removed for its underscores'
)

/** Warns of listed headers that `underscores` removes. */
export const warnings = ({ only = [], underscores }: HeadersOptions): Warning[] => {
  const isDropped = (name: string): boolean => isAmbiguousName(name, cgiName(name))
  const dropped = underscores === 'keep' ? [] : only.filter((name) => isDropped(name.toLowerCase()))
  return dropped.length === 0
    ? []
    : [
        droppedName(
          `lists ${dropped.map((name) => `"${name}"`).join(', ')} in "only", but removes such names unless they are metadata of gRPC; set "underscores": "keep", or list names with dashes`,
          ['only']
        )
      ]
}

/** Returns the error of a header with a token of the caller, on routes whose callers have none. */
function tokenFaults(name: string, options: HeadersOptions, { routes }: About): OptionFault[] {
  const value = options.request[name]
  const [token] = value === undefined ? [] : tokensInHeaders({ [name]: value })
  const isMissing = routes.some(({ auth, headers }) => headers === options && !acceptsProviderSession(auth))
  return token === undefined || !isMissing
    ? []
    : [
        {
          path: ['request', name],
          message: `expected a route that accepts sessions of "auth.oidc", got one that does not; only these have "{caller.${token}}", so set it on routes that accept them`
        }
      ]
}

const OFF: HeadersOptions = { request: {}, response: {}, underscores: 'drop' }

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (before: HeadersOptions | undefined, after: HeadersOptions | undefined) =>
    (['request', 'response', 'underscores', 'only'] as const)
      .filter((name) => !isSame((before ?? OFF)[name], (after ?? OFF)[name]))
      .map((name) => ({
        class: 'exposure',
        path: [name],
        message: name === 'response' ? 'sends other headers to clients' : 'sends other headers to upstreams'
      }))
}

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
      const requestChanges = compileHeaders(options.request, WITH_TOKENS)
      const responseChanges = compileHeaders(options.response)
      // The body of an error is escaped for its own type (CWE-79).
      const bodyKeepingChanges = responseChanges.filter(({ name }) => name !== 'content-type')
      const errorChanges = bodyKeepingChanges.filter(({ name }) => !CACHE_HEADER.test(name))
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
                const changes = refusal === null ? responseChanges : bodyKeepingChanges
                for (const change of isError ? errorChanges : changes)
                  if (change.appliesTo?.(head.status) !== false) changeHead(head, change, request)
              }
            })
      }
    }
    perOptions(app, key, root, build, isBuiltin)
  },
  { name: key, fastify: '5.x' }
)

function changeHead(head: Head, { name, action, value }: HeaderChange, request: FastifyRequest): void {
  if (action === 'default' && head.has(name)) return
  const rendered = cleanHeader(value?.renderWhole(request) ?? '')
  if (rendered !== '') {
    if (action === 'add') head.add(name, rendered)
    else head.set(name, rendered)
  }
  // A missing value removes the header instead of leaving it empty.
  else if (action !== 'add') head.remove(name)
}
