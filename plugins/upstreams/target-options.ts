import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, EXPECTED } from '../../src/lib/units.ts'

export const url = (description: string) =>
  Type.String({
    pattern: '^(https?://[^/?#\\s]+(/[^?#\\s]*)?|unix:/[^?#\\s]+)$',
    [EXPECTED]: 'a URL such as "http://10.0.0.9:4000" or "unix:/run/app.sock"',
    description,
    examples: ['http://10.0.0.9:4000']
  })

export const target = Type.Object(
  {
    url: url('Where the target listens.'),
    weight: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 1000,
      description: 'Its share of the requests, relative to the weights of the other targets.'
    }),
    backup: Type.Boolean({
      default: false,
      description: 'Whether it gets requests only while no other target is available.'
    })
  },
  { additionalProperties: false }
)

const NAME = '^[A-Za-z0-9_-]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?$'

export const discover = Type.Object(
  {
    dns: Type.Optional(
      Type.String({
        pattern: NAME,
        description: 'The name whose addresses (A and AAAA records) are the targets.',
        examples: ['orders.internal']
      })
    ),
    srv: Type.Optional(
      Type.String({
        pattern: NAME,
        description:
          'The name whose SRV records are the targets, with hosts, ports and weights; records of a lower priority are backups.',
        examples: ['_http._tcp.orders.internal']
      })
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'The port of the targets of "dns"; by default that of the scheme.'
      })
    ),
    scheme: Type.Unsafe<'http' | 'https'>({
      type: 'string',
      enum: ['http', 'https'],
      default: 'http',
      description: 'The scheme of the targets; with "https", their certificate must be valid for the name.'
    }),
    every: Duration({
      positive: true,
      default: '10s',
      description: 'How often the name is resolved; a shorter TTL of its records takes precedence.'
    }),
    server: Type.Optional(
      Type.String({
        pattern: '^(\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9a-fA-F:]+\\])(:\\d+)?$',
        [EXPECTED]: 'an address such as "127.0.0.1:8600"',
        description: "The DNS server to use, such as Consul's; by default the system's.",
        examples: ['127.0.0.1:8600']
      })
    )
  },
  {
    additionalProperties: false,
    description: 'Discovers the targets by DNS.',
    examples: [{ dns: 'orders.internal', port: 4001 }]
  }
)

export type DiscoverOptions = Static<typeof discover>
