import { type Static, type TUnsafe, Type } from 'typebox'
import { Duration, EXPECTED } from '../lib/units.ts'

const CLOSED = { additionalProperties: false } as const

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

const expectedHeaders = (description: string): TUnsafe<Readonly<Record<string, ExpectedHeader>>> =>
  Type.Unsafe<Readonly<Record<string, ExpectedHeader>>>({
    ...Type.Record(Type.String(), HeaderExpectation),
    description,
    examples: [{ 'content-type': { match: 'json' }, 'set-cookie': null }]
  })

const Headers = Type.Record(
  Type.String(),
  Type.Union([Type.String(), Type.Number(), Type.Array(Type.String())]),
  {
    description: 'Headers: each a text, or a list for several fields of one name.',
    examples: [{ accept: 'application/json' }]
  }
)

const expectedBody = Type.Unsafe<unknown>({
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

const Request = Type.Union(
  [
    Type.String({ pattern: '^[!-~]+ .', [EXPECTED]: 'a method and a URL such as "GET /orders/1"' }),
    Type.Object(
      {
        method: Type.Optional(Type.String({ minLength: 1, description: 'The method; by default GET.' })),
        url: Type.String({
          minLength: 1,
          description: 'The path and query as they are sent, or a URL with scheme and host.'
        }),
        headers: Type.Optional(Headers),
        body: Type.Optional(
          Type.Unsafe<unknown>({
            description: 'The body: a text, or anything else, which is sent as JSON.',
            examples: [{ id: 1 }]
          })
        ),
        from: Type.Optional(
          Type.String({ description: 'The IP address of the client; by default 192.0.2.1.' })
        )
      },
      CLOSED
    )
  ],
  {
    description: 'The request: a method and a URL, or an object.',
    examples: ['GET /orders/1', { method: 'POST', url: '/orders', body: { id: 1 } }]
  }
)

const requestOptions = {
  request: Type.Optional(Request),
  as: Type.Optional(
    Type.Union([Type.String(), Type.Record(Type.String(), Type.String())], {
      description:
        'Who calls, a name of "callers": stands in for the strategy that "auth" tries first, or for each that is named.',
      examples: ['ada', { apiKeys: 'acme', jwt: 'ada' }]
    })
  ),
  sign: Type.Optional(
    Type.Union(
      [
        Type.String(),
        Type.Object(
          {
            caller: Type.String({ description: 'A name of "callers".' }),
            claims: Type.Optional(
              Type.Record(Type.String(), Type.Unknown(), { description: 'Claims of the token.' })
            ),
            from: Type.Optional(
              Type.String({
                pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
                [EXPECTED]: '"header:NAME" or "query:NAME"',
                description:
                  'Where the token is sent; by default the first header that "auth.jwt" reads, else the first parameter.'
              })
            )
          },
          CLOSED
        )
      ],
      {
        description:
          'Sends a token of this name of "callers", signed by a test key that stands in for every "jwks", and is accepted beside "keys".',
        examples: ['ada', { caller: 'ada', claims: { aud: 'other' } }]
      }
    )
  ),
  expect: Type.Optional(expectOptions)
}

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

const Upstreams = Type.Record(
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

const Step = Type.Object(
  {
    ...requestOptions,
    times: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100_000, description: 'How often the request is sent.' })
    ),
    wait: Type.Optional(
      Duration({ description: 'Moves the clock on, and with it all timers.', examples: ['1m'] })
    ),
    purge: Type.Optional(
      Type.Unsafe<unknown>({
        type: 'object',
        description: 'What to purge from the cache, as the body of POST /cache/purge on the admin listener.',
        examples: [{ tags: ['product-7'] }]
      })
    ),
    reload: Type.Optional(
      Type.String({ minLength: 1, description: 'A config to reload with, relative to this file.' })
    )
  },
  { ...CLOSED, description: 'One step: a request, or one of "wait", "purge" and "reload".' }
)

const Test = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, description: 'Its name; by default the request.' })),
    ...requestOptions,
    upstreams: Type.Optional(Upstreams),
    steps: Type.Optional(
      Type.Array(Step, {
        minItems: 1,
        description: 'Requests in turn, which share counters, sessions and the cache.',
        examples: [
          [
            { request: 'GET /a', times: 3 },
            { request: 'GET /a', expect: { status: 429 } }
          ]
        ]
      })
    )
  },
  { ...CLOSED, description: 'One test: a request, or several steps.' }
)

/** The schema of a caller in `callers`. */
export const callerOptions = Type.Object(
  {
    id: Type.Optional(Type.String({ minLength: 1, description: 'Its id; by default its name here.' })),
    issuer: Type.Optional(Type.String({ description: 'Who vouches for the id.' })),
    name: Type.Optional(Type.String({ description: 'Its name.' })),
    email: Type.Optional(Type.String({ description: 'Its e-mail address.' })),
    roles: Type.Optional(Type.Array(Type.String(), { description: 'Its roles.', examples: [['staff']] })),
    scopes: Type.Optional(
      Type.Array(Type.String(), { description: 'Its scopes.', examples: [['orders:read']] })
    ),
    claims: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'Its other claims.',
        examples: [{ tenant: 'acme' }]
      })
    )
  },
  { ...CLOSED, description: 'A caller.' }
)

/** The schema of a file of tests. */
export const testFileOptions = Type.Object(
  {
    $schema: Type.Optional(Type.String({ description: 'The schema of this file, for editors.' })),
    config: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The config, relative to this file; by default the one of the same name beside it.',
        examples: ['gateway.json']
      })
    ),
    clock: Type.Optional(
      Type.String({
        pattern: '^\\d{4}-\\d\\d-\\d\\d(T\\d\\d:\\d\\d(:\\d\\d(\\.\\d+)?)?(Z|[+-]\\d\\d:\\d\\d))?$',
        [EXPECTED]: 'a date such as "2026-01-01T00:00:00Z"',
        description: 'The date at which each test begins.',
        default: '2026-01-01T00:00:00Z'
      })
    ),
    env: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        description: 'Variables that the config inserts, in place of those of the environment.',
        examples: [{ ORDERS_URL: 'http://orders.example' }]
      })
    ),
    callers: Type.Optional(
      Type.Record(Type.String(), callerOptions, {
        description: 'Callers by name, for "as" and "sign".',
        examples: [{ ada: { roles: ['staff'] } }]
      })
    ),
    upstreams: Type.Optional(Upstreams),
    tests: Type.Array(Test, {
      description: 'The tests; each begins with fresh counters, sessions and cache.',
      examples: [[{ request: 'GET /orders/1', expect: { status: 401 } }]]
    })
  },
  CLOSED
)

/** A file of tests. */
export type TestFile = Static<typeof testFileOptions>
/** What has to become of a request. */
export type Expectation = Static<typeof expectOptions>
/** What the request that an upstream got has to be. */
export type ExpectedCall = Static<typeof ExpectedCall>
/** A caller in a file of tests. */
export type WrittenCaller = Static<typeof callerOptions>
/** What a header has to be. */
export type ExpectedHeader = Static<typeof HeaderExpectation>
/** What the upstreams answer, by name. */
export type ScriptedUpstreams = Static<typeof Upstreams>
/** One step of a test. */
export type TestStep = Static<typeof Step>
/** One test as written. */
export type WrittenTest = Static<typeof Test>
/** A request as written. */
export type TestRequest = Static<typeof Request>
/** Headers as written. */
export type WrittenHeaders = Static<typeof Headers>
