import type { FastifyError } from 'fastify'
import type { Comparison } from '../src/kit/concern.ts'
import { createError, type Description, describeRefusal, fp, perOptions, Type } from '../src/kit/index.ts'
import { waitFor } from '../src/lib/clock.ts'
import { limitChanges } from '../src/lib/compare-options.ts'
import { withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration, Share, share } from '../src/lib/units.ts'

export const key = 'fault'

export const options = Type.Object(
  {
    ...gate,
    delay: Type.Optional(
      Duration({ description: 'The delay of the affected requests.', examples: ['200ms'] })
    ),
    status: Type.Optional(
      Type.Integer({
        minimum: 400,
        maximum: 599,
        description: 'The status of the response; without it the requests continue after the delay.'
      })
    ),
    share: Share({ default: '100%', description: 'The share of affected requests.' })
  },
  {
    additionalProperties: false,
    description: 'Injects delays and errors, for tests of resilience.',
    examples: [{ delay: '200ms', status: 503, share: '5%' }]
  }
)

export const guardsAccess = false
export const override = overrideOf(options)
export type FaultOptions = Static<typeof options>

/** The config injected this error. */
export const FaultInjected = createError('SP_ERR_FAULT_INJECTED', 'Injected fault', 503)

export const describes = ({ status }: FaultOptions): Description =>
  status === undefined ? {} : { refusals: [{ ...describeRefusal(FaultInjected), status }] }

// The Retry-After of injected 503 and 429 responses.
const RETRY_AFTER_SECONDS = '1'

const shareOf = ({ share: written }: FaultOptions): number => share(written)

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  restricts: ({ status }: FaultOptions) => status !== undefined,
  changes: (before: FaultOptions, after: FaultOptions) =>
    limitChanges(['share'], -shareOf(before), -shareOf(after)),
  options: {
    delay: { class: 'timing', message: 'delays requests otherwise' },
    status: { class: 'exposure', message: 'injects another status' }
  }
}

export default fp<FaultOptions>(
  async function fault(app, root) {
    perOptions(app, key, root, ({ delay, status, share: configuredShare }) => {
      const ms = delay === undefined ? 0 : duration(delay)
      const faultShare = share(configuredShare)
      return {
        async preHandler() {
          if (Math.random() >= faultShare) return
          if (ms > 0) await waitFor(ms)
          if (status !== undefined) throw faultError(status)
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

function faultError(status: number): Error {
  const error = Object.assign(new FaultInjected(), { statusCode: status }) as FastifyError
  return status === 503 || status === 429 ? withHeaders(error, { 'retry-after': RETRY_AFTER_SECONDS }) : error
}
