import { type AboutRoute, type OptionFault, Type } from '../../src/kit/index.ts'
import { HeaderName } from '../../src/lib/http/header-options.ts'
import { isObject, overrideOf, type Static } from '../../src/lib/schema.ts'
import { DurationOrNone, durationOrNone, EXPECTED, Size, size, TEMPLATE } from '../../src/lib/units.ts'
import { templateFaults } from '../../src/lib/values.ts'

const choice = <T extends string>(values: readonly T[], said: { default: T; description: string }) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], ...said })

export const options = Type.Object(
  {
    ttl: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long a 200 response is fresh whose upstream does not say; it never loosens what the upstream says.',
        examples: ['1m']
      })
    ),
    override: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long responses are fresh whatever the upstream says, unless it says private or no-store, or sets a cookie.',
        examples: ['10m']
      })
    ),
    maxTtl: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'The longest time that a response is fresh, whatever the upstream says.',
        examples: ['1h']
      })
    ),
    notFound: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'How long a 404 or 410 response is fresh whose upstream does not say.',
        examples: ['10s']
      })
    ),
    vary: Type.Array(HeaderName, {
      default: [],
      maxItems: 16,
      description: 'Request headers that have entries of their own for each value, beside those of Vary.',
      examples: [['accept-language']]
    }),
    ignoreQuery: Type.Array(Type.String({ minLength: 1 }), {
      default: [],
      description:
        'Query parameters that make no difference to the response, such as "utm_*"; "*" is any characters.',
      examples: [['utm_*']]
    }),
    callers: choice(['never', 'separate', 'shared'], {
      default: 'never',
      description:
        'Whether responses to authenticated callers are stored: never, separate (each caller has entries of its own) or shared (one entry for all).'
    }),
    setCookie: choice(['never', 'strip'], {
      default: 'never',
      description:
        'Whether a response that sets a cookie is stored: never, or strip (stored and served without its cookies).'
    }),
    coalesce: Type.Boolean({
      default: true,
      description: 'Whether requests for the same entry wait for the first of them, and share its response.'
    }),
    staleWhileRevalidate: Type.Optional(
      DurationOrNone({
        description:
          'How long a stale response is served while one request renews it; the upstream’s own limit applies if it is shorter.',
        examples: ['30s']
      })
    ),
    staleIfError: Type.Optional(
      DurationOrNone({
        description:
          'How long a stale response is served where the upstream fails; the upstream’s own limit applies if it is shorter.',
        examples: ['1h']
      })
    ),
    tags: Type.Array(
      Type.Unsafe<string>({
        type: 'string',
        minLength: 1,
        [TEMPLATE]: true,
        [EXPECTED]: 'a text (with values such as "{params.id}")'
      }),
      {
        default: [],
        maxItems: 32,
        description:
          'Tags by which entries can be purged, beside those of the upstream’s Cache-Groups and Surrogate-Key.',
        examples: [['product-{params.id}']]
      }
    ),
    requestDirectives: Type.Boolean({
      default: false,
      description:
        'Whether clients can ask for a renewed response by Cache-Control (no-cache, max-age, min-fresh).'
    }),
    maxEntry: Size({
      positive: true,
      default: '1mb',
      description: 'The largest body that is stored; larger ones pass through.'
    })
  },
  {
    additionalProperties: false,
    description: 'Stores responses of the upstream and serves them again: a shared HTTP cache (RFC 9111).',
    examples: [{ ttl: '1m', staleIfError: '1h' }]
  }
)

export const override = overrideOf(options)
export type CacheOptions = Static<typeof options>

/** Finds what the schema can't check. */
export function faults(options: CacheOptions): OptionFault[] {
  const found = options.tags.flatMap((tag, i) => templateFaults(tag, ['tags', i]))
  const { ttl, maxTtl, override: overridden } = options
  const longest = durationOrNone(maxTtl)
  for (const [name, value] of Object.entries({ ttl, override: overridden })) {
    const time = durationOrNone(value)
    if (longest !== undefined && time !== undefined && time > longest)
      found.push({ path: [name], message: `expected at most "maxTtl" (${maxTtl}), got ${value}` })
  }
  if (options.vary.some((name) => name.toLowerCase() === 'cookie'))
    found.push({
      path: ['vary'],
      message: 'expected no "cookie", got an entry for each client; name the header that makes the difference'
    })
  return found
}

// The share of the memory of a process that one entry may take, in bytes.
const LARGE_ENTRY = 16 * 1024 * 1024

// Their responses come from this gateway; there is no upstream to spare.
const NEVER_CACHED = ['respond', 'files', 'redirect']

/** Warns of options that can't have an effect on a route. */
export function warnings(options: CacheOptions, { optionsOf, target, overrides }: AboutRoute): string[] {
  const { ttl, callers, maxEntry } = options
  if (NEVER_CACHED.includes(target))
    return overrides.includes('cache')
      ? [`has a "cache" that has no effect on "${target}"; remove it from the route`]
      : []
  const found: string[] = []
  if (ttl !== undefined && ttl !== false && isSet(options.override))
    found.push(
      'has a cache "ttl" that can’t have an effect, because "override" replaces it; remove one of them'
    )
  if (callers === 'never' && requiresCaller(optionsOf('auth')))
    found.push(
      'stores nothing, because every request has a caller; set cache "callers" to "separate" or "shared", or "cache": false'
    )
  if (size(maxEntry) > LARGE_ENTRY)
    found.push(`stores bodies up to ${maxEntry}, while all entries of a process share 64 MB`)
  return found
}

const isSet = (option: unknown): boolean => option !== undefined && option !== false

const requiresCaller = (auth: unknown): boolean => isObject(auth) && auth['optional'] !== true

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
