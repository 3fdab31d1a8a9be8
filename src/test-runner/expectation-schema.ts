import { type Static, type TUnsafe, Type } from 'typebox'

/** The options of a schema that has no other properties. */
export const CLOSED = { additionalProperties: false } as const

const Match = Type.Object(
  { match: Type.String({ description: 'A regular expression that a part of the value has to match.' }) },
  CLOSED
)

/** What a header has to be. */
const HeaderExpectation = Type.Union([
  Type.String(),
  Type.Number(),
  Type.Null(),
  Match,
  Type.Array(Type.String())
])

/** Makes the schema of the headers that a message has to have. */
export const expectedHeaders = (description: string): TUnsafe<Readonly<Record<string, ExpectedHeader>>> =>
  Type.Unsafe<Readonly<Record<string, ExpectedHeader>>>({
    ...Type.Record(Type.String(), HeaderExpectation),
    description,
    examples: [{ 'content-type': { match: 'json' }, 'set-cookie': null }]
  })

/** The schema of the body that a message has to have. */
export const expectedBody = Type.Unsafe<unknown>({
  description:
    'The body: a text, or JSON of which an object may have more members and a list may not; {"match": "…"} is a regular expression.',
  examples: [{ id: 1 }]
})

const ExpectedCall = Type.Object(
  {
    name: Type.Optional(Type.String({ description: 'The name of the upstream, or its URL.' })),
    method: Type.Optional(Type.String({ description: 'The method.' })),
    path: Type.Optional(
      Type.Union([Type.String(), Match], {
        description: 'The path, with the query.',
        examples: ['/v2/orders/1']
      })
    ),
    headers: Type.Optional(expectedHeaders('Headers of the request; null for one that is absent.')),
    body: Type.Optional(expectedBody)
  },
  { ...CLOSED, description: 'The request that an upstream got.' }
)

/** The schema of `expect`. */
export const expectOptions = Type.Object(
  {
    status: Type.Optional(
      Type.Integer({ minimum: 100, maximum: 999, description: 'The status of the response.' })
    ),
    headers: Type.Optional(expectedHeaders('Headers of the response; null for one that is absent.')),
    body: Type.Optional(expectedBody),
    code: Type.Optional(
      Type.Union([Type.String(), Type.Null()], {
        description: 'The code of the refusal; null for none.',
        examples: ['SP_ERR_AUTH_MISSING']
      })
    ),
    refusedBy: Type.Optional(
      Type.Union([Type.String(), Type.Null()], {
        description: 'The key of the gate that refused; null for none.',
        examples: ['auth']
      })
    ),
    limit: Type.Optional(
      Type.Union([Type.String(), Type.Null()], {
        description: 'The name of the limit that refused: one of "also", or "default"; null for none.',
        examples: ['default']
      })
    ),
    route: Type.Optional(
      Type.Union([Type.String(), Type.Null()], {
        description: 'The name of the route, by default its path; null where none matches.'
      })
    ),
    upstream: Type.Optional(
      Type.Union([ExpectedCall, Type.Null()], {
        description:
          'The request that the upstream got from the target of the route, the last one of several attempts; null for none.',
        examples: [{ name: 'orders', path: '/v2/orders/1' }]
      })
    ),
    upstreams: Type.Optional(
      Type.Record(Type.String(), Type.Union([ExpectedCall, Type.Array(ExpectedCall), Type.Null()]), {
        description:
          'The requests that upstreams got, by name, from legs, mirrors and gates too: one, a list of several, or null for none.',
        examples: [{ orders: { path: '/orders' }, offers: null }]
      })
    ),
    attempts: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'How many requests the upstreams got from the target of the route, retries included.'
      })
    )
  },
  { ...CLOSED, description: 'What has to become of the request; what it does not name may be anything.' }
)

/** What has to become of a request. */
export type Expectation = Static<typeof expectOptions>
/** What the request that an upstream got has to be. */
export type ExpectedCall = Static<typeof ExpectedCall>
/** What a header has to be. */
export type ExpectedHeader = Static<typeof HeaderExpectation>
