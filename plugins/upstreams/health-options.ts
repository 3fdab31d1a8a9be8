import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, EXPECTED, Share } from '../../src/lib/units.ts'

export const health = Type.Object(
  {
    path: Type.String({
      default: '/',
      pattern: '^/[^\\s#]*$',
      [EXPECTED]: 'a path that begins with "/"',
      description: 'What every target is asked for; it stands for itself, not behind the path of a URL.'
    }),
    every: Duration({ positive: true, default: '5s', description: 'How long to wait between two checks.' }),
    timeout: Duration({ positive: true, default: '2s', description: 'How long an answer may take.' }),
    status: Type.Array(Type.Integer({ minimum: 100, maximum: 599 }), {
      default: [200, 299],
      minItems: 2,
      maxItems: 2,
      description: 'The first and the last status that tell of health.'
    }),
    host: Type.Optional(Type.String({ description: "The Host to ask with; by default the target's." })),
    healthyAfter: Type.Integer({
      default: 2,
      minimum: 1,
      description: 'How many good answers in a row bring a target back.'
    }),
    unhealthyAfter: Type.Integer({
      default: 3,
      minimum: 1,
      description: 'How many bad answers in a row take a target out.'
    })
  },
  { additionalProperties: false, description: 'Asks every target by itself whether it is well.' }
)

export const eject = Type.Object(
  {
    failures: Type.Integer({
      default: 5,
      minimum: 1,
      description: 'How many requests in a row have to fail (no answer, or one from 500 on).'
    }),
    for: Duration({
      positive: true,
      default: '30s',
      description: 'How long a target stays out at first; each time in a row adds as much, up to ten times.'
    }),
    max: Share({
      default: '50%',
      description: 'The most targets that may be out at a time; one may be in any case.'
    }),
    panic: Share({
      default: '50%',
      description: 'Where fewer targets than this are well, all are used again: better some than none.'
    })
  },
  { additionalProperties: false, description: 'Takes a target out whose answers fail.' }
)

export const breaker = Type.Object(
  {
    failures: Share({
      default: '50%',
      description: 'The share of failures (no answer, or one from 500 on) that opens it.'
    }),
    of: Type.Integer({
      default: 20,
      minimum: 1,
      description: 'How many requests there have to be before it may open.'
    }),
    within: Duration({
      positive: true,
      default: '10s',
      description: 'The time that failures are counted over.'
    }),
    openFor: Duration({
      positive: true,
      default: '5s',
      description: 'How long no request is sent; then one alone tries whether it is well again.'
    })
  },
  {
    additionalProperties: false,
    description: 'Stops asking a target that mostly fails: a circuit breaker for each target.'
  }
)

export type HealthOptions = Static<typeof health>
export type EjectOptions = Static<typeof eject>
export type BreakerOptions = Static<typeof breaker>
