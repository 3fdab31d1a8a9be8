import { type Static, Type } from 'typebox'
import { Duration } from '../lib/units.ts'
import { CLOSED, expectedBody, expectedHeaders } from './expectation-schema.ts'
import { Headers } from './request-schema.ts'

const Status = Type.Union([
  Type.Integer({ minimum: 200, maximum: 599 }),
  Type.Literal(101),
  Type.Unsafe<'hang' | 'refuse' | 'cut'>({ type: 'string', enum: ['hang', 'refuse', 'cut'] })
])

const Answer = Type.Object(
  {
    status: Type.Unsafe<Static<typeof Status>>({
      ...Status,
      description:
        'The status, 101 to accept a WebSocket; or "hang" for no response, "refuse" for a refused connection, "cut" for one that closes early.',
      examples: [200]
    }),
    headers: Type.Optional(Headers),
    body: Type.Optional(
      Type.Unsafe<unknown>({
        description: 'The body: a text, or anything else, which is sent as JSON.',
        examples: [{ id: 1 }]
      })
    ),
    delay: Type.Optional(Duration({ description: 'How long until it comes.', examples: ['2s'] })),
    times: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'How often it is given; by default once, and the last one for ever.'
      })
    )
  },
  { ...CLOSED, description: 'One response of an upstream.' }
)

/** The schema of what upstreams answer. */
export const Upstreams = Type.Record(
  Type.String(),
  Type.Array(
    Type.Object(
      {
        when: Type.Optional(
          Type.Object(
            {
              method: Type.Optional(Type.String({ description: 'The method.' })),
              path: Type.Optional(
                Type.String({
                  description: 'The path; "*" is any text. One without "?" matches with any query.',
                  examples: ['/orders/*']
                })
              ),
              headers: Type.Optional(expectedHeaders('Headers of the request; null for one that is absent.')),
              body: Type.Optional(expectedBody)
            },
            {
              ...CLOSED,
              description: 'Which requests it answers; by default all.',
              examples: [{ method: 'GET' }]
            }
          )
        ),
        answers: Type.Array(Answer, {
          minItems: 1,
          description: 'The responses in turn.',
          examples: [[{ status: 503, times: 2 }, { status: 200 }]]
        })
      },
      CLOSED
    )
  ),
  {
    description:
      'What each upstream answers, by its name or URL: the first entry whose "when" holds. Requests that nothing answers fail the test.',
    examples: [{ orders: [{ answers: [{ status: 200, body: { id: 1 } }] }] }]
  }
)

/** What the upstreams answer, by name. */
export type ScriptedUpstreams = Static<typeof Upstreams>
