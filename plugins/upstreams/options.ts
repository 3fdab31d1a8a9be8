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
      description: 'The name of the cookie, which identifies the target without revealing its address.'
    }),
    maxAge: Type.Optional(
      Duration({
        description: 'How long the browser keeps the cookie; by default until it is closed.',
        examples: ['1h']
      })
    ),
    secret: Type.Optional(
      Type.String({
        minLength: 16,
        description:
          'The key of the hash that identifies a target; set the same one on all gateways. By default each process has its own.'
      })
    )
  },
  {
    additionalProperties: false,
    description: 'Sends a client to the same target each time, by a cookie.',
    examples: [{ cookie: 'lb', maxAge: '1h' }]
  }
)

export const upstream = Type.Object(
  {
    url: Type.Optional(url('Where the only target listens; its path precedes every request path.')),
    targets: Type.Optional(
      Type.Array(
        Type.Unsafe<string | Static<typeof target>>({ anyOf: [url('Where the target listens.'), target] }),
        {
          minItems: 1,
          description: 'The targets, each a URL or a URL with a weight.',
          examples: [['http://10.0.0.1:4001', { url: 'http://10.0.0.2:4001', weight: 2 }]]
        }
      )
    ),
    discover: Type.Optional(discover),
    host: Type.Optional(
      Type.String({
        pattern: '^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9_.-]+)(:\\d{1,5})?$',
        [EXPECTED]: 'a host such as "minio" or "minio:9000"',
        description:
          'The name that the service knows itself by: the Host of requests and health checks, and the name in TLS; by default the host of the URL.',
        examples: ['minio']
      })
    ),
    balance: Type.Unsafe<'roundRobin' | 'leastRequests' | 'random' | 'powerOfTwo' | 'hash'>({
      type: 'string',
      enum: ['roundRobin', 'leastRequests', 'random', 'powerOfTwo', 'hash'],
      default: 'roundRobin',
      description:
        'How a target is picked: in turn, the least busy, at random, the less busy of two random ones, or by a hash.'
    }),
    hashOn: Type.String({
      default: 'ip',
      pattern: '^(ip|caller|path|url|header:[^\\s:]+|cookie:[^\\s:]+|query:[^\\s]+)$',
      [EXPECTED]: '"ip", "caller", "path", "url", "header:NAME", "cookie:NAME" or "query:NAME"',
      description:
        'The key of the hash: ip, caller, path, url (the path and the query), header:NAME, cookie:NAME or query:NAME; a request without it is hashed by its address. A target that is added or removed moves only its own share.'
    }),
    sticky: Type.Optional(sticky),
    slowStart: DurationOrNone({
      positive: true,
      default: false,
      description: 'How long a target that was added or has recovered takes to reach its full share.',
      examples: ['30s']
    }),
    health: Type.Optional(health),
    eject: Type.Optional(eject),
    breaker: Type.Optional(breaker),
    timeout: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'The time limit for a response: sets "timeouts.headers" and "timeouts.body", and "limits.time" of its routes unless they or their groups set it.',
        examples: ['5s']
      })
    ),
    timeouts,
    connections,
    tls: Type.Optional(tls),
    maxHeaders: Size({
      positive: true,
      default: '64kb',
      description: 'The maximum size of response headers, and of trailers; larger ones lead to 502.'
    }),
    exactPaths: Type.Boolean({
      default: false,
      description:
        'Whether the service compares paths byte by byte, so that "paths.ambiguous" refuses nothing for it.'
    }),
    http2: Type.Boolean({
      default: false,
      description: 'Whether requests use HTTP/2: negotiated over TLS, always without TLS (prior knowledge).'
    })
  },
  { additionalProperties: false, description: 'One service behind the gateway, at one or more targets.' }
)

export const options = Type.Record(Type.String({ pattern: '^[\\w.-]+$' }), upstream, {
  additionalProperties: false,
  description: 'The services behind the gateway, by name.',
  examples: [{ orders: { url: 'http://localhost:4001' } }]
})

export type UpstreamOptions = Static<typeof upstream>
export type UpstreamsOptions = Static<typeof options>
export type StickyOptions = Static<typeof sticky>

/** Lists the URLs that an upstream names. */
export const urlsOf = ({ url, targets = [] }: UpstreamOptions): string[] => [
  ...(url === undefined ? [] : [url]),
  ...targets.map((target) => (typeof target === 'string' ? target : target.url))
]
