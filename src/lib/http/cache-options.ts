import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { isObject, type OptionFault, type Static } from '../schema.ts'
import { DurationOrNone, durationOrNone, EXPECTED, Size, TEMPLATE } from '../units.ts'
import { template, templateFaults } from '../values.ts'
import { HeaderName } from './header-options.ts'

const choice = <T extends string>(values: readonly T[], said: { default: T; description: string }) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], ...said })

const CACHE_DEFAULTS: {
  readonly vary: string[]
  readonly ignoreQuery: string[]
  readonly callers: 'never' | 'separate' | 'shared'
  readonly setCookie: 'never' | 'strip'
  readonly coalesce: boolean
  readonly tags: string[]
  readonly requestDirectives: boolean
  readonly maxEntry: string
} = {
  vary: [],
  ignoreQuery: [],
  callers: 'never',
  setCookie: 'never',
  coalesce: true,
  tags: [],
  requestDirectives: false,
  maxEntry: '1mb'
}

/** The options of a cache of responses. */
export const cacheOptions = Type.Object(
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
      default: CACHE_DEFAULTS.vary,
      maxItems: 16,
      description: 'Request headers that have entries of their own for each value, beside those of Vary.',
      examples: [['accept-language']]
    }),
    ignoreQuery: Type.Array(Type.String({ minLength: 1 }), {
      default: CACHE_DEFAULTS.ignoreQuery,
      description:
        'Query parameters that make no difference to the response, such as "utm_*"; "*" is any characters.',
      examples: [['utm_*']]
    }),
    callers: choice(['never', 'separate', 'shared'], {
      default: CACHE_DEFAULTS.callers,
      description:
        'Whether responses to authenticated callers are stored: never, separate (each caller has entries of its own) or shared (one entry for all).'
    }),
    setCookie: choice(['never', 'strip'], {
      default: CACHE_DEFAULTS.setCookie,
      description:
        'Whether a response that sets a cookie is stored: never, or strip (stored and served without its cookies).'
    }),
    coalesce: Type.Boolean({
      default: CACHE_DEFAULTS.coalesce,
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
        default: CACHE_DEFAULTS.tags,
        maxItems: 32,
        description:
          'Tags by which entries can be purged, beside those of the upstream’s Cache-Groups and Surrogate-Key.',
        examples: [['product-{params.id}']]
      }
    ),
    requestDirectives: Type.Boolean({
      default: CACHE_DEFAULTS.requestDirectives,
      description:
        'Whether clients can ask for a renewed response by Cache-Control (no-cache, max-age, min-fresh).'
    }),
    maxEntry: Size({
      positive: true,
      default: CACHE_DEFAULTS.maxEntry,
      description: 'The largest body that is stored; larger ones pass through.'
    })
  },
  {
    additionalProperties: false,
    description: 'Stores responses of the upstream and serves them again: a shared HTTP cache (RFC 9111).',
    examples: [{ ttl: '1m', staleIfError: '1h' }]
  }
)

export type CacheOptions = Static<typeof cacheOptions>

/** A cache as one of several options: true for one with its defaults. */
export type CacheOption = CacheOptions | boolean

/** Describes a cache as one of several options. */
export const cacheOption = Type.Unsafe<CacheOption>({
  anyOf: [{ type: 'boolean' }, cacheOptions],
  [EXPECTED]: 'true, false, or an object of options such as { "ttl": "30s" }',
  description: 'Stores its responses, like "cache" on a route; true takes the defaults.'
})

/** Expands such an option to all its options; undefined for no cache. */
export const cacheOptionsOf = (option: CacheOption | undefined): CacheOptions | undefined =>
  option === true ? CACHE_DEFAULTS : option === false ? undefined : option

/** Returns the errors of the options of a cache that their schema can't find. */
export function cacheFaults(options: CacheOptions): OptionFault[] {
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

/** Compiles the tags that a cache gives its entries; a tag with a missing value is left out. */
export function compileTags(texts: readonly string[]): (request: FastifyRequest) => string[] {
  const templates = texts.map((text) => template(text))
  return (request) =>
    templates
      .map((tag) => tag.renderWhole(request))
      .filter((tag) => tag !== undefined && tag !== '') as string[]
}

/** Returns whether options have a value that is new for each request, so that nothing stored is ever found. */
export const isNewEachTime = (options: unknown): boolean =>
  /\{requestId\}/.test(JSON.stringify(options) ?? '')

/** Returns whether every request of a route has a caller, by its options of "auth". */
export const requiresCaller = (auth: unknown): boolean =>
  isObject(auth) && auth['optional'] !== true && auth['mode'] !== 'report'
