import { close as closeRoute } from '../close.ts'
import { type JsonObject, objectAt } from '../json.ts'
import { durationOf } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { extraOf, goDuration, isDocumentation, isObserver, textsOf } from './extra.ts'
import { addBackendLimit, addCors, addRateLimit, addValidator, type Context } from './gates.ts'
import { aggregateOf, headersOf, legsOf, listed, listedBy, onlyListed } from './legs.ts'
import { pathOf, templateOf } from './templates.ts'
import type { Upstreams } from './upstreams.ts'

interface Around {
  readonly root: SourceNode
  readonly upstreams: Upstreams
  readonly translation: Translation
}

/** Translates an endpoint. */
export function routeOf(endpoint: SourceNode, { root, upstreams, translation }: Around): JsonObject {
  const written = endpoint.get('endpoint').text ?? '/'
  const route: JsonObject = translation.from(endpoint.line, {
    path: pathOf(written),
    methods: [literal((endpoint.get('method').text ?? 'GET').toUpperCase())]
  })
  const doubts: [node: SourceNode, text: string][] = []
  const context: Context = { route, translation, close: (node, text) => void doubts.push([node, text]) }
  addOptions(endpoint, root, context)
  for (const [name, node] of extraOf(endpoint)) addExtra(name, node, context)
  const backends = endpoint.get('backend').items
  for (const backend of backends) addBackendExtras(backend, { upstreams, context })
  const isProxy =
    backends.length === 1 &&
    [endpoint.get('output_encoding'), backends[0]?.get('encoding')].some((each) => each?.text === 'no-op')
  if (backends.length === 0) context.close(endpoint, 'an endpoint without a backend')
  else if (isProxy) addProxy(endpoint, { upstreams, context })
  else addAggregate(endpoint, { upstreams, context })
  for (const [node, text] of doubts) closeRoute(translation, route, node.line, text)
  translation.done()
  return route
}

const KNOWN: ReadonlySet<string> = new Set([
  ...[
    'endpoint',
    'method',
    'output_encoding',
    'timeout',
    'cache_ttl',
    'input_headers',
    'headers_to_pass',
    'backend'
  ],
  ...['input_query_strings', 'querystring_params', 'extra_config', '@comment', '$schema']
])

function addOptions(endpoint: SourceNode, root: SourceNode, { route, translation }: Context): void {
  const timeout = goDuration(endpoint.get('timeout').text)
  if (timeout !== undefined) route['limits'] = { time: durationOf(timeout) }
  const ttl = goDuration(endpoint.get('cache_ttl').text ?? root.get('cache_ttl').text) ?? 0
  if (ttl >= 1000)
    objectAt(route, 'headers')['response'] = {
      'cache-control': { set: `public, max-age=${Math.round(ttl / 1000)}`, on: ['2xx'] }
    }
  for (const key of endpoint.keys.filter((each) => !KNOWN.has(each)))
    translation.missing(endpoint.get(key).line, key, route)
}

function addExtra(name: string, node: SourceNode, context: Context): void {
  const { route, translation, close } = context
  if (name === 'auth/validator') addValidator(node, context)
  else if (name === 'qos/ratelimit/router') addRateLimit(node, context)
  else if (name === 'security/cors') addCors(node, route, translation)
  else if (name === 'validation/json-schema') {
    objectAt(route, 'validate')['body'] = node.value as JsonObject
    translation.done()
  } else if (name === 'proxy') {
    for (const key of node.keys) {
      if (key === 'sequential') translation.done()
      else if (key === 'static') translation.missing(node.get(key).line, 'proxy: static', route)
      // KrakenD knows no such options here, and ignores them.
      else if (/^(?:headers_to_pass|input_headers|@comment)$/.test(key))
        translation.missing(node.get(key).line, `proxy: ${key}, which KrakenD ignores`, route)
      else close(node.get(key), `proxy: ${key}`)
    }
  } else if (isDocumentation(name)) translation.done()
  else if (isObserver(name)) translation.missing(node.line, name, route)
  else close(node, `extra_config: ${name}`)
}

