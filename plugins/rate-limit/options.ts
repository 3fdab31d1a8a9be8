import { type OptionFault, Type } from '../../src/kit/index.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import { Duration, EXPECTED } from '../../src/lib/units.ts'

const max = Type.Optional(
  Type.Integer({ minimum: 1, description: 'How many requests of one key pass in a window.' })
)
const burst = Type.Optional(
  Type.Integer({
    minimum: 1,
    description:
      'How many may come at once where the algorithm is tokenBucket, "max" by default; a window lets "max" come at once anyway.'
  })
)
const maxInFlight = Type.Optional(
  Type.Integer({ minimum: 1, description: 'How many requests of one key may be under way at a time.' })
)
const cost = Type.Integer({
  default: 1,
  minimum: 1,
  description: 'How much one request takes of "max".'
})
const window = Duration({
  positive: true,
  default: '1m',
  description: 'The time in which "max" requests pass.'
})

const tier = Type.Object(
  {
    max,
    window: Type.Optional(
      Duration({ positive: true, description: 'The time in which "max" requests of this tier pass.' })
    ),
    burst,
    maxInFlight
  },
  { additionalProperties: false, description: 'What callers with this role get instead.' }
)

const quota = {
  max,
  window,
  by: Type.String({
    default: 'ip',
    pattern: '^(ip|caller|route|header:[A-Za-z0-9-]+|cookie:[\\w.-]+)$',
    [EXPECTED]: '"ip", "caller", "route", "header:NAME" or "cookie:NAME"',
    description: 'What is counted: ip (an IPv6 client is its /64), caller, route, header:NAME or cookie:NAME.'
  }),
  algorithm: Type.Unsafe<'fixedWindow' | 'slidingWindow' | 'tokenBucket'>({
    type: 'string',
    enum: ['fixedWindow', 'slidingWindow', 'tokenBucket'],
    default: 'fixedWindow',
    description:
      'How it is counted: in windows that begin with a first request, over the last window, or as tokens that come back steadily.'
  }),
  burst,
  maxInFlight,
  cost,
  tiers: Type.Record(Type.String({ minLength: 1 }), tier, {
    default: {},
    description: 'Other quotas for callers with a role, by its name; of several the largest holds.'
  })
}

const also = Type.Object(quota, {
  additionalProperties: false,
  description: 'One more limit; all of them must let a request through.'
})

export const options = Type.Object(
  {
    ...gate,
    ...quota,
    also: Type.Record(
      Type.String({ pattern: '^[a-z][a-zA-Z0-9_-]*$', [EXPECTED]: 'a name of letters' }),
      also,
      {
        default: {},
        description: 'Further limits by a name of theirs, such as one a day beside one a second.'
      }
    ),
    onStoreFailure: Type.Unsafe<'allow' | 'deny'>({
      type: 'string',
      enum: ['allow', 'deny'],
      default: 'allow',
      description:
        'What happens while the shared store is away: allow lets requests through uncounted, deny answers 503.'
    })
  },
  {
    additionalProperties: false,
    description: 'How often one and the same client may come; the count is kept where the word was written.'
  }
)

export const override = overrideOf(options)
export type RateLimitOptions = Static<typeof options>
export type QuotaOptions = Static<typeof also>

/** Tells what is wrong that the schema can't say: a limit that limits nothing, a cost that never passes. */
export function faults(said: RateLimitOptions): OptionFault[] {
  return [
    ...quotaFaults(said, []),
    ...Object.entries(said.also).flatMap(([name, more]) => [
      ...(name === 'default'
        ? [
            {
              path: ['also', name],
              message: '"default" is what the limit itself is called; take another name'
            }
          ]
        : []),
      ...quotaFaults(more, ['also', name])
    ])
  ]
}

function quotaFaults(said: QuotaOptions, path: readonly string[]): OptionFault[] {
  const found: OptionFault[] = []
  if (said.max === undefined && said.maxInFlight === undefined)
    found.push({ path, message: '"max" is missing; a limit needs it, or "maxInFlight"' })
  found.push(...costFaults(said, [...path, 'cost']))
  for (const [role, tier] of Object.entries(said.tiers))
    found.push(...costFaults({ ...said, ...tier }, [...path, 'tiers', role]))
  return found
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
      message: `A request that costs ${cost} never passes where ${capacity} is the most; say less, or raise "${algorithm === 'tokenBucket' && burst !== undefined ? 'burst' : 'max'}"`
    }
  ]
}
