import { refuse } from '../close.ts'
import { type JsonObject, objectAt } from '../json.ts'
import type { Translation } from '../translation.ts'
import { branchOf } from './branches.ts'
import { addProxy, addReturn, type ContentPlace, redirectOf } from './content.ts'
import { kindOf } from './directives.ts'
import { addFiles, filesBeside } from './files.ts'
import { type Doubt, type ForwardAuth, guardsOf, limitsOf, noteDoubts, type Zone } from './guards.ts'
import { responseHeaders } from './headers.ts'
import type { Match } from './match.ts'
import { missingFileOf } from './missing-files.ts'
import type { Directive } from './parse.ts'
import type { Scope } from './scope.ts'
import { durationOf, sizeOf } from './units.ts'
import type { Upstreams } from './upstreams.ts'

/** A location of a server, or one inside of another. */
export interface Location {
  readonly directive: Directive
  readonly scope: Scope
  readonly match: Match
}

/** What all locations of a server share. */
export interface Site {
  readonly translation: Translation
  readonly upstreams: Upstreams
  readonly zones: ReadonlyMap<string, Zone>
  readonly forward: ForwardAuth
  /** The location that each route comes from. */
  readonly sources: WeakMap<JsonObject, Location>
  /** The named locations. */
  readonly named: ReadonlyMap<string, Location>
}

/** Translates a location on a path of it, without saying there which path it is. */
export function routeOf(location: Location, path: string, site: Site): JsonObject {
  const { scope, match, directive } = location
  const { translation } = site
  const route: JsonObject = translation.from(directive, {})
  site.sources.set(route, location)
  if (scope.own('internal').length > 0) {
    translation.comment(route, `internal in nginx (${directive.file}:${directive.line})`)
    route['respond'] = { status: 404 }
    return route
  }
  // nginx answers a `return` before it looks at addresses and credentials.
  const guards =
    outermostReturn(scope) === undefined
      ? guardsOf(scope, site.forward)
      : { options: {}, doubts: [], isRefused: false }
  const fileCheck = missingFileOf(scope)?.directive
  const doubts: Doubt[] = [
    ...guards.doubts,
    ...unknownGuards(scope).filter((doubt) => doubt.directive !== fileCheck)
  ]
  if (guards.isRefused && doubts.length === 0) {
    route['respond'] = { status: 403 }
    return route
  }
  const rateLimit = outermostReturn(scope) === undefined ? limitsOf(scope, site.zones, doubts) : undefined
  const methods = methodsOf(scope, doubts)
  if (methods !== undefined) route['methods'] = [...methods]
  Object.assign(route, guards.options, rateLimit === undefined ? {} : { rateLimit })
  addLimits(route, scope)
  addHeaders(route, scope, translation)
  for (const each of scope.directives)
    if (kindOf(each.name) === 'noted') translation.missing(each, [each.name, ...each.args].join(' '), route)
  doubts.push(
    ...addTarget({ scope, match, path, route, upstreams: site.upstreams, translation }, site, directive)
  )
  if (doubts.length > 0 || guards.isRefused) {
    noteDoubts(doubts, route, translation)
    refuse(translation, route)
  }
  return route
}

/** Adds the target of a location; returns what stands in the way. */
function addTarget(place: ContentPlace, site: Site, location: Directive): Doubt[] {
  const { scope, route } = place
  const returned = outermostReturn(scope)
  const [pass] = scope.own('proxy_pass', 'grpc_pass')
  const found = (each: Doubt | undefined): Doubt[] => (each === undefined ? [] : [each])
  const rewrites = scope
    .nearest('rewrite')
    .filter(({ args }) => args[2] !== 'break')
    .map((directive) => ({ directive, text: `rewrite ${directive.args.join(' ')}` }))
  if (returned !== undefined) return found(addReturn(returned, place))
  if (rewrites.length > 0) {
    const [first] = scope.nearest('rewrite')
    const redirect = rewrites.length === 1 && first !== undefined ? redirectOf(first, place) : undefined
    if (redirect === undefined) return rewrites
    route['redirect'] = redirect
    return []
  }
  if (pass !== undefined) return found(addProxy(pass, place))
  const name = scope.last('try_files')?.args.at(-1)
  if (name?.startsWith('@') === true) {
    const named = site.named.get(name)
    const [inner] = named?.scope.own('proxy_pass', 'grpc_pass') ?? []
    const own = named?.scope.own(
      'allow',
      'deny',
      'auth_basic',
      'auth_request',
      'satisfy',
      'limit_req',
      'limit_conn'
    )
    if (
      named === undefined ||
      inner === undefined ||
      (own?.length ?? 0) > 0 ||
      unknownGuards(named.scope).length > 0
    )
      return [{ directive: location, text: `try_files … ${name}` }]
    const problem = addProxy(inner, {
      ...place,
      scope: named.scope,
      match: { ...place.match, kind: 'prefix', text: '/' }
    })
    if (problem === undefined && scope.last('try_files')?.args[0]?.startsWith('$uri') === true)
      addFilesBeside(place, location)
    return found(problem)
  }
  const missing = missingFileOf(scope)
  if (missing?.pass !== undefined) {
    const problem = addProxy(missing.pass, place)
    if (problem === undefined) addFilesBeside(place, missing.directive)
    return found(problem)
  }
  const problem = addFiles(place)
  if (problem !== undefined) return [problem]
  return route['files'] === undefined ? [{ directive: location, text: 'a location without a target' }] : []
}

