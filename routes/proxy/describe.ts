import {
  type DescribedResponse,
  type Description,
  describeRefusal,
  RETRY_AFTER
} from '../../src/kit/index.ts'
import { registeredStatuses } from '../../src/lib/http/statuses.ts'
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
      ...(fallback === undefined ? {} : fallbackResponses(fallback))
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

const ABSENT = 'The service does not respond.'
const REPLACED = 'The service responds with an error.'
const EITHER = 'The service does not respond, or responds with an error.'

type Fallback = NonNullable<ProxyOptions['fallback']>

/** Describes the fallback by its statuses: the one that is set, else those of the responses that it replaces, too. */
function fallbackResponses(fallback: Fallback): Record<number, DescribedResponse> {
  const { on = [], status } = fallback
  if (status !== undefined) return { [status]: fallbackResponse(fallback, on.length > 0 ? EITHER : ABSENT) }
  const replaced = registeredStatuses(on)
  const own = fallbackResponse(fallback, replaced.includes(FALLBACK_STATUS) ? EITHER : ABSENT)
  const each = replaced.map((code) => [code, fallbackResponse(fallback, REPLACED)])
  return { ...Object.fromEntries(each), [FALLBACK_STATUS]: own }
}

function fallbackResponse({ body }: Fallback, description: string): DescribedResponse {
  if (body === undefined) return { description }
  return {
    description,
    content: typeof body === 'string' ? { 'text/plain': { type: 'string' } } : { 'application/json': {} }
  }
}
