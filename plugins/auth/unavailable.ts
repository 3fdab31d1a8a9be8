import { createError } from '../../src/kit/index.ts'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'

/** A service that authentication depends on does not respond: the provider, its keys, or a forward-auth service. */
export const AuthUnavailable = createError(
  'SP_ERR_AUTH_UNAVAILABLE',
  'Authentication service unavailable',
  503
)

/** Makes the 503 with its `Retry-After`, in seconds. */
export const authUnavailable = (retryAfter: number): Refusal =>
  withHeaders(new AuthUnavailable(), { 'retry-after': String(retryAfter) })
