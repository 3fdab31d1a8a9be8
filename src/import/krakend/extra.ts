import type { SourceNode } from '../source-node.ts'

/** The names of version 2 by those of version 3. */
const OLD: Readonly<Record<string, readonly string[]>> = {
  'auth/validator': ['github.com/devopsfaith/krakend-jose/validator'],
  'qos/ratelimit/router': ['github.com/devopsfaith/krakend-ratelimit/juju/router'],
  'qos/ratelimit/proxy': ['github.com/devopsfaith/krakend-ratelimit/juju/proxy'],
  'qos/circuit-breaker': ['github.com/devopsfaith/krakend-circuitbreaker/gobreaker'],
  'qos/http-cache': ['github.com/devopsfaith/krakend-httpcache'],
  'security/cors': ['github_com/devopsfaith/krakend-cors', 'github.com/devopsfaith/krakend-cors'],
  'security/http': ['github_com/devopsfaith/krakend-httpsecure'],
  'validation/json-schema': ['github.com/devopsfaith/krakend-jsonschema'],
  'modifier/martian': ['github.com/devopsfaith/krakend-martian'],
  'backend/http': ['github.com/devopsfaith/krakend/http'],
  proxy: ['github.com/devopsfaith/krakend/proxy']
}

/** Whether an entry of `extra_config` only watches, or is about KrakenD itself. */
export const isObserver = (name: string): boolean =>
  /^telemetry\/|^router$|^server\/|krakend-(?:metrics|gologging|logstash|opencensus|influx|gelf|jaeger)|luraproject\/lura\/router/.test(
    name
  )

/** Whether an entry of `extra_config` is about the documentation of KrakenD, and does nothing. */
export const isDocumentation = (name: string): boolean => /^documentation\//.test(name)

/** Entries of an `extra_config` by their names of version 3. */
export function extraOf(node: SourceNode): ReadonlyMap<string, SourceNode> {
  const extra = node.get('extra_config')
  const nameOf = (written: string): string =>
    Object.entries(OLD).find(([, names]) => names.includes(written))?.[0] ?? written
  return new Map(extra.keys.map((written) => [nameOf(written), extra.get(written)]))
}

/** Returns a list of texts under its name of version 3 or 2. */
export const textsOf = (node: SourceNode, name: string, old: string): string[] =>
  node.get(name).exists ? node.get(name).texts : node.get(old).texts

/** Returns a duration of Go such as "1m30s" in milliseconds; undefined if it is none. */
export function goDuration(text: string | undefined): number | undefined {
  if (text === undefined || !/^(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|s|m|h))+$/.test(text)) return undefined
  const units: Record<string, number> = {
    ns: 1e-6,
    us: 1e-3,
    µs: 1e-3,
    ms: 1,
    s: 1000,
    m: 60_000,
    h: 3_600_000
  }
  let ms = 0
  for (const [, count, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h)/g))
    ms += Number(count) * (units[unit] ?? 0)
  return Math.round(ms)
}