const TRANSLATED: ReadonlySet<string> = new Set(['qos/circuit-breaker', 'modifier/martian'])
const HARMLESS: ReadonlySet<string> = new Set(['qos/http-cache', 'backend/http'])

function addBackendExtras(
  backend: SourceNode,
  { upstreams, context }: { upstreams: Upstreams; context: Context }
): void {
  const { route, translation, close } = context
  for (const [name, node] of extraOf(backend)) {
    if (name === 'qos/ratelimit/proxy') addBackendLimit(node, upstreams.nameOf(backend) ?? '', context)
    else if (TRANSLATED.has(name)) continue
    else if (HARMLESS.has(name) || isObserver(name)) translation.missing(node.line, name, route)
    else close(node, `extra_config: ${name}`)
  }
}

interface Target {
  readonly upstreams: Upstreams
  readonly context: Context
}

/** Translates an endpoint whose response goes on as it is. */
function addProxy(endpoint: SourceNode, { upstreams, context }: Target): void {
  const { route, close } = context
  const [backend] = endpoint.get('backend').items
  if (backend === undefined) return
  const upstream = upstreams.nameOf(backend)
  const [pattern = '/', search] = (backend.get('url_pattern').text ?? '/').split('?', 2)
  const rewrite = templateOf(pattern.replace(/\/\*\w*$/, ''), [])
  const method = backend.get('method').text?.toUpperCase()
  if (upstream === undefined || rewrite === undefined) {
    close(backend, `url_pattern ${pattern}`)
    return
  }
  if (method !== undefined && method !== (endpoint.get('method').text ?? 'GET').toUpperCase())
    close(backend.get('method'), 'a backend with another method')
  route['proxy'] = { upstream, ...(pattern !== endpoint.get('endpoint').text && { rewrite }) }
  const passed = listedBy(backend, listed(endpoint, context), context)
  onlyListed(passed, route)
  const changes = headersOf(backend, context)
  if (Object.keys(changes.request).length > 0) objectAt(route, 'headers')['request'] = changes.request
  if (Object.keys(changes.response).length > 0)
    objectAt(route, 'headers')['response'] = {
      ...objectAt(objectAt(route, 'headers'), 'response'),
      ...changes.response
    }
  if (route['auth'] !== undefined && (passed.includes('*') || passed.includes('authorization')))
    objectAt(route, 'auth')['passOn'] = ['jwt']
  addQuery(endpoint, search, context)
}

/** KrakenD forwards no parameter of the query that an endpoint does not list. */
function addQuery(endpoint: SourceNode, search: string | undefined, { route, close }: Context): void {
  const passed = textsOf(endpoint, 'input_query_strings', 'querystring_params')
  if (!passed.includes('*')) {
    const validate = objectAt(route, 'validate')
    validate['query'] = { properties: Object.fromEntries(passed.map((name) => [literal(name), {}])) }
    validate['unknown'] = { query: 'drop' }
  }
  for (const pair of search?.split('&') ?? []) {
    const [name = '', value = ''] = pair.split('=', 2)
    const template = templateOf(`/${value}`, [])?.slice(1)
    if (template === undefined) close(endpoint, `url_pattern with ${pair}`)
    else objectAt(route, 'query')[literal(name)] = template
  }
}

function addAggregate(endpoint: SourceNode, { upstreams, context }: Target): void {
  const { route, translation } = context
  const legs = legsOf(endpoint, upstreams, context)
  route['aggregate'] = aggregateOf(legs, context, endpoint)
  const query = textsOf(endpoint, 'input_query_strings', 'querystring_params')
  if (query.length > 0)
    translation.missing(
      endpoint.line,
      `input_query_strings ${query.join(', ')}; where one is always there, add it to the path of a leg, such as ?${query[0]}={query.${query[0]}}`,
      route
    )
  const passed = listed(endpoint, context)
  onlyListed(passed, route)
  if (route['auth'] !== undefined && (passed.includes('*') || passed.includes('authorization')))
    objectAt(route, 'auth')['passOn'] = ['jwt']
}
