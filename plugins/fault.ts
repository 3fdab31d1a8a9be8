import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyError } from 'fastify'
import { createError, fp, perOptions, Type } from '../src/kit/index.ts'
import { withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration, Share, share } from '../src/lib/units.ts'

export const key = 'fault'

export const options = Type.Object(
  {
    ...gate,
    delay: Type.Optional(Duration({ description: 'How long the requests wait that are chosen.' })),
    status: Type.Optional(
      Type.Integer({
        minimum: 400,
        maximum: 599,
        description: 'What they are answered with; without it they go on after the delay.'
      })
    ),
    share: Share({ default: '100%', description: 'The share of the requests that is chosen.' })
  },
  { additionalProperties: false, description: 'Makes requests slow or fail on purpose, for drills.' }
)

export const guardsAccess = false
export const override = overrideOf(options)
export type FaultOptions = Static<typeof options>

/** The config asks for this failure: it is a drill. */
export const FaultInjected = createError('SP_ERR_FAULT_INJECTED', 'This failure is a drill', 503)

// Where a refusal says to come back later, it says when, in seconds.
const RETRY_AFTER_SECONDS = '1'

export default fp<FaultOptions>(
  async function fault(app, root) {
    perOptions(app, key, root, ({ delay, status, share: part }) => {
      const ms = delay === undefined ? 0 : duration(delay)
      const chosen = share(part)
      return {
        async preHandler() {
          if (Math.random() >= chosen) return
          if (ms > 0) await wait(ms)
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