/** Adds the files that come before the service of a location. */
function addFilesBeside(place: ContentPlace, directive: Directive): void {
  const files = filesBeside(place)
  if (files !== undefined) objectAt(place.route, 'proxy')['files'] = files
  else if (place.scope.value('root') !== undefined)
    place.translation.missing(directive, 'the files that come before the service', place.route)
}

// A `return` of a server answers for all of its locations, before they are looked at.
function outermostReturn(scope: Scope): Directive | undefined {
  const outer = scope.outer === undefined ? undefined : outermostReturn(scope.outer)
  return outer ?? scope.own('return')[0]
}

/** Returns the directives of a location, and of the blocks around it, that could refuse requests and have no translation. */
export function unknownGuards(scope: Scope): Doubt[] {
  const own = scope.directives
    .filter(
      (directive) =>
        kindOf(directive.name) === 'guard' ||
        (directive.name === 'if' && !isMethodCheck(directive) && branchOf(directive) === undefined)
    )
    .map((directive) => ({ directive, text: [directive.name, ...directive.args].join(' ') }))
  const verified = scope
    .own('ssl_verify_client')
    .filter(({ args }) => args[0] !== 'off' && !isVerified(args[0], scope))
  return [
    ...own,
    ...verified.map((directive) => ({ directive, text: `ssl_verify_client ${directive.args.join(' ')}` })),
    ...(scope.outer === undefined ? [] : unknownGuards(scope.outer))
  ]
}

// What is required of all connections, by a listener with a certificate.
const isVerified = (mode: string | undefined, scope: Scope): boolean =>
  mode === 'on' &&
  [
    scope.value('ssl_certificate'),
    scope.value('ssl_certificate_key'),
    scope.value('ssl_client_certificate')
  ].every((file) => file !== undefined && !file.includes('$'))

const METHOD_CHECK = /^\(\s*\$request_method\s+!~\*?\s+\^?\(([A-Z|]+)\)\$?\s*\)$/

const isMethodCheck = ({ args, block = [] }: Directive): boolean =>
  METHOD_CHECK.test(args.join(' ')) && block.length === 1 && block[0]?.name === 'return'

function methodsOf(scope: Scope, doubts: Doubt[]): readonly string[] | undefined {
  const checked = scope.nearest('if').find(isMethodCheck)
  const written = METHOD_CHECK.exec(checked?.args.join(' ') ?? '')?.[1]
  if (written !== undefined) return written.split('|')
  const [limit] = scope.nearest('limit_except')
  if (limit === undefined) return undefined
  const inner = limit.block ?? []
  if (inner.length === 1 && inner[0]?.name === 'deny' && inner[0].args[0] === 'all')
    return limit.args.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  doubts.push({ directive: limit, text: `limit_except ${limit.args.join(' ')}` })
  return undefined
}

function addLimits(route: JsonObject, scope: Scope): void {
  const body = sizeOf(scope.value('client_max_body_size') ?? '')
  if (body !== undefined && body !== '1mb') objectAt(route, 'limits')['body'] = body
  if (scope.value('gzip') === 'on' || scope.value('brotli') === 'on') route['compress'] = true
  const zone = scope.value('proxy_cache')
  // A response that nginx did not store for somebody must not be stored here for all.
  const isPrivate = scope.nearest('proxy_no_cache', 'proxy_cache_bypass', 'proxy_ignore_headers').length > 0
  if (zone === undefined || zone === 'off' || isPrivate || scope.own('proxy_pass').length === 0) return
  const valid = scope
    .nearest('proxy_cache_valid')
    .find(({ args }) => args.length === 1 || args.includes('200') || args.includes('any'))
  const ttl = durationOf(valid?.args.at(-1) ?? '')
  route['cache'] = ttl === undefined ? true : { ttl }
}

function addHeaders(route: JsonObject, scope: Scope, translation: Translation): void {
  const response = responseHeaders(scope, route, translation)
  if (Object.keys(response).length > 0) objectAt(route, 'headers')['response'] = response
  if (scope.value('underscores_in_headers') === 'on') objectAt(route, 'headers')['underscores'] = 'keep'
}
