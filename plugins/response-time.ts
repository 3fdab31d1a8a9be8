import type { Comparison } from '../src/kit/concern.ts'
import { fp, perOptions, Type } from '../src/kit/index.ts'
import { elapsed } from '../src/lib/http/response-end.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'

export const key = 'responseTime'

export const options = Type.Object(
  {
    serverTiming: Type.Boolean({
      default: true,
      description: 'Whether to send Server-Timing with the time of the gateway and of the upstream.'
    })
  },
  {
    additionalProperties: false,
    description: 'Sends the time until the response headers as X-Response-Time.',
    examples: [{ serverTiming: true }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export type ResponseTimeOptions = Static<typeof options>

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: { serverTiming: { class: 'exposure', message: 'tells clients times, or no longer' } },
  onOff: { class: 'exposure', message: 'tells clients the time of responses, or no longer' }
}

export default fp<ResponseTimeOptions>(
  async function responseTime(app, root) {
    perOptions(app, key, root, ({ serverTiming }) => ({
      onHead(request, _reply, head) {
        const ms = elapsed(request).toFixed(2)
        head.set('x-response-time', `${ms}ms`)
        if (!serverTiming) return
        const upstream =
          request.forwarding === null || request.forwarding.ms < 0
            ? ''
            : `, upstream;dur=${request.forwarding.ms.toFixed(2)}`
        head.set('server-timing', `gateway;dur=${ms}${upstream}`)
      }
    }))
  },
  { name: key, fastify: '5.x' }
)
