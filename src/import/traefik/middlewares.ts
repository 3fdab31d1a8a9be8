import { type Json, type JsonObject, objectAt } from '../json.ts'
import { addHeaders } from './headers.ts'
import type { Node } from './node.ts'
import { literal, literalTemplate } from './text.ts'
import type { Visit } from './visit.ts'

type Middleware = (options: Node, visit: Visit) => void

const ignored: Middleware = () => undefined

/** What each middleware does; one that is missing here closes its route. */
const MIDDLEWARES: Readonly<Record<string, Middleware>> = {
  stripprefix(options, visit) {
    const prefix = options
      .get('prefixes')
      .texts()
      .find((each) => visit.base === each || visit.base.startsWith(`${each}/`))
    if (prefix !== undefined) visit.base = visit.base.slice(prefix.replace(/\/$/, '').length)
    else if (visit.place.rest === 'partial') doubt(options, visit, 'stripPrefix')
  },
  addprefix(options, visit) {
    visit.base = `${(options.get('prefix').text() ?? '').replace(/\/$/, '')}${visit.base}`
  },
  replacepath(options, visit) {
    const path = options.get('path').text() ?? ''
    if (visit.place.rest !== 'none') doubt(options, visit, `replacePath ${path}`)
    visit.whole = path
    visit.base = path
  },
  replacepathregex: replacePathRegex,
  headers: addHeaders,
  ratelimit(options, visit) {
    const average = Number(options.get('average').text() ?? 0)
    const period = options.get('period').text() ?? '1s'
    const by = keyOf(options.get('sourceCriterion'), visit)
    if (!(average > 0)) return
    const burst = Number(options.get('burst').text() ?? 1)
    Object.assign(objectAt(visit.route, 'rateLimit'), {
      max: average,
      window: durationOf(period) ?? '1s',
      algorithm: 'tokenBucket',
      burst: Math.max(1, burst),
      ...by
    })
  },
  inflightreq(options, visit) {
    const by = keyOf(options.get('sourceCriterion'), visit)
    // Without a criterion, Traefik counts the requests of a host.
    const own: JsonObject = options.get('sourceCriterion').exists() ? by : { by: 'route' }
    const limit = { maxInFlight: Number(options.get('amount').text() ?? 1), ...own }
    const known = visit.route['rateLimit']
    if (known === undefined) visit.route['rateLimit'] = limit
    else objectAt(objectAt(visit.route, 'rateLimit'), 'also')['inFlight'] = limit
  },
  basicauth: basicAuth,
  forwardauth: forwardAuth,
  ipallowlist: allowList,
  ipwhitelist: allowList,
  redirectscheme(options, visit) {
    const scheme = options.get('scheme').text() ?? 'https'
    const port = options.get('port').text()
    const status = options.get('permanent').isTrue() ? 301 : 302
    const rest =
      visit.place.rest === 'partial' ? '' : `${visit.place.base}${visit.place.rest === 'below' ? '/' : ''}`
    if (visit.place.rest === 'partial') doubt(options, visit, 'redirectScheme')
    visit.route['redirect'] = {
      to: `${scheme}://{host}${port === undefined || port === '443' ? '' : `:${port}`}${rest === '' ? '/' : rest}`,
      status
    }
  },
  redirectregex: redirectRegex,
  compress(_options, { route }) {
    route['compress'] = true
  },
  retry(options, { proxy }) {
    const backoff = durationOf(options.get('initialInterval').text() ?? '')
    proxy['retry'] = {
      attempts: Math.max(1, Number(options.get('attempts').text() ?? 1)),
      on: ['connect', 'reset'],
      ...(backoff === undefined ? {} : { backoff })
    }
  },
  circuitbreaker(options, visit) {
    const expression = options.get('expression').text() ?? ''
    const share = /^(?:NetworkErrorRatio\(\)|ResponseCodeRatio\(500, ?600, ?0, ?600\)) ?> ?(0?\.\d+)$/.exec(
      expression.trim()
    )?.[1]
    const openFor = durationOf(options.get('fallbackDuration').text() ?? '')
    if (share === undefined)
      visit.translation.missing(options.line, `circuitBreaker ${expression}`, visit.route)
    else
      visit.upstream['breaker'] = {
        failures: `${Math.round(Number(share) * 100)}%`,
        ...(openFor === undefined ? {} : { openFor })
      }
  },
  buffering(options, visit) {
    const most = Number(options.get('maxRequestBodyBytes').text() ?? 0)
    if (most > 0) objectAt(visit.route, 'limits')['body'] = `${most}b`
    if (options.get('retryExpression').exists())
      visit.translation.missing(options.line, 'buffering.retryExpression', visit.route)
  },
  errors: (options, visit) =>
    visit.translation.missing(options.line, 'errors, pages of a service', visit.route),
  contenttype: ignored,
  grpcweb: (options, visit) => visit.translation.missing(options.line, 'grpcWeb', visit.route),
  passtlsclientcert: (options, visit) =>
    visit.translation.missing(options.line, 'passTLSClientCert', visit.route)
}

