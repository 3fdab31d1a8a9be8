import { Type } from '../../src/kit/index.ts'
import { tlsClientOptions } from '../../src/lib/http/tls-client.ts'
import { Duration, DurationOrNone } from '../../src/lib/units.ts'

export const timeouts = Type.Object(
  {
    connect: Duration({
      positive: true,
      default: '2s',
      description: 'The time limit for opening a connection, including TLS.'
    }),
    headers: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'The time limit from the last byte of the request to the response headers; by default "timeout", else 30s.',
        examples: ['10s']
      })
    ),
    body: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long a response body may be idle between two bytes; event streams have no limit. By default "timeout", else 60s.',
        examples: ['60s']
      })
    ),
    keepAlive: Duration({
      default: '30s',
      description: 'How long an idle connection is kept open.'
    })
  },
  {
    additionalProperties: false,
    description: 'Time limits of the upstream.',
    examples: [{ connect: '2s', headers: '10s' }],
    default: {}
  }
)

export const tls = Type.Object(tlsClientOptions, {
  additionalProperties: false,
  description: 'TLS settings for the connections to the upstream.',
  examples: [{ ca: 'internal-ca.pem' }]
})

export const connections = Type.Object(
  {
    max: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'The maximum number of connections to one target; by default there is no limit.'
      })
    ),
    pending: Type.Integer({
      default: 256,
      minimum: 0,
      description:
        'The maximum number of requests that may wait for one of the "max" connections to a target, served by client address in turn; further requests go to another target, or get a 503.'
    })
  },
  {
    additionalProperties: false,
    description: 'Limits of the connections to each target.',
    examples: [{ max: 128, pending: 256 }],
    default: {}
  }
)
