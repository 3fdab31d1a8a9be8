import { Type } from '../../src/kit/index.ts'
import { Statuses, type StatusOption } from '../../src/lib/http/statuses.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, EXPECTED, Share } from '../../src/lib/units.ts'

export const health = Type.Object(
  {
    path: Type.String({
      default: '/',
      pattern: '^/[^\\s#]*$',
      [EXPECTED]: 'a path that begins with "/"',
      description: 'The path that checks request, used as it is even if the URL of the target has a path.'
    }),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'The port that checks connect to; by default that of the target.',
        examples: [8081]
      })
    ),
    every: Duration({ positive: true, default: '5s', description: 'The interval between two checks.' }),
    timeout: Duration({ positive: true, default: '2s', description: 'The time limit for a check.' }),
    status: Statuses({
      default: ['2xx'],
      description: 'The statuses that count as healthy; two numbers alone are a range.',
      examples: [['2xx', 404]]
    }),
    host: Type.Optional(
      Type.String({ description: 'The Host header of the checks; by default that of requests.' })
    ),
    healthyAfter: Type.Integer({
      default: 2,
      minimum: 1,
      description: 'How many passed checks in a row make a target healthy.'
    }),
    unhealthyAfter: Type.Integer({
      default: 3,
      minimum: 1,
      description: 'How many failed checks in a row make a target unhealthy.'
    })
  },
  {
    additionalProperties: false,
    description: 'Checks the health of every target periodically.',
    examples: [{ path: '/healthz', every: '5s' }]
  }
)

export const eject = Type.Object(
  {
    failures: Type.Integer({
      default: 5,
      minimum: 1,
      description: 'How many requests in a row must fail (no response, or a status of 500 or more).'
    }),
    for: Duration({
      positive: true,
      default: '30s',
      description:
        'How long a target is ejected the first time; each further time in a row adds as much, up to ten times.'
    }),
    max: Share({
      default: '50%',
      description: 'The maximum share of targets that may be ejected at a time; one always may.'
    }),
    panic: Share({
      default: '50%',
      description: 'If fewer targets than this are healthy, all are used again.'
    })
  },
  {
    additionalProperties: false,
    description: 'Ejects targets whose requests fail.',
    examples: [{ failures: 5, for: '30s' }]
  }
)

export const breaker = Type.Object(
  {
    failures: Share({
      default: '50%',
      description:
        'The share of failed requests (no response, or a status of 500 or more) that opens the circuit breaker.'
    }),
    of: Type.Integer({
      default: 20,
      minimum: 1,
      description: 'The minimum number of requests before it may open.'
    }),
    within: Duration({
      positive: true,
      default: '10s',
      description: 'The time window in which requests are counted.'
    }),
    openFor: Duration({
      positive: true,
      default: '5s',
      description: 'How long no request is sent; then a single request probes the target.'
    })
  },
  {
    additionalProperties: false,
    description: 'A circuit breaker for each target: stops sending requests to one that mostly fails.',
    examples: [{ failures: '50%', of: 20, within: '10s' }]
  }
)

/** Returns the statuses that count as healthy. Two numbers were the only form once, so they are still a range. */
export function healthyStatuses({ status }: HealthOptions): readonly StatusOption[] {
  const [first, last] = status
  return status.length === 2 && typeof first === 'number' && typeof last === 'number'
    ? [`${first}-${last}`]
    : status
}

export type HealthOptions = Static<typeof health>
export type EjectOptions = Static<typeof eject>
export type BreakerOptions = Static<typeof breaker>
