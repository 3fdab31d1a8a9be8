import { close } from '../../close.ts'
import type { JsonObject } from '../../json.ts'
import type { SourceNode } from '../../source-node.ts'
import type { Translation } from '../../translation.ts'
import { literal } from '../../values.ts'
import type { Plugin } from '../source.ts'

const WINDOWS: readonly (readonly [key: string, window: string])[] = [
  ['second', '1s'],
  ['minute', '1m'],
  ['hour', '1h'],
  ['day', '1d'],
  ['month', '30d'],
  ['year', '365d']
]

/** Returns whether a plugin limits rates. */
export const isRateLimit = (name: string): boolean =>
  name === 'rate-limiting' || name === 'rate-limiting-advanced'

/** Translates a limit into `rateLimit` of the place where it counts; closes the routes if it can't be said. */
export function addRateLimit(
  plugin: Plugin,
  place: JsonObject,
  routes: readonly JsonObject[],
  translation: Translation
): void {
  const { config, node } = plugin
  const key = keyOf(config)
  // Each route has a count of its own by this key, and Kong one for all.
  const by = key === 'route' && routes.length > 1 ? undefined : key
  const windows = windowsOf(config)
  if (by === undefined || windows.length === 0) {
    for (const route of routes)
      close(
        translation,
        route,
        node.line,
        `${plugin.name} by ${config.get('limit_by').text ?? config.get('identifier').text ?? 'consumer'}`
      )
    return
  }
  const [first, ...others] = windows
  const options: JsonObject = { ...first?.quota, by }
  if (others.length > 0)
    options['also'] = Object.fromEntries(others.map(({ name, quota }) => [name, { ...quota, by }]))
  if (config.get('fault_tolerant').flag === false) options['onStoreFailure'] = 'deny'
  place['rateLimit'] = options
  translation.done()
  if (config.get('policy').text === 'redis' || config.get('strategy').text === 'redis')
    addStore(config, translation)
}

function keyOf(config: SourceNode): string | undefined {
  switch (config.get('limit_by').text ?? config.get('identifier').text ?? 'consumer') {
    case 'consumer':
    case 'credential':
      return 'caller'
    case 'ip':
      return 'ip'
    case 'header':
      return `header:${literal(config.get('header_name').text ?? '')}`
    case 'service':
      return 'route'
    default:
      return undefined
  }
}

interface Window {
  readonly name: string
  readonly quota: JsonObject
}

function windowsOf(config: SourceNode): Window[] {
  const sizes = config.get('window_size').items
  if (sizes.length > 0)
    return sizes.flatMap((size, i) => {
      const max = config.get('limit').items[i]?.number
      const algorithm = config.get('window_type').text === 'fixed' ? 'fixedWindow' : 'slidingWindow'
      return max === undefined || size.number === undefined
        ? []
        : [{ name: `window${i + 1}`, quota: { max, window: `${size.number}s`, algorithm } }]
    })
  return WINDOWS.flatMap(([name, window]) => {
    const max = config.get(name).number
    return max === undefined ? [] : [{ name, quota: { max, window } }]
  })
}

function addStore(config: SourceNode, translation: Translation): void {
  const redis = config.get('redis')
  const host = redis.get('host').text ?? config.get('redis_host').text ?? 'redis'
  const port = redis.get('port').text ?? config.get('redis_port').text ?? '6379'
  translation.config['store'] = { redis: translation.variable('REDIS_URL', 'redis://redis:6379') }
  translation.comment(
    translation.config,
    `REDIS_URL: redis://${host}:${port}, with the password if there is one`
  )
}
