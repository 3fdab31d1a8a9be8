import { refuse } from '../close.ts'
import { isJsonObject, type Json, type JsonObject, listAt, objectAt } from '../json.ts'
import { shareLimits } from '../shared-limits.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { copiedHeaders } from './headers.ts'
import type { Location, Site } from './location.ts'
import { unknownGuards } from './location.ts'
import type { Directive } from './parse.ts'
import { locationsOf, routesOf } from './routes.ts'
import type { Scope } from './scope.ts'
import { withConstants } from './variables.ts'

/** A server, and how it is reached. */
export interface Server {
  readonly directive: Directive
  readonly scope: Scope
  readonly hosts: readonly string[]
  readonly ports: readonly string[]
  readonly isSecure: boolean
}

/** Reads where a server listens, and for which hosts. */
export function readServer(directive: Directive, scope: Scope, translation: Translation): Server {
  const listens = scope.own('listen')
  const hosts = scope.own('server_name').flatMap((each) =>
    each.args.flatMap((name) => {
      if (name === '_' || name === '' || name === 'localhost') return []
      if (HOST.test(name.replaceAll(/\uE000[^\uE001]*\uE001/g, 'x')))
        return (name.startsWith('.') ? [name.slice(1), `*${name}`] : [name]).map((host) =>
          literal(
            host.replaceAll(/\uE000[^\uE001]*\uE001|[A-Z]+/g, (part) =>
              part.startsWith('\uE000') ? part : part.toLowerCase()
            )
          )
        )
      translation.missing(each, `server_name ${name}`)
      return [UNKNOWN]
    })
  )
  return {
    directive,
    scope,
    hosts,
    ports: listens.length === 0 ? ['80'] : listens.map(({ args }) => portOf(args[0] ?? '')),
    isSecure: listens.some(({ args }) => args.includes('ssl')) || scope.value('ssl') === 'on'
  }
}

const HOST = /^\*?\.?[\w-]+(?:\.[\w-]+)*$/

/** Stands for a name without a translation. */
const UNKNOWN = ''

// A server for this machine alone is one of its own, whatever its port.
function portOf(address: string): string {
  if (/^(?:127\.|localhost|\[::1\]|unix:)/.test(address)) return address
  return /(?:^|:)(\d+)$/.exec(address)?.[1] ?? '80'
}

const PUBLIC: ReadonlySet<string> = new Set(['80', '443'])

/** Leaves out servers of other ports, since a gateway has one: what was for some networks only must not become public. */
export function onMainPort(servers: readonly Server[], translation: Translation): Server[] {
  const first = servers[0]?.ports ?? []
  const main = servers.some(({ ports }) => ports.some((port) => PUBLIC.has(port))) ? PUBLIC : new Set(first)
  return servers.filter(({ directive, ports }) => {
    const isMain = ports.some((port) => main.has(port))
    if (!isMain)
      translation.missing(
        directive,
        `server on ${ports.join(', ')}: run another gateway for it`,
        listAt(translation.config, 'routes')
      )
    return isMain
  })
}

/** Translates a server into a list of routes, or into a group for its hosts. */
export function addServer(server: Server, common: Omit<Site, 'forward' | 'named' | 'sources'>): void {
  const { scope, hosts, directive } = server
  const { translation } = common
  const names = hosts.filter((host) => host !== UNKNOWN)
  if (hosts.length > 0 && names.length === 0) {
    translation.missing(
      directive,
      'server whose names have no translation: left out',
      listAt(translation.config, 'routes')
    )
    return
  }
  const found = locationsOf(scope)
  const named = new Map(
    found.filter(({ match }) => match.kind === 'named').map((each) => [each.directive.args[0] ?? '', each])
  )
  const site: Site = {
    ...common,
    named,
    sources: new WeakMap(),
    forward: (uri, inner) => forwardOf(uri, inner, found, common)
  }
  const rest: Location = {
    directive,
    scope,
    match: {
      kind: 'prefix',
      text: '/',
      isFinal: false,
      paths: ['/*'],
      globs: [],
      isExact: true,
      captures: []
    }
  }
  const hasRoot = found.some(({ match }) => match.kind === 'prefix' && match.text === '/')
  const answers = scope.own('return').length > 0
  const isServed = answers || scope.last('root') !== undefined
  const locations = answers ? [rest] : hasRoot || !isServed ? found : [...found, rest]
  const routes = routesOf(locations, site)
  if (answers && unknownGuards(scope).length > 0) for (const route of routes) refuse(translation, route)
  const shared = shareLimits(routes, (route) => zoneOf(site.sources.get(route)), translation)
  const list = listAt(translation.config, 'routes')
  if (names.length === 0) list.push(...shared)
  else
    list.push(
      translation.from(directive, {
        host: names.length === 1 ? (names[0] ?? '') : [...names],
        routes: shared
      })
    )
}

/** Returns the zones that count the requests of a location. */
function zoneOf(location: Location | undefined): (Directive & { readonly name: string }) | undefined {
  const found = location?.scope.nearest('limit_req') ?? []
  const [first] = found
  const zones = found.map(({ args }) => args.find((arg) => arg.startsWith('zone=')) ?? '').join(' ')
  return first === undefined ? undefined : { ...first, name: zones }
}

