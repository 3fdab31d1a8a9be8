import {
  type DescribedResponse,
  type Description,
  describeRefusal,
  RETRY_AFTER
} from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { UpstreamFailed, UpstreamTimeout, UpstreamUnavailable } from '../../src/lib/upstream-errors.ts'
import { FALLBACK_STATUS } from './fallback.ts'
import type { ProxyOptions } from './options.ts'
import { OriginNotAllowed } from './refusals.ts'

/** Describes what the gateway knows of the responses of an upstream: that there are some, and how their absence is told. */
export function describes({ fallback, websocket }: ProxyOptions): Description {
  const checksOrigin = isObject(websocket) && websocket.origins !== undefined
  return {
    body: { content: { '*/*': {} } },
    responses: {
      default: { description: 'The response of the service.' },
      ...(fallback === undefined ? {} : { [fallback.status ?? FALLBACK_STATUS]: fallbackResponse(fallback) })
    },
    refusals: [
      ...(checksOrigin ? [describeRefusal(OriginNotAllowed)] : []),
      ...(fallback === undefined
        ? [
            describeRefusal(UpstreamFailed),
            describeRefusal(UpstreamUnavailable, { headers: RETRY_AFTER }),
            describeRefusal(UpstreamTimeout)
          ]
        : [])
    ]
  }
}

function fallbackResponse({ body }: NonNullable<ProxyOptions['fallback']>): DescribedResponse {
  const description = 'The service does not respond.'
  if (body === undefined) return { description }
  return {
    description,
    content: typeof body === 'string' ? { 'text/plain': { type: 'string' } } : { 'application/json': {} }
  }
}
