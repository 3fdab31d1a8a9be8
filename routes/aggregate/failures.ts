import { createError } from '@fastify/error'
import { type StatusOption, statusMatcher } from '../../src/lib/http/statuses.ts'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'

/** Why a leg has failed. */
export interface LegFailure {
  readonly reason: 'timeout' | 'refused' | 'tls' | 'reset' | 'status' | 'size' | 'format' | 'open' | 'skipped'
  /** The status of its upstream, if that is the reason. */
  readonly status?: number
  /** Seconds until its upstream may be available again. */
  readonly retryAfter?: string | undefined
}

/** A leg ended without a usable response. */
export class CallFailed extends Error {
  readonly failure: LegFailure
  /** The headers of a response whose status is the reason. */
  readonly fields: readonly string[] | undefined

  constructor(failure: LegFailure, fields?: readonly string[]) {
    super(failure.reason)
    this.failure = failure
    this.fields = fields
  }
}

/** The client closed its connection before the response: no error can be sent. One for all, as each response is released with it. */
export const CLIENT_GONE: Error = new Error('The client closed the connection')

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

// For `Retry-After`, if the upstream does not know when it will be available.
const RETRY_AFTER_SECONDS = '5'

/** Returns the error for a required leg that has failed: 504 if time ran out, 503 if its upstream has no available target, else 502, or the status that `pass` lets through. */
export function legRefusal(name: string, failure: LegFailure, pass: readonly StatusOption[] = []): Refusal {
  const { reason, status, retryAfter = RETRY_AFTER_SECONDS } = failure
  const error: Refusal = new LegFailed(name, DESCRIPTIONS[reason])
  error.members = { leg: name, reason }
  if (status !== undefined && statusMatcher(pass)(status)) error.statusCode = status
  else if (reason === 'timeout') error.statusCode = 504
  else if (reason === 'open') {
    error.statusCode = 503
    return withHeaders(error, { 'retry-after': retryAfter })
  }
  return error
}

const DESCRIPTIONS: Readonly<Record<LegFailure['reason'], string>> = {
  timeout: 'the upstream did not respond in time',
  refused: 'the upstream could not be reached',
  tls: 'the upstream could not be reached over TLS',
  reset: 'the upstream closed the connection',
  status: 'the upstream responded with an error',
  size: 'the response is too large',
  format: 'the response has an unexpected format',
  open: 'the upstream has no available target',
  skipped: 'a value that it needs is missing'
}
