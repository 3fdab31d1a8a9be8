import { Type } from 'typebox'
import type { RetryPolicy } from './contracts/upstream.ts'
import { ERROR_STATUS, type StatusOption, statusMatcher } from './http/statuses.ts'
import type { Static } from './schema.ts'
import {
  Duration,
  DurationOrNone,
  duration,
  durationOrNone,
  EXPECTED,
  Share,
  SizeOrNone,
  share,
  sizeOrNone
} from './units.ts'

export const retry = Type.Object(
  {
    attempts: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 10,
      description: 'The maximum number of attempts, including the first.'
    }),
    on: Type.Array(
      Type.Unsafe<StatusOption>({
        anyOf: [
          { type: 'string', pattern: `^(connect|reset|timeout)$|${ERROR_STATUS}` },
          { type: 'integer', minimum: 400, maximum: 599 }
        ],
        [EXPECTED]: '"connect", "reset", "timeout" or an error status such as 503, "5xx" or "502-504"'
      }),
      {
        default: ['connect', 'reset', '502', '503'],
        description:
          'What is retried: a failed connection, a connection closed before the response, no response in time, or these statuses.'
      }
    ),
    methods: Type.Optional(
      Type.Array(
        Type.String({
          pattern: '^[A-Z][A-Z-]*$',
          [EXPECTED]: 'a method in upper case such as "POST"'
        }),
        {
          minItems: 1,
          description:
            'The methods that are retried; by default the idempotent ones. Name POST only if the upstream may execute a request twice.',
          examples: [['GET', 'POST']]
        }
      )
    ),
    wait: DurationOrNone({
      positive: true,
      default: false,
      description:
        'How long a request of any method waits for a target to come up: while connections are refused, or no target is healthy. It counts as no attempt.',
      examples: ['5s']
    }),
    budget: Share({
      default: '20%',
      description:
        'The maximum share of the requests in flight to an upstream that may be retries; three are always allowed.'
    }),
    backoff: Duration({
      default: '50ms',
      description: 'The maximum wait before the first retry; it doubles for each further one.'
    }),
    maxBody: SizeOrNone({
      default: '64kb',
      description:
        'The maximum size of a body that is kept for a retry; requests with a larger one are not retried.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Retries requests, by default with idempotent methods, before a byte was sent to the client.',
    examples: [{ attempts: 3 }]
  }
)

export const hedge = Type.Object(
  {
    after: Duration({
      default: '200ms',
      description: 'How long to wait for a response before the request is sent to a second target.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Sends the request to a second target if the first is slow, and uses the response that comes first; within the budget of "retry".',
    examples: [{ after: '100ms' }]
  }
)

export type RetryOptions = Static<typeof retry>
export type HedgeOptions = Static<typeof hedge>

// What is retried without a response.
const REASONS = new Set<StatusOption>(['connect', 'reset', 'timeout'])

const MAX_BACKOFF_DOUBLINGS = 6

/** Compiles the retry policy of a route. */
export function makeRetry(options: RetryOptions): RetryPolicy {
  const { attempts, on, methods, wait, budget, backoff, maxBody } = options
  const reasons = new Set(on.filter((each) => REASONS.has(each)))
  const isRetryableStatus = statusMatcher(on.filter((each) => !REASONS.has(each)))
  const allowed = methods === undefined ? undefined : new Set(methods)
  const base = duration(backoff)
  return {
    attempts,
    budget: share(budget),
    maxBody: sizeOrNone(maxBody),
    wait: durationOrNone(wait) ?? 0,
    allows: ({ method, idempotent }) => allowed?.has(method) ?? idempotent,
    isRetryable: (reason) => reasons.has(reason) || isRetryableStatus(Number(reason)),
    // Full jitter spreads retries that failed together (M. Brooker, "Exponential Backoff and Jitter", 2015).
    backoff: (attempts) => Math.random() * base * 2 ** Math.min(attempts - 1, MAX_BACKOFF_DOUBLINGS)
  }
}

// RFC 9110 section 9.2.2, RFC 4918 and RFC 5323.
const IDEMPOTENT_METHODS = new Set([
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

/** Returns whether a method is idempotent: a request may be executed twice. */
export const isIdempotent = (method: string): boolean => IDEMPOTENT_METHODS.has(method)
