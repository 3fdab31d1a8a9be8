import { Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, DurationOrNone, EXPECTED, Share, TEMPLATE } from '../../src/lib/units.ts'
import { fallback } from './fallback.ts'
import { mirror } from './mirror.ts'
import { hedge, retry } from './retry.ts'

const timeouts = Type.Object(
  {
    headers: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'How long the head of an answer may take; by default as the upstream says.'
      })
    ),
    body: Type.Optional(
      DurationOrNone({
        positive: true,
        description: 'How long a body may stand still between two bytes; by default as the upstream says.'
      })
    )
  },
  { additionalProperties: false, description: 'How long the upstream may take on this route.' }
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
          description: 'The origins whose pages may open one; by default any, as far as csrf lets them.'
        }
      )
    ),
    idle: DurationOrNone({
      positive: true,
      default: WEBSOCKET_DEFAULTS.idle,
      description: 'How long one may be silent.'
    }),
    lifetime: DurationOrNone({
      positive: true,
      default: WEBSOCKET_DEFAULTS.lifetime,
      description: 'How long one may last.'
    }),
    closeTimeout: Duration({
      default: WEBSOCKET_DEFAULTS.closeTimeout,
      description: 'How long one side may be silent once the other has closed; then both connections end.'
    })
  },
  { additionalProperties: false, description: 'What WebSockets may take.' }
)

const split = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'A name from "upstreams", or a URL for a one-off.'
    }),
    share: Share({ description: 'Its share of the requests.' })
  },
  { additionalProperties: false }
)

export const options = Type.Object(
  {
    upstream: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Where to: a name from "upstreams", or a URL for a one-off.'
      })
    ),
    split: Type.Optional(
      Type.Array(split, {
        minItems: 1,
        description:
          'Where to, by shares that make 100%; a caller that is known stays with the one it had first.'
      })
    ),
    rewrite: Type.Optional(
      Type.String({
        pattern: '^/[^?#]*$',
        [TEMPLATE]: true,
        [EXPECTED]: 'a path that begins with "/", without a query (the word "query" sets one)',
        description:
          'What replaces the part of the path before "/*" ("/" strips it), or the whole of an exact path; without it the path goes on unchanged.'
      })
    ),
    preserveHost: Type.Boolean({
      default: false,
      description: "Whether the upstream gets the client's Host instead of its own."
    }),
    rewriteBack: Type.Boolean({
      default: true,
      description:
        "Whether Location, Content-Location, Refresh, Link and Set-Cookie come back as the gateway's where they name the upstream's own origin or stripped path."
    }),
    websocket: Type.Unsafe<boolean | Static<typeof websocket>>({
      anyOf: [{ type: 'boolean' }, websocket],
      default: true,
      description: 'Whether WebSockets pass, through every gate as any request; an object limits them.'
    }),
    timeout: Type.Optional(
      DurationOrNone({
        positive: true,
        description:
          'How long an answer may take: sets the "headers" and "body" of "timeouts", and "limits.time" unless the route or a group sets it.'
      })
    ),
    timeouts: Type.Optional(timeouts),
    retry: Type.Optional(retry),
    hedge: Type.Optional(hedge),
    mirror: Type.Optional(mirror),
    fallback: Type.Optional(fallback)
  },
  { additionalProperties: false, description: 'Forwards to an upstream.' }
)

export type ProxyOptions = Static<typeof options>
