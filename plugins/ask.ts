import type { FastifyRequest } from 'fastify'
import type { Comparison, OptionChange } from '../src/kit/concern.ts'
import {
  type About,
  createError,
  type Description,
  describeRefusal,
  fp,
  type OptionFault,
  perOptions,
  RETRY_AFTER,
  Type
} from '../src/kit/index.ts'
import {
  makeServiceQuestion,
  questionHeaderFaults,
  questionHeaders,
  type ServiceResponse
} from '../src/lib/ask-service.ts'
import { settleCallback } from '../src/lib/callback.ts'
import { isSame } from '../src/lib/compare-options.ts'
import { upstreamFault } from '../src/lib/http/upstream-names.ts'
import { type Refusal, withHeaders } from '../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration } from '../src/lib/units.ts'

export const key = 'ask'

export const options = Type.Object(
  {
    ...gate,
    upstream: Type.String({
      minLength: 1,
      description: 'The service that is asked: a name from "upstreams", or a URL.'
    }),
    path: Type.String({ default: '/', pattern: '^/', description: 'The path that is requested there.' }),
    timeout: Duration({ positive: true, default: '1s', description: 'How long the response may take.' }),
    headers: questionHeaders,
    onFailure: Type.Unsafe<'allow' | 'deny'>({
      type: 'string',
      enum: ['allow', 'deny'],
      default: 'deny',
      description:
        'What happens if the service does not respond in time, or with a status that is no decision: allow lets requests through, deny responds with 503.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Asks a service whether a request may pass, before any session is read: a 2xx lets it through, a 401, 403, 429 or redirect is sent to the client.',
    examples: [{ upstream: 'crowdsec', path: '/check' }]
  }
)

export const override = overrideOf(options)
export type AskOptions = Static<typeof options>

/** Lists the errors that the schema cannot express. */
export function faults({ upstream, headers }: AskOptions, { upstreams }: About): OptionFault[] {
  const message = upstreamFault(upstream, upstreams)
  return [
    ...(message === undefined ? [] : [{ path: ['upstream'], message }]),
    ...questionHeaderFaults(headers)
  ]
}

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  asks: ({ upstream }: AskOptions) => [upstream],
  changes(before: AskOptions, after: AskOptions, { destination }) {
    const found: OptionChange[] = []
    if (destination('before', before.upstream) !== destination('after', after.upstream))
      found.push({
        class: 'widened-access',
        path: ['upstream'],
        message: 'trusts others: another service decides'
      })
    for (const name of ['path', 'headers'] as const)
      if (!isSame(before[name], after[name]))
        found.push({
          class: 'widened-access',
          path: [name],
          message: "asks the service otherwise, and it can't be decided what it answers"
        })
    if (before.onFailure !== after.onFailure)
      found.push(
        after.onFailure === 'allow'
          ? {
              class: 'widened-access',
              path: ['onFailure'],
              message: 'lets requests through while the service fails'
            }
          : {
              class: 'narrowed-access',
              path: ['onFailure'],
              message: 'refuses requests while the service fails'
            }
      )
    if (before.timeout !== after.timeout)
      found.push({ class: 'timing', path: ['timeout'], message: 'waits another time for the service' })
    return found
  }
}

/** The service refused the request; the client gets its response. */
export const AskRefused = createError('SP_ERR_ASK_REFUSED', 'Forbidden by the service that was asked', 403)
/** The service did not decide: no response in time, or a status that is no decision. */
export const AskUnavailable = createError(
  'SP_ERR_ASK_UNAVAILABLE',
  'Service unavailable: the service that decides about requests did not respond',
  503
)

export const describes = ({ onFailure }: AskOptions): Description => ({
  refusals: [
    describeRefusal(AskRefused),
    ...(onFailure === 'deny' ? [describeRefusal(AskUnavailable, { headers: RETRY_AFTER })] : [])
  ]
})

export default fp<AskOptions>(
  async function ask(app, root) {
    perOptions(app, key, root, (options) => {
      const question = makeServiceQuestion(app, options)
      return {
        onRequest(request, _reply, done) {
          settleCallback<Refusal | undefined>(decide(request), (error, refusal) =>
            done((error as Error | null) ?? refusal)
          )
        }
      }

      /** Asks the service; resolves to the refusal, or undefined to let the request through. */
      async function decide(request: FastifyRequest): Promise<Refusal | undefined> {
        try {
          const response = await question(request)
          const { statusCode } = response
          if (statusCode >= 200 && statusCode < 300) return undefined
          if (isRefusal(statusCode)) return refusalBy(response)
          app.log.warn({ upstream: options.upstream, status: statusCode }, 'ask service gave no decision')
        } catch (error) {
          const cause = (error as { code?: string }).code ?? (error as Error).name
          app.log.warn({ upstream: options.upstream, cause }, 'ask service unavailable')
        }
        return options.onFailure === 'allow'
          ? undefined
          : withHeaders(new AskUnavailable(), { 'retry-after': '1' })
      }
    })
  },
  { name: key, fastify: '5.x', dependencies: ['upstreams'] }
)

const REFUSALS: ReadonlySet<number> = new Set([401, 403, 429])

// A 304 answers a condition, and the question has none.
const isRefusal = (status: number): boolean =>
  REFUSALS.has(status) || (status >= 300 && status < 400 && status !== 304)

function refusalBy({ statusCode, forClient, body }: ServiceResponse): Refusal {
  const refusal: Refusal = new AskRefused()
  refusal.statusCode = statusCode
  refusal.instead = { headers: forClient, body }
  return refusal
}
