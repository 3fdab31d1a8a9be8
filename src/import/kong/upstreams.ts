import type { Json, JsonObject } from '../json.ts'
import { objectAt } from '../json.ts'
import { durationOf, Names } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import type { KongConfig, Route, Service } from './source.ts'
import { withVariables } from './text.ts'

/** Where a service is, and how a route refers to it. */
export interface Target {
  readonly upstream: string
  readonly isGrpc: boolean
  /** The path that takes the place of what a route strips; undefined where it is in the URL. */
  readonly path?: string
}

const strips = ({ node }: Route): boolean =>
  node.get('strip_path').flag !== false && !node.get('paths').texts.some((path) => path.startsWith('~'))

/** Makes the upstream of each service. */
export class Upstreams {
  readonly #names = new Names()
  readonly #config: KongConfig
  readonly #translation: Translation

  constructor(config: KongConfig, translation: Translation) {
    this.#config = config
    this.#translation = translation
  }

  /** Adds the upstream of a service; undefined if the service has no address. */
  add({ name, node, routes }: Service): Target | undefined {
    const address = addressOf(node)
    if (address === undefined) return undefined
    const { protocol, host, port, path } = address
    const isGrpc = protocol.startsWith('grpc')
    const scheme = /^(?:https|grpcs|wss)$/.test(protocol) ? 'https' : 'http'
    // After what is stripped of `/a`, Kong sends /path, and not /path/.
    const isMoved = !isGrpc && /^\/[\w./~-]*[\w.~-]$/.test(path) && routes.every(strips)
    const urlOf = (authority: string): string =>
      withVariables(`${scheme}://${authority}${path === '/' || isMoved ? '' : path}`, this.#translation)
    const upstream: JsonObject = {}
    const balanced = this.#config.upstreams.get(host)
    const implied = scheme === 'https' ? '443' : '80'
    if (balanced === undefined)
      upstream['url'] = urlOf(port === undefined || port === implied ? host : `${host}:${port}`)
    else this.#addTargets(upstream, balanced, urlOf)
    if (isGrpc) upstream['http2'] = true
    addTimes(upstream, node)
    if (node.get('tls_verify').flag === false) upstream['tls'] = { verify: false }
    for (const key of ['client_certificate', 'ca_certificates', 'tls_verify_depth'])
      if (node.get(key).exists)
        this.#translation.missing(node.get(key).line, `service ${name}: ${key}`, upstream)
    const own = this.#names.unique(name)
    objectAt(this.#translation.config, 'upstreams')[own] = upstream
    return { upstream: own, isGrpc, ...(isMoved && { path }) }
  }

  #addTargets(upstream: JsonObject, node: SourceNode, urlOf: (authority: string) => string): void {
    const targets = node
      .get('targets')
      .items.map((each) => ({
        url: each.get('target').text ?? each.text ?? '',
        weight: each.get('weight').number ?? 100
      }))
      .filter(({ url, weight }) => url !== '' && weight > 0)
    this.#translation.done(targets.length)
    const areAlike = targets.every(({ weight }) => weight === targets[0]?.weight)
    upstream['targets'] = targets.map(({ url, weight }): Json => {
      const withPort = /:\d+$/.test(url) ? url : `${url}:8000`
      return areAlike ? urlOf(withPort) : { url: urlOf(withPort), weight }
    })
    const host = node.get('host_header').text
    if (host !== undefined) upstream['host'] = literal(host)
    this.#addBalance(upstream, node)
    this.#addHealth(upstream, node)
    this.#translation.done()
  }

  #addBalance(upstream: JsonObject, node: SourceNode): void {
    const algorithm =
      node.get('algorithm').text ?? (node.get('hash_on').exists ? 'consistent-hashing' : 'round-robin')
    const hashOn = node.get('hash_on').text ?? 'none'
    if (algorithm === 'least-connections') upstream['balance'] = 'leastRequests'
    else if (algorithm === 'latency') upstream['balance'] = 'powerOfTwo'
    else if (algorithm === 'consistent-hashing' || (hashOn !== 'none' && algorithm !== 'round-robin')) {
      upstream['balance'] = 'hash'
      const header = node.get('hash_on_header').text ?? ''
      const cookie = node.get('hash_on_cookie').text ?? ''
      const on: Record<string, string> = {
        ip: 'ip',
        consumer: 'caller',
        path: 'path',
        query_arg: `query:${node.get('hash_on_query_arg').text ?? ''}`,
        header: `header:${header}`,
        cookie: `cookie:${cookie}`
      }
      const chosen = Object.hasOwn(on, hashOn) ? on[hashOn] : undefined
      if (chosen !== undefined) upstream['hashOn'] = literal(chosen)
      else if (hashOn !== 'none')
        this.#translation.missing(node.get('hash_on').line, `hash_on: ${hashOn}`, upstream)
    }
  }

