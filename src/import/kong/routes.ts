import { type Json, type JsonObject, objectAt } from '../json.ts'
import type { SourceLine } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import type { Draft } from './order.ts'
import { type KongPath, readPath } from './paths.ts'
import type { Route, Service } from './source.ts'
import type { Target } from './upstreams.ts'

type Close = (line: SourceLine, text: string) => void

interface Around {
  readonly service: Service
  readonly target: Target | undefined
  readonly name: string
  readonly translation: Translation
  /** Closes the route, once all that it has is translated. */
  readonly close: Close
  readonly isOldFormat: boolean
  /** Where the route is put. */
  readonly place: Json[]
}

const KNOWN: ReadonlySet<string> = new Set([
  ...[
    'name',
    'id',
    'tags',
    'created_at',
    'updated_at',
    'service',
    'plugins',
    'paths',
    'hosts',
    'methods',
    'headers'
  ],
  ...[
    'protocols',
    'strip_path',
    'preserve_host',
    'regex_priority',
    'path_handling',
    'https_redirect_status_code',
    'snis'
  ],
  ...['request_buffering', 'response_buffering', '_comment']
])

/** Makes the route of a route of Kong, without what its plugins add. */
export function draftOf(
  source: Route,
  { service, target, name, translation, isOldFormat, place, close }: Around
): Draft {
  const { node } = source
  const route: JsonObject = translation.from(node.line, { name })
  const hosts = node.get('hosts').texts
  const plain = hosts.filter((host) => !host.endsWith('*')).map((host) => literal(host.replace(/:\d+$/, '')))
  if (plain.length > 0 && plain.length === hosts.length) route['host'] = listed(plain)
  if (plain.some((host) => host.startsWith('*')))
    translation.comment(route, 'A "*" in a host is one label here, and any number of them in Kong.')
  const written = node.get('paths').exists ? node.get('paths').texts : ['/']
  const paths = written.map((text) => readPath(text, { isOldFormat }))
  route['path'] = listed([...new Set(paths.map(pathOf))])
  const methods = node.get('methods').texts.filter((method) => method !== 'CONNECT' && method !== 'TRACE')
  if (methods.length > 0) route['methods'] = methods.map(literal)
  if (service.node.get('enabled').flag === false) route['enabled'] = false
  addConditions(source, route, { hosts, plain, close })
  addTarget(route, { source, service, target, paths, close })
  for (const key of node.keys) if (!KNOWN.has(key)) close(node.get(key).line, `route ${name}: ${key}`)
  if (node.get('snis').items.length > 0) close(node.get('snis').line, `route ${name}: snis`)
  for (const [i, { path }] of paths.entries())
    if (path === undefined)
      close(node.get('paths').items[i]?.line ?? node.line, `the path ${written[i] ?? ''}`)
  if (node.get('https_redirect_status_code').exists)
    translation.missing(
      node.get('https_redirect_status_code').line,
      `route ${name}: https_redirect_status_code`,
      route
    )
  translation.done()
  return { route, paths, hosts, methods, node, place }
}

const listed = (texts: readonly string[]): Json => (texts.length === 1 ? (texts[0] ?? '') : [...texts])

/** A path that can't be said is closed from its literal beginning on. */
const pathOf = ({ path, prefix }: KongPath): string => path ?? `${prefix.slice(0, prefix.lastIndexOf('/'))}/*`

function addConditions(
  { node }: Route,
  route: JsonObject,
  { hosts, plain, close }: { hosts: readonly string[]; plain: readonly string[]; close: Close }
): void {
  const when: JsonObject = {}
  // A pattern such as "api.*" is no host here.
  if (plain.length < hosts.length) when['header:host'] = hosts.map(literal)
  for (const header of node.get('headers').keys) {
    const values = node.get('headers').get(header)
    const isExpression = values.texts.some((text) => text.startsWith('~*'))
    when[`header:${literal(header.toLowerCase())}`] = isExpression ? true : listed(values.texts.map(literal))
    if (isExpression) close(values.line, `the header ${header} by a regular expression`)
  }
  const protocols = node.get('protocols').texts
  if (protocols.length > 0 && protocols.every((each) => /^(?:https|grpcs)$/.test(each)))
    when['scheme'] = 'https'
  if (protocols.length > 0 && protocols.every((each) => /^(?:http|grpc)$/.test(each))) when['scheme'] = 'http'
  if (protocols.some((each) => /^(?:tcp|tls|udp)/.test(each)))
    close(node.get('protocols').line, `protocols ${protocols.join(', ')}`)
  if (Object.keys(when).length > 0) route['when'] = when
}

interface Targeted {
  readonly source: Route
  readonly service: Service
  readonly target: Target | undefined
  readonly close: Close
  readonly paths: readonly KongPath[]
}

function addTarget(route: JsonObject, { source: { node }, service, target, close, paths }: Targeted): void {
  if (target === undefined) {
    // Kong answers the same where a route has no service.
    route['respond'] = { status: 503 }
    return
  }
  const proxy = objectAt(route, 'proxy')
  proxy['upstream'] = target.upstream
  if (node.get('preserve_host').flag === true) proxy['preserveHost'] = true
  const retries = service.node.get('retries').number
  if (retries !== undefined && retries > 0)
    proxy['retry'] = { attempts: Math.min(10, retries + 1), on: ['connect', 'reset', 'timeout'] }
  if (target.path !== undefined) {
    proxy['rewrite'] = target.path
    return
  }
  if (
    node.get('strip_path').flag === false ||
    target.isGrpc ||
    paths.every(({ prefix, expression }) => prefix === '/' && expression === undefined)
  )
    return
  proxy['rewrite'] = '/'
  if (paths.some(({ path, isWhole }) => isWhole && path?.endsWith('/*') === true))
    close(node.get('paths').line, 'strip_path of a regular expression that matches the whole path')
}