/** Applies the middlewares of a router, those of chains included. */
export function applyMiddlewares(names: readonly Node[], http: Node, visit: Visit, depth = 0): void {
  for (const node of names) {
    const name = (node.text() ?? '').replace(/@\w+$/, '')
    const options = http.get('middlewares', name)
    const kinds = options.entries()
    if (kinds.length === 0 || depth > 8)
      doubt(node, visit, `middleware ${node.text() ?? ''}, which is not in this file or beside it`)
    for (const [kind, inner] of kinds) {
      if (visit.route['redirect'] !== undefined) return
      const middleware = Object.hasOwn(MIDDLEWARES, kind.toLowerCase())
        ? MIDDLEWARES[kind.toLowerCase()]
        : undefined
      if (kind.toLowerCase() === 'chain')
        applyMiddlewares(inner.get('middlewares').items(), http, visit, depth + 1)
      else if (middleware === undefined) doubt(inner, visit, `middleware ${name}: ${kind}`)
      else middleware(inner, visit)
    }
  }
}

/** Returns whether one of the middlewares of a router could refuse requests. */
export function hasGuards(names: readonly Node[], http: Node, depth = 0): boolean {
  return names.some((node) => {
    const kinds = http.get('middlewares', (node.text() ?? '').replace(/@\w+$/, '')).entries()
    return (
      kinds.length === 0 ||
      kinds.some(([kind, inner]) => {
        if (kind.toLowerCase() === 'chain')
          return depth > 8 || hasGuards(inner.get('middlewares').items(), http, depth + 1)
        return !HARMLESS.test(kind)
      })
    )
  })
}

const HARMLESS =
  /^(?:headers|compress|retry|circuitbreaker|buffering|errors|contenttype|grpcweb|stripprefix|addprefix|replacepath|replacepathregex|redirectscheme|redirectregex)$/i

function doubt(node: Node, visit: Visit, text: string): void {
  visit.doubts.push({ line: node.line, text })
}

/** Returns what a limit counts by. */
function keyOf(criterion: Node, visit: Visit): JsonObject {
  const header = criterion.get('requestHeaderName').text()
  if (header !== undefined) return { by: `header:${header.toLowerCase()}` }
  if (criterion.get('requestHost').isTrue()) return { by: 'route' }
  if (criterion.get('ipStrategy').exists())
    visit.translation.missing(
      criterion.line,
      'ipStrategy: name the proxies in front in trustedProxies',
      visit.route
    )
  return {}
}

function allowList(options: Node, visit: Visit): void {
  visit.route['ipAccess'] = { allow: options.get('sourceRange').texts().map(literal) }
  // Behind a proxy, its own address could be in the list.
  if (options.get('ipStrategy').exists())
    doubt(options, visit, 'ipStrategy of an address list: name the proxies in front in trustedProxies')
}

function basicAuth(options: Node, visit: Visit): void {
  const auth = objectAt(visit.route, 'auth')
  const file = options.get('usersFile').text()
  const users = options
    .get('users')
    .texts()
    .map((user): Json => {
      const at = user.indexOf(':')
      return { name: literal(user.slice(0, at)), password: literal(user.slice(at + 1)) }
    })
  if (file === undefined && users.length === 0) doubt(options, visit, 'basicAuth without users')
  if (file !== undefined && users.length > 0) doubt(options, visit, 'basicAuth with a file and a list')
  Object.assign(auth, { users: file === undefined ? { list: users } : { file: literal(file) }, basic: true })
  if (!options.get('removeHeader').isTrue()) auth['passOn'] = ['basic']
  if (auth['forward'] !== undefined) auth['by'] = ['basic+forward']
  if (options.get('headerField').exists())
    visit.translation.missing(options.line, 'basicAuth.headerField: use auth.identity', visit.route)
  const field = options.get('headerField').text()
  if (field !== undefined) auth['identity'] = { [field.toLowerCase()]: 'name' }
}

function forwardAuth(options: Node, visit: Visit): void {
  const [, origin = '', path = ''] =
    /^(https?:\/\/[^/?]+)(.*)$/.exec(options.get('address').text() ?? '') ?? []
  if (origin === '' || options.get('authResponseHeadersRegex').exists()) doubt(options, visit, 'forwardAuth')
  const auth = objectAt(visit.route, 'auth')
  if (auth['forward'] !== undefined) doubt(options, visit, 'a second forwardAuth')
  const copy = options
    .get('authResponseHeaders')
    .texts()
    .map((name) => name.toLowerCase())
  auth['forward'] = {
    upstream: literal(origin),
    path: literal(path === '' ? '/' : path),
    ...(copy.length === 0 ? {} : { copy }),
    ...(options.get('addAuthCookiesToResponse').exists() ? { copyBack: ['set-cookie'] } : {})
  }
  if (auth['basic'] === true) auth['by'] = ['basic+forward']
  if (options.get('tls').exists())
    visit.translation.missing(options.line, 'forwardAuth.tls: name the service in upstreams', visit.route)
}