/** Makes `auth.forward` of the location that `auth_request` names. */
function forwardOf(
  uri: string,
  scope: Scope,
  locations: readonly Location[],
  { upstreams, translation }: Omit<Site, 'forward' | 'named' | 'sources'>
): JsonObject | undefined {
  const location = locations
    .filter(({ match }) =>
      match.kind === 'exact' ? match.text === uri : match.kind === 'prefix' && uri.startsWith(match.text)
    )
    .toSorted(
      (a, b) =>
        Number(b.match.kind === 'exact') - Number(a.match.kind === 'exact') ||
        b.match.text.length - a.match.text.length
    )[0]
  const [pass] = location?.scope.own('proxy_pass') ?? []
  if (location === undefined || pass === undefined || unknownGuards(location.scope).length > 0)
    return undefined
  const url = withConstants(pass.args[0] ?? '', location.scope)
  const [, scheme = '', host = '', path = ''] =
    /^(https?):\/\/([^/$]+)([^$]*)(?:\$is_args\$args)?$/.exec(url) ?? []
  if (scheme === '') return undefined
  const forward: JsonObject = {
    upstream: upstreams.of(scheme, host),
    path: literal(
      path === ''
        ? uri
        : location.match.kind === 'exact'
          ? path
          : path + uri.slice(location.match.text.length)
    )
  }
  const copied = [...copiedHeaders(scope)]
  const same = copied.filter(([name, from]) => name === from).map(([name]) => name)
  for (const [name, from] of copied)
    if (name !== from)
      for (const directive of scope.nearest('auth_request_set').slice(0, 1))
        translation.missing(
          directive,
          `auth_request_set: ${name} from ${from}; the service has to send it as ${name}`
        )
  if (same.length > 0) forward['copy'] = same
  if (scope.nearest('auth_request_set').some(({ args }) => args[1] === '$upstream_http_set_cookie'))
    forward['copyBack'] = ['set-cookie']
  const headers = headersFor(location.scope)
  if (Object.keys(headers).length > 0) forward['headers'] = headers
  return forward
}

// Sallyport sends what the service needs to know of the request in X-Forwarded-*.
function headersFor(scope: Scope): JsonObject {
  const constant = scope
    .own('proxy_set_header')
    .filter(({ args }) => args[1] !== undefined && args[1] !== '' && !args[1].includes('$'))
  return Object.fromEntries(
    constant
      .filter(({ args }) => !/^(?:host|content-length|connection)$/i.test(args[0] ?? ''))
      .map(({ args }) => [(args[0] ?? '').toLowerCase(), literal(args[1] ?? '')])
  )
}

/** Returns whether a server only sends browsers to HTTPS. */
export const isHttpsRedirect = ({ scope, isSecure }: Server): boolean => {
  if (isSecure) return false
  const root = scope.own('location').find(({ args }) => args.length === 1 && args[0] === '/')
  const returned = scope.own('return')[0] ?? (root?.block ?? []).find(({ name }) => name === 'return')
  const written = [
    ...scope.own('rewrite'),
    ...(root?.block ?? []).filter(({ name }) => name === 'rewrite')
  ][0]
  const target = returned?.args[1] ?? written?.args[1] ?? returned?.args[0] ?? ''
  const isCertbot = scope
    .own('if')
    .some(({ block = [] }) => block.some(({ args }) => args.some((arg) => arg.startsWith('https://$host'))))
  return /^https:\/\/\$(?:host|server_name|http_host)/.test(target) || isCertbot
}

/** Translates the certificates of servers. */
export function addTls(servers: readonly Server[], translation: Translation): void {
  const certificates: Json[] = []
  for (const { scope, isSecure, directive } of servers) {
    if (!isSecure) continue
    const cert = scope.value('ssl_certificate')
    const key = scope.value('ssl_certificate_key')
    if (cert === undefined || key === undefined || cert.includes('$')) {
      translation.missing(
        scope.last('ssl_certificate') ?? scope.own('listen').at(-1) ?? directive,
        cert === undefined || key === undefined ? 'ssl without a certificate' : `ssl_certificate ${cert}`
      )
      continue
    }
    const pair = { cert: literal(cert), key: literal(key) }
    if (!certificates.some((each) => isJsonObject(each) && each['cert'] === pair.cert))
      certificates.push(pair)
    const ca = scope.value('ssl_client_certificate')
    if (ca !== undefined && scope.value('ssl_verify_client') === 'on')
      objectAt(translation.config, 'tls')['clientCertificates'] = { ca: literal(ca), required: true }
  }
  // Without TLS, what was meant for encrypted connections would be served in plain text.
  if (certificates.length === 0 && servers.some(({ isSecure }) => isSecure))
    certificates.push({
      cert: translation.variable('TLS_CERTIFICATE_FILE', 'cert.pem'),
      key: translation.variable('TLS_KEY_FILE', 'key.pem')
    })
  if (certificates.length > 0) objectAt(translation.config, 'tls')['certificates'] = certificates
}
