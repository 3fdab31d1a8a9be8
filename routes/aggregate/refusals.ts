import { createError } from '@fastify/error'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'
import type { LegFailure } from './leg.ts'

/** A required leg has failed. */
export const LegFailed = createError<[string, string]>(
  'SP_ERR_AGGREGATE_LEG',
  'The leg "%s" of the response failed: %s',
  502
)

/** The response would be larger than `maxTotal`. */
export const AnswerTooLarge = createError(
  'SP_ERR_AGGREGATE_SIZE',
  'Bad gateway: the response is larger than this route allows',
  502
)

/** The client's body is not JSON, but a leg uses a value of it. */
export const BodyNotJson = createError('SP_ERR_AGGREGATE_BODY', 'Malformed body: this route takes JSON', 400)

const RETRY_AFTER_SECONDS = '5'

/** Returns the error for a required leg that has failed: 504 if time ran out, 503 if its upstream has no available target, else 502, or the status that `pass` lets through. */
export function legRefusal(name: string, failure: LegFailure, pass: readonly number[] = []): Refusal {
  const { reason, status } = failure
  const error: Refusal = new LegFailed(name, DESCRIPTIONS[reason])
  error.statusCode =
    status !== undefined && pass.includes(status)
      ? status
      : reason === 'timeout'
        ? 504
        : reason === 'open'
          ? 503
          : 502
  error.members = { leg: name, reason }
  return reason === 'open'
    ? Object.assign(error, withHeaders(error, { 'retry-after': RETRY_AFTER_SECONDS }))
    : error
}

const DESCRIPTIONS: Readonly<Record<LegFailure['reason'], string>> = {
  timeout: 'the upstream did not respond in time',
  refused: 'the upstream could not be reached',
  reset: 'the upstream closed the connection',
  status: 'the upstream responded with an error',
  size: 'the response is too large',
  format: 'the response has an unexpected format',
  open: 'the upstream has no available target',
  skipped: 'a value that it needs is missing'
}
