import { Type } from '../../src/kit/index.ts'
import { tlsClientOptions } from '../../src/lib/http/tls-client.ts'
import { Duration, DurationOrNone } from '../../src/lib/units.ts'

export const timeouts = Type.Object(
  {
    connect: Duration({
      positive: true,
      default: '2s',
      description: 'How long a connection may take to open, TLS included.'
    }),
    headers: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long the head of an answer may take, from the last byte of the request on; by default "timeout", else 30s.'
      })
    ),
    body: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long a body may stand still between two bytes; an event stream may for ever. By default "timeout", else 60s.'
      })
    ),
    keepAlive: Duration({
      default: '30s',
      description: 'How long an idle connection is kept for the next request.'
    })
  },
  { additionalProperties: false, description: 'How long an upstream may take.', default: {} }
)

export const tls = Type.Object(tlsClientOptions, {
  additionalProperties: false,
  description: 'TLS towards the upstream.'
})

export const connections = Type.Object(
  {
    max: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'The most connections to one target at a time; without it there is no limit.'
      })
    ),
    pending: Type.Integer({
      default: 256,
      minimum: 0,
      description:
        'The most requests to one target that may wait where "max" connections are in use, in turns by client address; beyond them another target is asked, and the answer is 503 where none has room.'
    })
  },
  { additionalProperties: false, description: 'How many connections are opened.', default: {} }
)
