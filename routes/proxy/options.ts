import { Type } from '../../src/kit/index.ts'
import { whenOption } from '../../src/lib/conditions/options.ts'
import { hedge, retry } from '../../src/lib/retry.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, DurationOrNone, EXPECTED, Share, TEMPLATE } from '../../src/lib/units.ts'
import { fallback } from './fallback.ts'
import { files } from './local-files.ts'
import { mirror } from './mirror.ts'

const timeouts = Type.Object(
  {
    headers: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'How long to wait for response headers; by default the value of the upstream.',
        examples: ['5s']
      })
    ),
    body: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'How long a body may be idle between two bytes; by default the value of the upstream.',
        examples: ['60s']
      })
    )
  },
  {
    additionalProperties: false,
    description: 'The timeouts of the upstream on this route.',
    examples: [{ headers: '5s' }]
  }
)

/** The limits of WebSockets if `websocket` is true. */
export const WEBSOCKET_DEFAULTS = { idle: '10m', lifetime: '24h', closeTimeout: '10s' }

const websocket = Type.Object(
  {
    origins: Type.Optional(
      Type.Array(
        Type.String({
          pattern: '^https?://[^/]+$',
          [EXPECTED]: 'an origin such as "https://app.example.com"'
        }),
        {
          description: 'The origins whose pages may open a WebSocket; by default any that csrf allows.',
          examples: [['https://app.example.com']]
        }
      )
    ),
    idle: DurationOrNone({
      positive: true,
      default: WEBSOCKET_DEFAULTS.idle,
      description: 'How long both sides may be silent.'
    }),
    lifetime: DurationOrNone({
      positive: true,
      default: WEBSOCKET_DEFAULTS.lifetime,
      description: 'How long a WebSocket may stay open.'
    }),
    closeTimeout: Duration({
      default: WEBSOCKET_DEFAULTS.closeTimeout,
      description:
        'How long one side may be silent after the other has closed; then both connections are closed.'
    })
  },
  { additionalProperties: false, description: 'The limits of WebSockets.' }
)

const split = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'A name from "upstreams", or a URL.'
    }),
    share: Type.Optional(
      Share({
        description: 'Its share of the requests; one part without takes what the others leave.',
        examples: ['5%']
      })
    ),
    when: Type.Optional(
      whenOption('The conditions on which it takes a request, before any share; the first such part wins.')
    )
  },
  { additionalProperties: false }
)

const splitSticky = Type.Object(
  {
    cookie: Type.String({
      default: 'release',
      pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
      description: 'The name of the cookie, which identifies the part.'
    }),
    maxAge: Type.Optional(
      Duration({
        description: 'How long the browser keeps the cookie; by default until it is closed.',
        examples: ['1h']
      })
    )
  },
  {
    additionalProperties: false,
    description: 'Keeps anonymous clients at the part of "split" that they had first, by a cookie.',
    examples: [{ cookie: 'release', maxAge: '7d' }]
  }
)

export const options = Type.Object(
  {
    upstream: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The upstream: a name from "upstreams", or a URL.'
      })
    ),
    split: Type.Optional(
      Type.Array(split, {
        minItems: 1,
        description:
          'Several upstreams, by conditions and by shares that make 100%; an authenticated caller stays with the same one.',
        examples: [
          [
            { upstream: 'http://localhost:4001', share: '95%' },
            { upstream: 'http://localhost:4002', share: '5%' }
          ]
        ]
      })
    ),
    sticky: Type.Optional(splitSticky),
    rewrite: Type.Optional(
      Type.String({
        pattern: '^/[^?#]*$',
        [TEMPLATE]: true,
        [EXPECTED]: 'a path that begins with "/", without a query (the option "query" sets one)',
        description:
          'Replaces the part of the path before "/*" ("/" strips it), or the whole of an exact path; by default the path is not changed.',
        examples: ['/']
      })
    ),
    preserveHost: Type.Boolean({
      default: false,
      description: "Whether the upstream gets the client's Host instead of its own."
    }),
    rewriteBack: Type.Boolean({
      default: true,
      description:
        "Whether Location, Content-Location, Refresh, Link and Set-Cookie are rewritten to the gateway's if they name the upstream's own origin or stripped path."
    }),
    websocket: Type.Unsafe<boolean | Static<typeof websocket>>({
      anyOf: [{ type: 'boolean' }, websocket],
      default: true,
      description:
        'Whether WebSockets are proxied, with the same gates as any request; an object sets their limits.',
      examples: [{ idle: '1h' }]
    }),
    timeout: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long a response may take: sets "headers" and "body" of "timeouts", and "limits.time" unless the route or a group sets it.',
        examples: ['5s']
      })
    ),
    timeouts: Type.Optional(timeouts),
    retry: Type.Optional(retry),
    hedge: Type.Optional(hedge),
    mirror: Type.Optional(mirror),
    fallback: Type.Optional(fallback),
    files: Type.Optional(files)
  },
  {
    additionalProperties: false,
    description: 'Forwards requests to an upstream.',
    examples: [{ upstream: 'http://localhost:4001' }]
  }
)

export type ProxyOptions = Static<typeof options>
