import { Type } from '../../src/kit/index.ts'
import type { RetryPolicy } from '../../src/lib/contracts/upstream.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration, EXPECTED, Share, SizeOrNone, share, sizeOrNone } from '../../src/lib/units.ts'

export const retry = Type.Object(
  {
    attempts: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 10,
      description: 'How many tries there are in all, the first included.'
    }),
    on: Type.Array(
      Type.String({
        pattern: '^(connect|reset|timeout|[45]\\d\\d)$',
        [EXPECTED]: '"connect", "reset", "timeout" or a status such as "503"'
      }),
      {
        default: ['connect', 'reset', '502', '503'],
        description:
          'What is tried again: no connection, one that was lost before the answer, no answer in time, or these statuses.'
      }
    ),
    budget: Share({
      default: '20%',
      description:
        'The share of the requests under way to an upstream that may be tries beyond the first; three may be in any case.'
    }),
    backoff: Duration({
      default: '50ms',
      description: 'How long to wait before the second try at most; each further one doubles it.'
    }),
    maxBody: SizeOrNone({
      default: '64kb',
      description: 'The largest body that is kept to be sent again; a larger one is sent once.'
    })
  },
  {
    additionalProperties: false,
    description: 'Tries again what is safe to repeat (idempotent methods), before a byte went to the client.'
  }
)

export const hedge = Type.Object(
  {
    after: Duration({
      default: '200ms',
      description: 'How long to wait for an answer before another target is asked as well.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Asks a second target where the first is slow, and takes the answer that comes first; the budget of "retry" holds.'
  }
)

export type RetryOptions = Static<typeof retry>
export type HedgeOptions = Static<typeof hedge>

// Waits double, but not for ever.
const MOST_DOUBLINGS = 6

/** Compiles when to try again. */
export function makeRetry({ attempts, on, budget, backoff, maxBody }: RetryOptions): RetryPolicy {
  const reasons = new Set(on)
  const base = duration(backoff)
  return {
    attempts,
    budget: share(budget),
    maxBody: sizeOrNone(maxBody),
    isRetryable: (reason) => reasons.has(reason),
    // Full jitter: many that failed at once do not come back at once (M. Brooker, "Exponential Backoff and Jitter", 2015).
    backoff: (tries) => Math.random() * base * 2 ** Math.min(tries - 1, MOST_DOUBLINGS)
  }
}

// Methods that may be sent again (RFC 9110 section 9.2.2, RFC 4918 and RFC 5323).
const IDEMPOTENT = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'PROPFIND',
  'REPORT',
  'SEARCH',
  'QUERY'
])

/** Tells whether a request of this method may be executed twice. */
export const isIdempotent = (method: string): boolean => IDEMPOTENT.has(method)
