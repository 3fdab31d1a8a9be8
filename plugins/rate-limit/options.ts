import { type About, type OptionFault, Type } from '../../src/kit/index.ts'
import { STRATEGIES } from '../../src/lib/caller.ts'
import { AddressList } from '../../src/lib/http/address-lists.ts'
import { exemptFaults } from '../../src/lib/http/exempt-addresses.ts'
import { Statuses } from '../../src/lib/http/statuses.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import { Duration, EXPECTED } from '../../src/lib/units.ts'

const max = Type.Optional(
  Type.Integer({ minimum: 1, description: 'How many requests of one key are allowed in a window.' })
)
const burst = Type.Optional(
  Type.Integer({
    minimum: 1,
    description:
      'How many requests may come at once with the algorithm tokenBucket, "max" by default; the window algorithms always allow "max" at once.'
  })
)
const maxInFlight = Type.Optional(
  Type.Integer({ minimum: 1, description: 'How many requests of one key may be in flight at a time.' })
)
const cost = Type.Integer({
  default: 1,
  minimum: 1,
  description: 'How much of "max" one request uses.'
})
const window = Duration({
  positive: true,
  default: '1m',
  description: 'The time in which "max" requests are allowed.'
})

const tier = Type.Object(
  {
    max,
    window: Type.Optional(
      Duration({
        positive: true,
        description: 'The time in which "max" requests of this tier are allowed.',
        examples: ['1m']
      })
    ),
    burst,
    maxInFlight
  },
  {
    additionalProperties: false,
    description: 'The quota of callers with this role, in place of the default.'
  }
)

const quota = {
  max,
  window,
  by: Type.String({
    default: 'ip',
    pattern: `^(ip|caller|${STRATEGIES.join('|')}|caller\\.claims\\.[^\\s]+|route|header:[A-Za-z0-9-]+|cookie:[\\w.-]+|query:[^\\s]+)$`,
    [EXPECTED]: `"ip", "caller", "caller.claims.NAME", a strategy such as "apiKeys", "route", "header:NAME", "cookie:NAME" or "query:NAME"`,
    description:
      'What requests are counted by: ip (an IPv6 client is its /64), caller, a strategy of auth such as apiKeys (the caller whom it has found, beside another one), caller.claims.NAME (such as a tenant; a caller without the claim is counted alone), route, header:NAME, cookie:NAME or query:NAME.'
  }),
  algorithm: Type.Unsafe<'fixedWindow' | 'slidingWindow' | 'tokenBucket'>({
    type: 'string',
    enum: ['fixedWindow', 'slidingWindow', 'tokenBucket'],
    default: 'fixedWindow',
    description:
      'How requests are counted: in windows that begin with a first request, over a sliding window, or by a token bucket.'
  }),
  burst,
  maxInFlight,
  cost,
  count: Type.Optional(
    Statuses({
      description:
        'The statuses of the responses that count; by default every request counts, also a refused one.',
      examples: [['401', '403']]
    })
  ),
  tiers: Type.Record(Type.String({ minLength: 1 }), tier, {
    default: {},
    description:
      'Quotas for callers with a role, by the name of the role; with several roles the largest applies. Where "by" names a strategy, its caller is meant.',
    examples: [{ gold: { max: 1000 } }]
  })
}

const also = Type.Object(quota, {
  additionalProperties: false,
  description: 'An additional limit; a request must be within all of them.'
})

export const options = Type.Object(
  {
    ...gate,
    ...quota,
    also: Type.Record(
      Type.String({
        pattern: '^[a-z][a-zA-Z0-9_-]*$',
        [EXPECTED]: 'a name of letters, digits, "_" and "-" that begins with a lower-case letter'
      }),
      also,
      {
        additionalProperties: false,
        default: {},
        description: 'Additional limits by name, such as one per day beside one per second.',
        examples: [{ day: { max: 10000, window: '1d' } }]
      }
    ),
    exempt: AddressList({
      default: [],
      description:
        'Addresses that none of these limits count or refuse: addresses, CIDR ranges, "loopback", "private" or "file:NAME".',
      examples: [['203.0.113.0/24']]
    }),
    onStoreFailure: Type.Unsafe<'allow' | 'deny'>({
      type: 'string',
      enum: ['allow', 'deny'],
      default: 'allow',
      description:
        'What happens while the shared store is unavailable: allow lets requests through uncounted, deny responds with 503.'
    })
  },
  {
    additionalProperties: false,
    description: 'Limits the rate of requests by client; each place that sets it has its own count.',
    examples: [{ max: 100, window: '1m' }]
  }
)

export const override = overrideOf(options)
export type RateLimitOptions = Static<typeof options>
export type QuotaOptions = Static<typeof also>

/** Finds what the schema can't check: a limit without a maximum, a cost over the capacity, and exempt addresses that are none. */
export function faults(options: RateLimitOptions, { trustedProxies }: About): OptionFault[] {
  return [
    ...quotaFaults(options, []),
    ...exemptFaults(options.exempt, trustedProxies),
    ...Object.entries(options.also).flatMap(([name, quota]) => [
      ...(name === 'default'
        ? [
            {
              path: ['also', name],
              message: '"default" is the name of the main limit; choose another name'
            }
          ]
        : []),
      ...quotaFaults(quota, ['also', name])
    ])
  ]
}

function quotaFaults(options: QuotaOptions, path: readonly string[]): OptionFault[] {
  const list: OptionFault[] = []
  if (options.max === undefined && options.maxInFlight === undefined)
    list.push({ path, message: 'expected "max" or "maxInFlight", got neither' })
  list.push(...costFaults(options, [...path, 'cost']))
  for (const [role, tier] of Object.entries(options.tiers))
    list.push(...costFaults({ ...options, ...tier }, [...path, 'tiers', role]))
  return list
}

function costFaults(
  { max = Number.POSITIVE_INFINITY, burst, cost, algorithm }: QuotaOptions,
  path: readonly string[]
): OptionFault[] {
  const capacity = algorithm === 'tokenBucket' ? (burst ?? max) : max
  if (cost <= capacity) return []
  return [
    {
      path,
      message: `expected at most ${capacity}, got a cost of ${cost}, which is never allowed; lower it, or raise "${algorithm === 'tokenBucket' && burst !== undefined ? 'burst' : 'max'}"`
    }
  ]
}
