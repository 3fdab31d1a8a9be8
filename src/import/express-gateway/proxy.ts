import { type JsonObject, objectAt } from '../json.ts'
import { durationOf } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import { literal } from '../values.ts'
import type { Context } from './policies.ts'

/** Translates the policy proxy and its service. */
export function addProxy(action: SourceNode, root: SourceNode, context: Context): void {
  const { route, translation, close } = context
  // A pipeline ends with the first proxy.
  if (route['proxy'] !== undefined) return
  const name = action.get('serviceEndpoint').text ?? ''
  const service = root.get('serviceEndpoints').get(name)
  const urls = [...service.get('url').texts, ...service.get('urls').texts]
  if (urls.length === 0) {
    close(action, name === '' ? 'proxy without a serviceEndpoint' : `the service ${name} without a url`)
    return
  }
  const options = (key: string): SourceNode =>
    action.get(key).exists ? action.get(key) : service.get('proxyOptions').get(key)
  const key = name.replaceAll(/[^\w.-]+/g, '-')
  objectAt(translation.config, 'upstreams')[key] ??= upstreamOf(urls, options)
  const proxy: JsonObject = { upstream: key }
  if (options('changeOrigin').flag === false) proxy['preserveHost'] = true
  const paths = [route['path'] ?? ''].flat().map(String)
  if (options('stripPath').flag === true) {
    const rewrites = new Set(paths.map(strippedOf))
    const [rewrite] = rewrites
    if (rewrites.size > 1 || rewrite === undefined) close(action, 'proxy: stripPath for unlike paths')
    else proxy['rewrite'] = rewrite
  }
  if (options('ignorePath').flag === true) {
    proxy['rewrite'] = '/'
    if (paths.some((path) => path.endsWith('/*'))) close(action, 'proxy: ignorePath for many paths')
  }
  if (options('auth').exists)
    translation.missing(options('auth').line, 'proxy: auth; set it as a header of the request', route)
  route['proxy'] = proxy
}

/** Returns what Express Gateway leaves of a path: all from the first parameter on; undefined if `rewrite` can't say it. */
function strippedOf(path: string): string | undefined {
  const rest = path.slice(path.search(/[:*]|$/))
  if (rest === '' || rest === '*') return '/'
  return /^:\w+(?:\/(?::\w+|[\w.~-]+))*(?:\/\*)?$/.test(rest)
    ? `/${rest.replace(/\/\*$/, '').replaceAll(/:(\w+)/g, '{params.$1}')}`
    : undefined
}

function upstreamOf(urls: readonly string[], options: (key: string) => SourceNode): JsonObject {
  const keepsPath = options('prependPath').flag !== false
  const all = urls.map((url) =>
    literal(keepsPath ? url.replace(/\/$/, '') : (/^\w+:\/\/[^/]+/.exec(url)?.[0] ?? url))
  )
  const upstream: JsonObject = all.length === 1 ? { url: all[0] ?? '' } : { targets: all }
  const timeout = options('proxyTimeout').number ?? options('timeout').number
  if (timeout !== undefined) upstream['timeout'] = durationOf(timeout)
  if (options('secure').flag === false) upstream['tls'] = { verify: false }
  return upstream
}