  #addHealth(upstream: JsonObject, node: SourceNode): void {
    const active = node.get('healthchecks').get('active')
    const passive = node.get('healthchecks').get('passive')
    const healthy = active.get('healthy')
    const unhealthy = active.get('unhealthy')
    const every = (healthy.get('interval').number ?? 0) || (unhealthy.get('interval').number ?? 0)
    if (every > 0 && active.get('type').text === 'tcp')
      this.#translation.missing(active.line, 'an active health check by TCP', upstream)
    else if (every > 0) {
      const health: JsonObject = {
        path: literal(active.get('http_path').text ?? '/'),
        every: durationOf(every * 1000)
      }
      const timeout = active.get('timeout').number
      if (timeout !== undefined) health['timeout'] = durationOf(timeout * 1000)
      const statuses = healthy.get('http_statuses').items.flatMap(({ number }) => number ?? [])
      if (statuses.length > 0) health['status'] = statuses.map(String)
      const successes = healthy.get('successes').number ?? 0
      if (successes > 0) health['healthyAfter'] = successes
      const failures = failuresOf(unhealthy)
      if (failures > 0) health['unhealthyAfter'] = failures
      upstream['health'] = health
      this.#translation.done()
    }
    const failures = failuresOf(passive.get('unhealthy'))
    if (failures === 0) return
    upstream['eject'] = { failures }
    this.#translation.done()
  }
}

/** Returns the least of the counts that take a target out; 0 if there is none. */
const failuresOf = (node: SourceNode): number => {
  const counts = ['http_failures', 'tcp_failures', 'timeouts'].map((key) => node.get(key).number ?? 0)
  return Math.min(...counts.filter((count) => count > 0), Number.MAX_SAFE_INTEGER) % Number.MAX_SAFE_INTEGER
}

interface Address {
  readonly protocol: string
  readonly host: string
  readonly port: string | undefined
  readonly path: string
}

function addressOf(node: SourceNode): Address | undefined {
  const url = node.get('url').text
  const [, protocol = '', host = '', port, path = '/'] =
    /^(\w+):\/\/((?:\$\{\{.*?\}\}|\{vault:.*?\}|\[[^\]]*\]|[^:/?#])+)(?::(\d+))?(\/[^?#]*)?/.exec(
      url ?? ''
    ) ?? []
  if (host !== '') return { protocol, host, port, path }
  const named = node.get('host').text
  if (named === undefined) return undefined
  return {
    protocol: node.get('protocol').text ?? 'http',
    host: named,
    port: node.get('port').text,
    path: node.get('path').text ?? '/'
  }
}

function addTimes(upstream: JsonObject, node: SourceNode): void {
  const read = node.get('read_timeout').number
  const connect = node.get('connect_timeout').number
  if (read !== undefined) upstream['timeout'] = durationOf(read)
  if (connect !== undefined) upstream['timeouts'] = { connect: durationOf(connect) }
}
