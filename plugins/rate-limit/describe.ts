import { type Description, describeRefusal, RETRY_AFTER } from '../../src/kit/index.ts'
import { StoreUnavailable } from '../../src/lib/contracts/store.ts'
import { RateLimitExceeded, TooManyInFlight } from './count.ts'
import type { QuotaOptions, RateLimitOptions } from './options.ts'

const RATE_LIMIT_HEADERS = {
  RateLimit: {
    description: 'What is left of each limit: `"default";r=9;t=30` is 9 requests within the next 30 seconds.',
    schema: { type: 'string' }
  },
  'RateLimit-Policy': {
    description: 'Each limit: `"default";q=10;w=60` is 10 requests within 60 seconds.',
    schema: { type: 'string' }
  }
}

/** Describes the 429 of a limit, and the headers that tell what is left. */
export function describes(options: RateLimitOptions): Description {
  const limits = [options, ...Object.values(options.also)]
  const countsRate = limits.some(hasOption('max'))
  return {
    refusals: [
      ...(countsRate
        ? [describeRefusal(RateLimitExceeded, { headers: { ...RETRY_AFTER, ...RATE_LIMIT_HEADERS } })]
        : []),
      ...(limits.some(hasOption('maxInFlight'))
        ? [describeRefusal(TooManyInFlight, { headers: RETRY_AFTER })]
        : []),
      ...(options.onStoreFailure === 'deny'
        ? [describeRefusal(StoreUnavailable, { headers: RETRY_AFTER })]
        : [])
    ],
    responseHeaders: countsRate ? RATE_LIMIT_HEADERS : {}
  }
}

const hasOption =
  (name: 'max' | 'maxInFlight') =>
  ({ [name]: value, tiers }: QuotaOptions): boolean =>
    value !== undefined || Object.values(tiers).some((tier) => tier[name] !== undefined)
