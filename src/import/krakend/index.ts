import { close } from '../close.ts'
import { withEnvironment } from '../environment.ts'
import { type JsonObject, listAt, objectAt } from '../json.ts'
import { durationOf } from '../names.ts'
import { parseTree, type SourceNode } from '../source-node.ts'
import { ImportError, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { extraOf, goDuration, isObserver } from './extra.ts'
import { addCors } from './gates.ts'
import { routeOf } from './routes.ts'
import { Upstreams } from './upstreams.ts'

// Flexible configuration that can be read without a template engine.
const ENVIRONMENT = /\{\{-?\s*env\s+(?:\\?"|`)(\w+)(?:\\?"|`)\s*-?\}\}/g

/** Translates a config of KrakenD, of version 2 or 3. */
export function translateKrakend(source: SourceText, translation: Translation): void {
  const root = parseTree(withEnvironment(source, ENVIRONMENT, translation))
  if (!root.get('endpoints').exists)
    throw new ImportError(`${source.file}: expected a config of KrakenD with "endpoints", got none`)
  objectAt(translation.config, 'limits')['time'] = durationOf(goDuration(root.get('timeout').text) ?? 2000)
  const upstreams = new Upstreams(root, translation)
  const routes = listAt(translation.config, 'routes')
  for (const endpoint of root.get('endpoints').items)
    routes.push(routeOf(endpoint, { root, upstreams, translation }))
  addRootOptions(root, routes.filter((each) => typeof each === 'object') as JsonObject[], translation)
}

const KNOWN: ReadonlySet<string> = new Set([
  ...[
    '$schema',
    '$id',
    '@comment',
    'version',
    'name',
    'port',
    'timeout',
    'cache_ttl',
    'host',
    'output_encoding',
    'endpoints'
  ],
  ...[
    'extra_config',
    'debug_endpoint',
    'echo_endpoint',
    'sequential_start',
    'idle_connection_timeout',
    'listen_ip'
  ]
])

function addRootOptions(root: SourceNode, routes: readonly JsonObject[], translation: Translation): void {
  for (const [name, node] of extraOf(root)) {
    if (name === 'security/cors') addCors(node, translation.config, translation)
    else if (name === 'security/http') addSecurity(node, routes, translation)
    else if (isObserver(name)) translation.missing(node.line, name)
    else for (const route of routes) close(translation, route, node.line, `extra_config: ${name}`)
  }
  for (const key of root.keys.filter((each) => !KNOWN.has(each)))
    if (root.get(key).value !== false && root.get(key).items.length > 0)
      translation.missing(root.get(key).line, key)
}

/** Translates the hosts of security/http; its headers are set by `securityHeaders` anyway. */
function addSecurity(node: SourceNode, routes: readonly JsonObject[], translation: Translation): void {
  const hosts = node.get('allowed_hosts').texts
  for (const route of routes) if (hosts.length > 0) route['host'] = hosts.map(literal)
  for (const key of node.keys) {
    if (key === 'allowed_hosts') translation.done()
    else translation.missing(node.get(key).line, `security/http: ${key}`)
  }
}
