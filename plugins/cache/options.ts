import { type AboutRoute, defineWarning, type Warning } from '../../src/kit/index.ts'
import {
  type CacheOptions,
  cacheFaults,
  cacheOptions,
  isNewEachTime,
  requiresCaller
} from '../../src/lib/http/cache-options.ts'
import { isObject, overrideOf } from '../../src/lib/schema.ts'
import { durationOrNone, size } from '../../src/lib/units.ts'

export const options = cacheOptions
export const override = overrideOf(options)
export type { CacheOptions }
export { cacheFaults as faults }

// The share of the memory of a process that one entry may take, in bytes.
const LARGE_ENTRY = 16 * 1024 * 1024

// Their responses come from this gateway; there is no upstream to spare.
const NEVER_CACHED = ['respond', 'files', 'redirect']

const withoutEffect = defineWarning(
  'SP_WARN_CACHE_NO_EFFECT',
  'low',
  'A cache or an option of it that has no effect'
)
const sharedEntries = defineWarning(
  'SP_WARN_CACHE_SHARED',
  'high',
  'Responses to one caller are given to others'
)
const neverFound = defineWarning(
  'SP_WARN_CACHE_NEVER_FOUND',
  'low',
  'Responses are stored that no request finds'
)
const largeEntry = defineWarning(
  'SP_WARN_CACHE_LARGE_ENTRY',
  'low',
  'One entry can take the place of most others in the cache'
)

/** Warns of options that can't have an effect on a route. */
export function warnings(options: CacheOptions, { optionsOf, target, overrides }: AboutRoute): Warning[] {
  const { ttl, callers, maxEntry } = options
  if (NEVER_CACHED.includes(target))
    return overrides.includes('cache')
      ? [withoutEffect(`has a "cache" that has no effect on "${target}"; remove it from the route`, [])]
      : []
  const found: Warning[] = []
  if (ttl !== undefined && ttl !== false && isSet(options.override))
    found.push(
      withoutEffect(
        'has a cache "ttl" that can’t have an effect, because "override" replaces it; remove one of them',
        ['ttl']
      )
    )
  if (callers === 'never' && requiresCaller(optionsOf('auth')))
    found.push(
      withoutEffect(
        'stores nothing, because every request has a caller; set cache "callers" to "separate" or "shared", or "cache": false',
        []
      )
    )
  if (callers === 'shared' && isObject(optionsOf('auth')))
    found.push(
      sharedEntries(
        'gives what it stored for one caller to all others ("callers": "shared"); "separate" keeps entries of their own',
        ['callers']
      )
    )
  const renewed = Object.entries(optionsInKey(optionsOf)).filter(([, each]) => isNewEachTime(each))
  if (renewed.length > 0)
    found.push(
      neverFound(
        `stores responses that are never found, because {requestId} in ${renewed.map(([name]) => `"${name}"`).join(' and ')} is new for each request`
      )
    )
  if (size(maxEntry) > LARGE_ENTRY)
    found.push(
      largeEntry(`stores bodies up to ${maxEntry}, while all entries of a process share 64 MB`, ['maxEntry'])
    )
  return found
}

/** Returns the options whose values of the request are in the key, besides those of the target. */
const optionsInKey = (optionsOf: AboutRoute['optionsOf']): Readonly<Record<string, unknown>> => ({
  'headers.request': partOf(optionsOf('headers'), 'request'),
  query: optionsOf('query'),
  'transform.response': partOf(optionsOf('transform'), 'response')
})

const partOf = (options: unknown, part: string): unknown => (isObject(options) ? options[part] : undefined)

const isSet = (option: unknown): boolean => option !== undefined && option !== false

/** The options of a route in numbers: times in ms, sizes in bytes. */
export interface CachePolicy {
  readonly ttl: number | undefined
  readonly override: number | undefined
  readonly maxTtl: number | undefined
  readonly notFound: number | undefined
  /** undefined leaves it to the upstream; 0 for never. */
  readonly staleWhileRevalidate: number | undefined
  /** undefined leaves it to the upstream; 0 for never. */
  readonly staleIfError: number | undefined
  readonly stripsCookies: boolean
  readonly callers: CacheOptions['callers']
  readonly coalesce: boolean
  readonly requestDirectives: boolean
  readonly maxEntry: number
}

/** Compiles the options of a route. */
export const compilePolicy = (options: CacheOptions): CachePolicy => ({
  ttl: durationOrNone(options.ttl),
  override: durationOrNone(options.override),
  maxTtl: durationOrNone(options.maxTtl),
  notFound: durationOrNone(options.notFound),
  staleWhileRevalidate: windowOf(options.staleWhileRevalidate),
  staleIfError: windowOf(options.staleIfError),
  stripsCookies: options.setCookie === 'strip',
  callers: options.callers,
  coalesce: options.coalesce,
  requestDirectives: options.requestDirectives,
  maxEntry: size(options.maxEntry)
})

const windowOf = (option: string | false | undefined): number | undefined =>
  option === false ? 0 : durationOrNone(option)
