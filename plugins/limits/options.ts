import { Type } from '../../src/kit/index.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import { DurationOrNone, EXPECTED, RateOrNone, SizeOrNone } from '../../src/lib/units.ts'

export const options = Type.Object(
  {
    ...gate,
    body: SizeOrNone({
      default: '1mb',
      description:
        'The maximum size of a request body, counted while it streams; beyond it the response is 413.'
    }),
    headers: SizeOrNone({
      positive: true,
      default: '16kb',
      description: 'The maximum size of the request headers; beyond it the response is 431.'
    }),
    headerCount: Type.Unsafe<number | false>({
      anyOf: [{ type: 'integer', minimum: 1 }, { const: false }],
      [EXPECTED]: 'a number from 1, or false for none',
      default: 100,
      description: 'The maximum number of request headers; beyond it the response is 431.'
    }),
    url: SizeOrNone({
      positive: true,
      default: '8kb',
      description: 'The maximum length of the request target; beyond it the response is 414.'
    }),
    time: DurationOrNone({
      positive: true,
      default: '30s',
      description:
        'The time until the response headers are sent, all attempts included; it pauses only while the gateway waits for bytes from the client. After it the response is 504.'
    }),
    headerTime: DurationOrNone({
      positive: true,
      default: '10s',
      description:
        'The timeout for the request headers; at the root only, since the route is not known before.'
    }),
    bodyRate: RateOrNone({
      positive: true,
      default: '1kb/s',
      description:
        'The minimum rate of a request body, averaged over five seconds, once the gateway reads it; below it the response is 408.'
    }),
    responseRate: RateOrNone({
      positive: true,
      default: '1kb/s',
      description:
        'The minimum rate at which a client reads a response, averaged over "idle" while bytes are pending; below it the connection is closed. At the root only.'
    }),
    idle: DurationOrNone({
      positive: true,
      default: '60s',
      description:
        'How long a connection may be idle between requests, or a client may read no byte of its response; at the root only.'
    })
  },
  {
    additionalProperties: false,
    description: 'Limits of sizes, times and rates of a request.',
    examples: [{ body: '10mb', time: '1m' }]
  }
)

const { headerTime: _headerTime, idle: _idle, responseRate: _responseRate, ...onRoutes } = options.properties
export const override = overrideOf(
  Type.Object(onRoutes, {
    additionalProperties: false,
    description: 'Limits of sizes, times and rates of a request.',
    examples: [{ body: '10mb', time: '1m' }]
  })
)
export type LimitsOptions = Static<typeof options>
