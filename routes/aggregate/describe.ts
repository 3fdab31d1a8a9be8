import { type DescribedRefusal, type Description, describeRefusal, RETRY_AFTER } from '../../src/kit/index.ts'
import { formatOptionsOf } from '../../src/lib/body/format-options.ts'
import { registeredStatuses } from '../../src/lib/http/statuses.ts'
import { AnswerTooLarge, BodyNotJson, LegFailed } from './failures.ts'
import type { AggregateOptions } from './options.ts'
import { bodyUse } from './plan.ts'
import { responseSchema } from './response-schema.ts'

/** Describes the response that the legs make, and the errors if one of them fails. */
export function describes(options: AggregateOptions): Description {
  const { format, legs } = options
  const use = bodyUse(options)
  const schema = responseSchema(options)
  const types = format === undefined ? ['json' as const] : (formatOptionsOf(format).to ?? ['json' as const])
  const isPartial = Object.values(legs).some((leg) => !isRequired(leg))
  return {
    methods: ['GET'],
    ...(use === 'none' ? {} : { body: { content: { [use === 'json' ? 'application/json' : '*/*']: {} } } }),
    responses: {
      200: {
        description: 'The responses of several services as one.',
        ...(isPartial ? { headers: PARTIAL } : {}),
        content: Object.fromEntries(
          types.map((type) => (type === 'xml' ? ['application/xml', {}] : ['application/json', schema]))
        )
      }
    },
    refusals: [
      ...(use === 'json' ? [describeRefusal(BodyNotJson, { onlyFor: 'bodies' })] : []),
      ...legRefusals(legs),
      describeRefusal(AnswerTooLarge)
    ]
  }
}

const PARTIAL = {
  'Sallyport-Partial': {
    description: 'The parts that are missing, and why; absent if none is.',
    schema: { type: 'string' }
  }
}

const MEMBERS = {
  leg: { type: 'string', description: 'The part that failed.' },
  reason: { type: 'string', description: 'Why it failed.' }
}

type Legs = AggregateOptions['legs']

const isRequired = ({ required, fallback }: Legs[string]): boolean => required ?? fallback === undefined

function legRefusals(legs: Legs): DescribedRefusal[] {
  const required = Object.values(legs).filter(isRequired)
  if (required.length === 0) return []
  const failed = describeRefusal(LegFailed, { members: MEMBERS })
  const passed = new Set(required.flatMap(({ pass = [] }) => registeredStatuses(pass)))
  return [
    failed,
    { ...failed, status: 503, headers: RETRY_AFTER },
    { ...failed, status: 504 },
    ...[...passed].map((status) => ({ ...failed, status }))
  ]
}
