import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, DurationOrNone, EXPECTED, Size } from '../../src/lib/units.ts'
import { connections, timeouts, tls } from './connection-options.ts'
import { breaker, eject, health } from './health-options.ts'
import { discover, target, url } from './target-options.ts'

const sticky = Type.Object(
  {
    cookie: Type.String({
      default: 'lb',
      pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
      description: 'The cookie that names the target to a client; it tells nothing of its address.'
    }),
    maxAge: Type.Optional(
      Duration({ description: 'How long a browser keeps it; by default until it is closed.' })
    ),
    secret: Type.Optional(
      Type.String({
        minLength: 16,
        description:
          'What the name of a target is made with; several gateways say the same. By default each process has its own.'
      })
    )
  },
  { additionalProperties: false, description: 'Keeps a client at the target that it had first.' }
)

export const upstream = Type.Object(
  {
    url: Type.Optional(url('Where the one target listens; its path comes before every path.')),
    targets: Type.Optional(
      Type.Array(
        Type.Unsafe<string | Static<typeof target>>({ anyOf: [url('Where the target listens.'), target] }),
        { minItems: 1, description: 'The targets, each a URL or a URL with a weight.' }
      )
    ),
    discover: Type.Optional(discover),
    balance: Type.Unsafe<'roundRobin' | 'leastRequests' | 'random' | 'powerOfTwo' | 'hash'>({
      type: 'string',
      enum: ['roundRobin', 'leastRequests', 'random', 'powerOfTwo', 'hash'],
      default: 'roundRobin',
      description: 'Who is next: in turn, the least busy, any, the less busy of any two, or by a hash.'
    }),
    hashOn: Type.String({
      default: 'ip',
      pattern: '^(ip|caller|header:[^\\s:]+|cookie:[^\\s:]+)$',
      [EXPECTED]: '"ip", "caller", "header:NAME" or "cookie:NAME"',
      description:
        'What the hash is made of; a request without it counts by its address. A target that comes or goes moves only its own share.'
    }),
    sticky: Type.Optional(sticky),
    slowStart: DurationOrNone({
      positive: true,
      default: false,
      description: 'How long a target that comes, or comes back, takes to get its whole share.'
    }),
    health: Type.Optional(health),
    eject: Type.Optional(eject),
    breaker: Type.Optional(breaker),
    timeout: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long an answer may take: sets the "headers" and "body" of "timeouts", and "limits.time" of its routes unless they or their groups set it.'
      })
    ),
    timeouts,
    connections,
    tls: Type.Optional(tls),
    maxHeaders: Size({
      positive: true,
      default: '64kb',
      description:
        'The most bytes that the header of an answer, or its trailers, may have; an answer with more is 502.'
    }),
    exactPaths: Type.Boolean({
      default: false,
      description:
        'Whether the service compares paths byte by byte, so that "paths.ambiguous" has nothing to refuse for it.'
    }),
    http2: Type.Boolean({
      default: false,
      description:
        'Whether requests go by HTTP/2: over TLS where the target offers it, without TLS in any case (prior knowledge).'
    })
  },
  { additionalProperties: false, description: 'One service behind the gateway, at one or more targets.' }
)

export const options = Type.Record(Type.String({ pattern: '^[\\w.-]+$' }), upstream, {
  additionalProperties: false,
  description: 'The services behind the gateway, by name.'
})

export type UpstreamOptions = Static<typeof upstream>
export type UpstreamsOptions = Static<typeof options>
export type StickyOptions = Static<typeof sticky>
