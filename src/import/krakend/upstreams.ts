import { type JsonObject, objectAt } from '../json.ts'
import { durationOf, Names } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { extraOf } from './extra.ts'

/** Makes one upstream of each list of hosts. */
export class Upstreams {
  readonly #names = new Names()
  readonly #known = new Map<string, string>()
  readonly #root: SourceNode
  readonly #translation: Translation

  constructor(root: SourceNode, translation: Translation) {
    this.#root = root
    this.#translation = translation
  }

  /** Returns the name of the upstream of a backend; undefined if it has no host. */
  nameOf(backend: SourceNode): string | undefined {
    const hosts = (backend.get('host').exists ? backend : this.#root).get('host').texts
    if (hosts.length === 0) return undefined
    const upstream = this.#upstream(backend, hosts)
    const key = JSON.stringify(upstream)
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const name = this.#names.unique(
      (hosts[0] ?? '').replace(/^\w+:\/\/|:-[^\uE001]*/g, '').replace(/[:/].*/, '')
    )
    this.#known.set(key, name)
    objectAt(this.#translation.config, 'upstreams')[name] = upstream
    return name
  }

  #upstream(backend: SourceNode, hosts: readonly string[]): JsonObject {
    const upstream: JsonObject = this.#translation.from(backend.line, {})
    const urls = hosts.map((host) =>
      literal((/^(?:\w+:\/\/|\uE000)/.test(host) ? host : `http://${host}`).replace(/\/$/, ''))
    )
    const counts = new Map<string, number>()
    for (const url of urls) counts.set(url, (counts.get(url) ?? 0) + 1)
    if (backend.get('sd').text === 'dns')
      upstream['discover'] = { srv: literal(hosts[0]?.replace(/^\w+:\/\//, '') ?? '') }
    else if (counts.size === 1) upstream['url'] = urls[0] ?? ''
    else upstream['targets'] = [...counts].map(([url, weight]) => (weight === 1 ? url : { url, weight }))
    const breaker = extraOf(backend).get('qos/circuit-breaker')
    if (breaker !== undefined) {
      upstream['breaker'] = {
        of: Math.max(1, breaker.get('max_errors').number ?? 1),
        within: durationOf((breaker.get('interval').number ?? 10) * 1000),
        openFor: durationOf((breaker.get('timeout').number ?? 5) * 1000)
      }
      this.#translation.comment(
        upstream['breaker'],
        'KrakenD opens after so many errors in a row; this one when half of so many requests fail.'
      )
      this.#translation.done()
    }
    return upstream
  }
}
