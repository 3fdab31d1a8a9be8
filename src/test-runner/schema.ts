import { type Static, Type } from 'typebox'
import { Duration, EXPECTED } from '../lib/units.ts'
import { callerOptions } from './caller-schema.ts'
import { CLOSED } from './expectation-schema.ts'
import { requestOptions } from './request-schema.ts'
import { Upstreams } from './upstreams-schema.ts'

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
/** One step of a test. */
export type TestStep = Static<typeof Step>
/** One test as written. */
export type WrittenTest = Static<typeof Test>
