import { isNeverForwarded } from '../../lib/http/copied-headers.ts'
import { type Json, type JsonObject, objectAt } from '../json.ts'
import { Names } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import { literal } from '../values.ts'
import { extraOf, textsOf } from './extra.ts'
import type { Context } from './gates.ts'
import { readMartian } from './martian.ts'
import { templateOf } from './templates.ts'
import type { Upstreams } from './upstreams.ts'

/** A backend as a leg, and where its response goes. */
export interface Leg {
  readonly name: string
  readonly options: JsonObject
  /** The key of its response; undefined if its fields are merged with those of the others. */
  readonly key: string | undefined
  readonly value: string
}

const HAS_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
const FORMATS: ReadonlySet<string> = new Set(['xml', 'rss'])

/** Translates the backends of an endpoint into legs; closes the route if one has no translation. */
export function legsOf(endpoint: SourceNode, upstreams: Upstreams, context: Context): Leg[] {
  const backends = endpoint.get('backend').items
  const names = new Names()
  const named = backends.map((backend, i) => {
    const name = names
      .unique(backend.get('group').text ?? upstreams.nameOf(backend) ?? 'backend')
      .replaceAll('.', '-')
    return /^[A-Za-z]/.test(name) ? name : `backend${i + 1}`
  })
  const passed = listed(endpoint, context)
  return backends.flatMap((backend, i) => {
    const leg = legOf(backend, { endpoint, names: named, upstreams, context, index: i })
    if (leg === undefined) return []
    const own = listedBy(backend, passed, context)
    const dropped = passed.filter((name) => !own.includes(name) && name !== '*')
    if (passed.includes('*') && !own.includes('*')) context.close(backend, 'input_headers of a backend alone')
    const headers = {
      ...Object.fromEntries(dropped.map((name): [string, Json] => [literal(name), false])),
      ...headersOf(backend, context).request
    }
    if (Object.keys(headers).length > 0) leg.options['headers'] = headers
    if (backends.length > 1) leg.options['required'] = false
    return [leg]
  })
}

/** Returns the headers that an endpoint or a backend lists, in lower case, and notes those that are never forwarded; "*" is all of them. */
export function listed(node: SourceNode, { route, translation }: Context): string[] {
  const names = textsOf(node, 'input_headers', 'headers_to_pass')
  for (const name of names.filter((each) => isNeverForwarded(each.toLowerCase())))
    translation.missing(
      node.line,
      `input_headers ${name}, which is never forwarded${name.toLowerCase() === 'host' ? '; "preserveHost": true of "proxy" forwards it' : ''}`,
      route
    )
  return names.map((name) => name.toLowerCase()).filter((name) => !isNeverForwarded(name))
}

/** Returns those of the headers of an endpoint that a backend gets. */
export function listedBy(backend: SourceNode, passed: readonly string[], context: Context): string[] {
  const own = listed(backend, context)
  if (own.length === 0 || own.includes('*')) return [...passed]
  return passed.includes('*') ? own : passed.filter((name) => own.includes(name))
}

// What KrakenD forwards where an endpoint lists no headers.
const BY_DEFAULT = ['content-type']

/** KrakenD forwards no header that an endpoint does not list. */
export function onlyListed(passed: readonly string[], route: JsonObject): void {
  const names = passed.length === 0 ? BY_DEFAULT : passed
  if (!names.includes('*')) objectAt(route, 'headers')['only'] = [...new Set(names)].map(literal)
}

/** Returns the changes of headers of a backend. */
export function headersOf(
  backend: SourceNode,
  { close, translation }: Context
): { request: JsonObject; response: JsonObject } {
  const changes = { request: {}, response: {} }
  const martian = extraOf(backend).get('modifier/martian')
  const unknown = martian === undefined ? undefined : readMartian(martian, changes, translation)
  if (martian !== undefined && unknown !== undefined) close(martian, `modifier/martian: ${unknown}`)
  return changes
}

interface Around {
  readonly endpoint: SourceNode
  readonly names: readonly string[]
  readonly upstreams: Upstreams
  readonly context: Context
  readonly index: number
}

function legOf(backend: SourceNode, { endpoint, names, upstreams, context, index }: Around): Leg | undefined {
  const upstream = upstreams.nameOf(backend)
  const pattern = backend.get('url_pattern').text ?? '/'
  const path = templateOf(pattern, names)
  if (upstream === undefined || path === undefined) {
    context.close(backend, upstream === undefined ? 'a backend without a host' : `url_pattern ${pattern}`)
    return undefined
  }
  const name = names[index] ?? 'backend'
  const method = (backend.get('method').text ?? endpoint.get('method').text ?? 'GET').toUpperCase()
  const options: JsonObject = { upstream, path }
  if (method !== 'GET') options['method'] = literal(method)
  if (HAS_BODY.has(method)) options['body'] = '{body}'
  const target = backend.get('target').text
  const within = (text: string): string =>
    literal(target === undefined || target === '' ? text : `${target}.${text}`)
  if (FORMATS.has(backend.get('encoding').text ?? 'json')) options['format'] = 'xml'
  const allow = textsOf(backend, 'allow', 'whitelist')
  const deny = textsOf(backend, 'deny', 'blacklist')
  const isList = backend.get('is_collection').flag === true
  if (allow.length > 0) options['pick'] = allow.map(within)
  if (deny.length > 0) options['omit'] = deny.map(within)
  const mapping = backend.get('mapping')
  const renamed = mapping.keys.filter((key) => !(isList && key === 'collection'))
  if (renamed.length > 0)
    options['rename'] = Object.fromEntries(
      renamed.map((key) => [within(key), within(mapping.get(key).text ?? key)])
    )
  const collection = isList ? (mapping.get('collection').text ?? 'collection') : undefined
  const value = target === undefined || target === '' ? `{legs.${name}}` : `{legs.${name}.${target}}`
  return { name, options, key: backend.get('group').text ?? collection, value }
}

/** Makes the options of `aggregate`: what KrakenD merges is merged, what has a key is at that key. */
export function aggregateOf(
  legs: readonly Leg[],
  { route, translation }: Context,
  endpoint: SourceNode
): JsonObject {
  const aggregate: JsonObject = { legs: Object.fromEntries(legs.map(({ name, options }) => [name, options])) }
  const keys = legs.map(({ key }) => key)
  const areKeyed = keys.every((key) => key !== undefined) && new Set(keys).size === keys.length
  const [first] = legs
  const isRawList = endpoint.get('output_encoding').text === 'json-collection'
  if (legs.length === 1 && first !== undefined && (first.key === undefined || isRawList))
    aggregate['body'] = first.value
  else if (areKeyed)
    aggregate['body'] = Object.fromEntries(legs.map(({ key, value }) => [literal(key ?? ''), value]))
  else if (
    keys.every((key) => key === undefined) &&
    legs.every(({ name, value }) => value === `{legs.${name}}`)
  )
    aggregate['merge'] = legs.map(({ name }) => name)
  else {
    aggregate['body'] = Object.fromEntries(legs.map(({ key, name, value }) => [literal(key ?? name), value]))
    translation.missing(
      endpoint.line,
      'fields of some backends beside those of groups: they are under a name here',
      route
    )
  }
  return aggregate
}
