import { Type } from '../../src/kit/index.ts'
import { tlsClientOptions } from '../../src/lib/http/tls-client.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, DurationOrNone, EXPECTED, Share, Size } from '../../src/lib/units.ts'

const url = (description: string) =>
  Type.String({
    pattern: '^(https?://[^/?#\\s]+(/[^?#\\s]*)?|unix:/[^?#\\s]+)$',
    [EXPECTED]: 'a URL such as "http://10.0.0.9:4000" or "unix:/run/app.sock"',
    description
  })

const target = Type.Object(
  {
    url: url('Where the target listens.'),
    weight: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 1000,
      description: 'Its share of the requests, next to the weights of the others.'
    }),
    backup: Type.Boolean({
      default: false,
      description: 'Whether it gets requests only while no other target can take them.'
    })
  },
  { additionalProperties: false }
)

const timeouts = Type.Object(
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

const tls = Type.Object(tlsClientOptions, {
  additionalProperties: false,
  description: 'TLS towards the upstream.'
})

const connections = Type.Object(
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

const NAME = '^[A-Za-z0-9_-]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?$'

const discover = Type.Object(
  {
    dns: Type.Optional(
      Type.String({
        pattern: NAME,
        description: 'The name whose addresses (A and AAAA) are the targets.'
      })
    ),
    srv: Type.Optional(
      Type.String({
        pattern: NAME,
        description:
          'The name whose SRV records are the targets: hosts, ports and weights; those of a lower priority are backups.'
      })
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'The port of the addresses of "dns"; by default that of the scheme.'
      })
    ),
    scheme: Type.Unsafe<'http' | 'https'>({
      type: 'string',
      enum: ['http', 'https'],
      default: 'http',
      description: 'What the targets speak; with "https" their certificate has to be for the name.'
    }),
    every: Duration({
      positive: true,
      default: '10s',
      description: 'How often the name is asked for at least; a shorter TTL of its records is kept to.'
    }),
    server: Type.Optional(
      Type.String({
        pattern: '^(\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9a-fA-F:]+\\])(:\\d+)?$',
        [EXPECTED]: 'an address such as "127.0.0.1:8600"',
        description: "The DNS server to ask, such as Consul's; by default the system's."
      })
    )
  },
  { additionalProperties: false, description: 'Where the targets come from, if they are not listed.' }
)

const health = Type.Object(
  {
    path: Type.String({
      default: '/',
      pattern: '^/[^\\s#]*$',
      [EXPECTED]: 'a path that begins with "/"',
      description: 'What every target is asked for; it stands for itself, not behind the path of a URL.'
    }),
    every: Duration({ positive: true, default: '5s', description: 'How long to wait between two checks.' }),
    timeout: Duration({ positive: true, default: '2s', description: 'How long an answer may take.' }),
    status: Type.Array(Type.Integer({ minimum: 100, maximum: 599 }), {
      default: [200, 299],
      minItems: 2,
      maxItems: 2,
      description: 'The first and the last status that tell of health.'
    }),
    host: Type.Optional(Type.String({ description: "The Host to ask with; by default the target's." })),
    healthyAfter: Type.Integer({
      default: 2,
      minimum: 1,
      description: 'How many good answers in a row bring a target back.'
    }),
    unhealthyAfter: Type.Integer({
      default: 3,
      minimum: 1,
      description: 'How many bad answers in a row take a target out.'
    })
  },
  { additionalProperties: false, description: 'Asks every target by itself whether it is well.' }
)

const eject = Type.Object(
  {
    failures: Type.Integer({
      default: 5,
      minimum: 1,
      description: 'How many requests in a row have to fail (no answer, or one from 500 on).'
    }),
    for: Duration({
      positive: true,
      default: '30s',
      description: 'How long a target stays out at first; each time in a row adds as much, up to ten times.'
    }),
    max: Share({
      default: '50%',
      description: 'The most targets that may be out at a time; one may be in any case.'
    }),
    panic: Share({
      default: '50%',
      description: 'Where fewer targets than this are well, all are used again: better some than none.'
    })
  },
  { additionalProperties: false, description: 'Takes a target out whose answers fail.' }
)

const breaker = Type.Object(
  {
    failures: Share({
      default: '50%',
      description: 'The share of failures (no answer, or one from 500 on) that opens it.'
    }),
    of: Type.Integer({
      default: 20,
      minimum: 1,
      description: 'How many requests there have to be before it may open.'
    }),
    within: Duration({
      positive: true,
      default: '10s',
      description: 'The time that failures are counted over.'
    }),
    openFor: Duration({
      positive: true,
      default: '5s',
      description: 'How long no request is sent; then one alone tries whether it is well again.'
    })
  },
  {
    additionalProperties: false,
    description: 'Stops asking a target that mostly fails: a circuit breaker for each target.'
  }
)

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
export type HealthOptions = Static<typeof health>
export type EjectOptions = Static<typeof eject>
export type BreakerOptions = Static<typeof breaker>
export type DiscoverOptions = Static<typeof discover>
export type StickyOptions = Static<typeof sticky>
