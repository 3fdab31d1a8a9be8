import { type Json, type JsonObject, objectAt } from '../json.ts'
import type { Translation } from '../translation.ts'
import { durationOf } from './middlewares.ts'
import type { Node } from './node.ts'
import { literal } from './text.ts'

/** Makes the target of a service: options of `proxy`. Undefined if it has no translation. */
export function proxyOf(
  name: string,
  http: Node,
  options: JsonObject,
  translation: Translation
): JsonObject | undefined {
  const service = http.get('services', plain(name))
  const weighted = service.get('weighted', 'services').items()
  if (weighted.length > 0) return splitOf(weighted, http, options, translation)
  const mirroring = service.get('mirroring')
  if (mirroring.exists()) {
    const proxy = proxyOf(mirroring.get('service').text() ?? '', http, options, translation)
    const [first, ...others] = mirroring.get('mirrors').items()
    const mirror =
      first === undefined ? undefined : proxyOf(first.get('name').text() ?? '', http, {}, translation)
    if (proxy !== undefined && mirror !== undefined)
      proxy['mirror'] = {
        upstream: mirror['upstream'] ?? '',
        share: `${first?.get('percent').text() ?? '0'}%`
      }
    for (const other of others) translation.missing(other.line, `mirror ${other.get('name').text() ?? ''}`)
    return proxy
  }
  const failover = service.get('failover')
  if (failover.exists()) return failoverOf(failover, http, options, translation)
  return balancerOf(plain(name), service.get('loadBalancer'), http, options, translation)
}

const plain = (name: string): string => name.replace(/@\w+$/, '')

function splitOf(
  parts: readonly Node[],
  http: Node,
  options: JsonObject,
  translation: Translation
): JsonObject | undefined {
  const total = parts.reduce((sum, part) => sum + Number(part.get('weight').text() ?? 1), 0)
  const made: Json[] = []
  let preservesHost = true
  let left = 100
  for (const [i, part] of parts.entries()) {
    const proxy = proxyOf(part.get('name').text() ?? '', http, options, translation)
    if (proxy?.['upstream'] === undefined || !(total > 0)) return undefined
    preservesHost &&= proxy['preserveHost'] === true
    // Shares are exact together.
    const share =
      i === parts.length - 1 ? left : Math.round((Number(part.get('weight').text() ?? 1) / total) * 100)
    left -= share
    made.push({ upstream: proxy['upstream'], share: `${share}%` })
  }
  return { split: made, ...(preservesHost ? { preserveHost: true } : {}) }
}

function failoverOf(
  failover: Node,
  http: Node,
  options: JsonObject,
  translation: Translation
): JsonObject | undefined {
  const proxy = proxyOf(failover.get('service').text() ?? '', http, { ...options }, translation)
  const spare = http
    .get('services', plain(failover.get('fallback').text() ?? ''), 'loadBalancer', 'servers')
    .items()
  if (typeof proxy?.['upstream'] !== 'string') return undefined
  const upstream = namedUpstream(
    proxy['upstream'],
    plain(failover.get('service').text() ?? 'service'),
    translation
  )
  const targets = [upstream['targets'] ?? upstream['url'] ?? []].flat()
  delete upstream['url']
  const backups = spare.map(
    (server): Json => ({ url: literal(server.get('url').text() ?? ''), backup: true })
  )
  if (!targets.some((target) => typeof target === 'object')) upstream['targets'] = [...targets, ...backups]
  if (/^\w+:/.test(proxy['upstream'])) proxy['upstream'] = plain(failover.get('service').text() ?? 'service')
  return proxy
}

function namedUpstream(upstream: string, name: string, translation: Translation): JsonObject {
  const upstreams = objectAt(translation.config, 'upstreams')
  if (!/^\w+:/.test(upstream)) return objectAt(upstreams, upstream)
  upstreams[name] ??= { url: upstream }
  return objectAt(upstreams, name)
}

function balancerOf(
  name: string,
  balancer: Node,
  http: Node,
  options: JsonObject,
  translation: Translation
): JsonObject | undefined {
  const servers = balancer.get('servers').items()
  const urls = servers.map((server): Json => {
    const url = literalUrl(server.get('url').text() ?? '')
    const weight = server.get('weight').text()
    return weight === undefined ? url : { url, weight: Number(weight) }
  })
  if (urls.length === 0) return undefined
  const upstream: JsonObject = { ...options }
  addHealth(upstream, balancer)
  const sticky = balancer.get('sticky', 'cookie')
  if (sticky.exists()) upstream['sticky'] = { cookie: sticky.get('name').text() ?? 'lb' }
  addTransport(upstream, balancer, http, translation)
  const preserveHost: JsonObject =
    balancer.get('passHostHeader').text() === 'false' ? {} : { preserveHost: true }
  const [only] = urls
  if (urls.length === 1 && typeof only === 'string') {
    if (Object.keys(upstream).length === 0) return { upstream: only, ...preserveHost }
    upstream['url'] = only
  } else upstream['targets'] = urls
  const upstreams = objectAt(translation.config, 'upstreams')
  for (let i = 1; ; i++) {
    const key = i === 1 ? name.replaceAll(/[^\w.-]/g, '-') : `${name.replaceAll(/[^\w.-]/g, '-')}-${i}`
    upstreams[key] ??= upstream
    if (JSON.stringify(upstreams[key]) === JSON.stringify(upstream)) return { upstream: key, ...preserveHost }
  }
}

// "h2c" is HTTP/2 without TLS.
const literalUrl = (url: string): string => literal(url.replace(/^h2c:/, 'http:').replace(/\/$/, ''))

function addHealth(upstream: JsonObject, balancer: Node): void {
  const check = balancer.get('healthCheck')
  if (
    balancer
      .get('servers')
      .items()
      .some((server) => server.get('url').text()?.startsWith('h2c:') === true)
  )
    upstream['http2'] = true
  if (!check.get('path').exists()) return
  const every = durationOf(check.get('interval').text() ?? '')
  const timeout = durationOf(check.get('timeout').text() ?? '')
  upstream['health'] = {
    path: literal(check.get('path').text() ?? '/'),
    ...(check.get('port').exists() ? { port: Number(check.get('port').text()) } : {}),
    ...(every === undefined ? {} : { every }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(check.get('status').exists() ? { status: [Number(check.get('status').text())] } : {})
  }
}

function addTransport(upstream: JsonObject, balancer: Node, http: Node, translation: Translation): void {
  const name = balancer.get('serversTransport').text()
  if (name === undefined) return
  const transport = http.get('serversTransports', plain(name))
  if (transport.get('insecureSkipVerify').isTrue()) objectAt(upstream, 'tls')['verify'] = false
  const server = transport.get('serverName').text()
  if (server !== undefined) objectAt(upstream, 'tls')['serverName'] = literal(server)
  const [ca] = transport.get('rootCAs').texts()
  if (ca !== undefined) objectAt(upstream, 'tls')['ca'] = literal(ca)
  if (!transport.exists())
    translation.missing(balancer.line, `serversTransport ${name}, which is not in this file`, upstream)
}