// What is translated of an expression: a literal prefix, and all that follows it.
const PREFIX_AND_REST =
  /^(\^?)((?:[\w/-]|\\?\.(?![*+]))*?)(\(\.[*+]\)|\(\/\|\$\)\(\.\*\)|\/\?\(\.\*\)|\(\/\.\*\)\??)\$?$/

function replacePathRegex(options: Node, visit: Visit): void {
  const regex = options.get('regex').text() ?? ''
  const [, start, written = '', rest = ''] = PREFIX_AND_REST.exec(regex) ?? []
  const from = written.replaceAll('\\', '').replace(/\/$/, '')
  const group = rest.startsWith('(/|') ? '2' : '1'
  const [, to, inserted] = /^([^$]*)\$\{?(\d)\}?$/.exec(options.get('replacement').text() ?? '') ?? []
  // The slash stays outside of what is inserted, or is its first character.
  const hasSlash = rest.startsWith('(.') ? written.endsWith('/') : !rest.startsWith('(/.')
  if (start === undefined || to === undefined || inserted !== group || hasSlash !== to.endsWith('/')) {
    doubt(options, visit, `replacePathRegex ${regex}`)
    return
  }
  // It names whole segments, and leaves `/api` and `/apple` apart.
  const isWhole = start === '^' && !rest.startsWith('/?') && (hasSlash || rest.startsWith('(/.'))
  if (visit.place.rest === 'partial' && isWhole) return
  if (visit.base === from || visit.base.startsWith(`${from}/`))
    visit.base = to.replace(/\/$/, '') + visit.base.slice(from.length)
  else if (visit.place.rest !== 'none') doubt(options, visit, `replacePathRegex ${regex}`)
}

function redirectRegex(options: Node, visit: Visit): void {
  const regex = options.get('regex').text() ?? ''
  const replacement = options.get('replacement').text() ?? ''
  const [, host = ''] =
    /^\^?https?\??:\/\/((?:[\w-]|\\?\.(?![*+]))+)\/\(\.[*+]\)\$?$/.exec(
      regex.replace('(?:s)?', 's?').replace('https?', 'https?')
    ) ?? []
  if (redirectPaths(options, visit)) return
  const name = host.replaceAll('\\', '')
  const to = /^(https?:\/\/[^$]+\/)\$\{?1\}?$/.exec(replacement)?.[1]
  if (name === '' || to === undefined || visit.place.rest === 'partial') {
    doubt(options, visit, `redirectRegex ${regex}`)
    return
  }
  if (!visit.hosts.includes(name)) return
  const base = visit.place.base.replace(/^\//, '')
  const rest = visit.place.rest === 'below' && base !== '' ? '/' : ''
  visit.route['redirect'] = {
    to: literalTemplate(`${to}${base}${rest}`),
    status: options.get('permanent').isTrue() ? 301 : 302
  }
}

// Any host, and paths that an expression lists, such as `^https://(.*)/.well-known/(card|cal)dav`.
const PATHS_OF_ANY_HOST =
  /^\^?https?\??:\/\/(?:\(\.[*+]\)|\(\[\^\/\][*+]\))((?:\/(?:[\w~-]|\\?\.|\((?:\?:)?[\w|-]+\)|\/)+))\$?$/

/** Returns the paths of an expression that lists some for any host; undefined if it is another one. */
export function listedPaths(regex: string): string[] | undefined {
  const listed = PATHS_OF_ANY_HOST.exec(regex.replace('(?:s)?', 's?'))?.[1]?.replaceAll('\\', '')
  if (listed === undefined) return undefined
  return listed
    .split(/(\([^)]*\))/)
    .reduce<string[]>(
      (made, part) =>
        made.flatMap((each) =>
          (part.startsWith('(') ? part.replaceAll(/^\((?:\?:)?|\)$/g, '').split('|') : [part]).map(
            (text) => each + text
          )
        ),
      ['']
    )
}

/** Redirects the listed paths; returns whether the expression is such a list. */
function redirectPaths(options: Node, visit: Visit): boolean {
  const paths = listedPaths(options.get('regex').text() ?? '')
  const to = /^https?:\/\/\$\{?1\}?(\/[^$]*)$/.exec(options.get('replacement').text() ?? '')?.[1]
  if (paths === undefined || to === undefined) return false
  if (visit.place.rest === 'none' && paths.includes(visit.place.base.replace(/\/$/, '')))
    visit.route['redirect'] = {
      to: literalTemplate(to),
      status: options.get('permanent').isTrue() ? 301 : 302,
      query: false
    }
  return true
}

/** Returns a duration of Go, such as "10s", "1m30s" or a number of nanoseconds, as ours. */
export function durationOf(text: string): string | undefined {
  if (/^\d+$/.test(text)) return Number(text) > 0 ? `${text}s` : undefined
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined
  if (parts.length === 1) return text
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  return `${parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (units[unit ?? ''] ?? 0), 0)}ms`
}
