import { Type } from '../../src/kit/index.ts'
import { format } from '../../src/lib/body/format-options.ts'
import { shapeOptions } from '../../src/lib/body/shape.ts'
import { cacheOption, cacheOptionsOf } from '../../src/lib/http/cache-options.ts'
import { HeaderName } from '../../src/lib/http/header-options.ts'
import { ErrorStatuses } from '../../src/lib/http/statuses.ts'
import { retry } from '../../src/lib/retry.ts'
import type { Static } from '../../src/lib/schema.ts'
import {
  Duration,
  EXPECTED,
  NO_SECRET,
  REPLACED_WHOLE,
  Size,
  TEMPLATE,
  TEMPLATES
} from '../../src/lib/units.ts'

// The response to HEAD has no body.
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

const { first, flatten, pick, omit, rename } = shapeOptions

const leg = Type.Object(
  {
    upstream: Type.String({ minLength: 1, description: 'The upstream: a name from "upstreams", or a URL.' }),
    path: Type.String({
      pattern: '^/[!-"$-~]*$',
      [TEMPLATE]: true,
      [EXPECTED]: 'a path that begins with "/", without spaces or "#"',
      description:
        'The path and query, with values such as "{params.id}" and "{legs.user.id}", each encoded; a missing value skips the leg.',
      examples: ['/users/{params.id}']
    }),
    method: Type.Unsafe<(typeof METHODS)[number]>({
      type: 'string',
      enum: [...METHODS],
      default: 'GET',
      description: 'The method of the request.'
    }),
    headers: Type.Record(
      HeaderName,
      Type.Unsafe<string | false>({ anyOf: [{ type: 'string' }, { const: false }], [TEMPLATE]: true }),
      {
        additionalProperties: false,
        default: {},
        [REPLACED_WHOLE]: true,
        description: 'Request headers: a text sets one, with values like the path; false removes it.',
        examples: [{ 'x-user': '{caller.id}' }]
      }
    ),
    body: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        [TEMPLATES]: true,
        description:
          'The request body: "{body}" is that of the client, any other text is sent as it is, anything else as JSON; with values like the path.'
      })
    ),
    format: Type.Optional(format),
    each: Type.Optional(
      Type.String({
        [TEMPLATE]: true,
        [EXPECTED]: 'a list in another leg, such as "{legs.orders.items}"',
        description: 'Calls the leg once for each item of a list, as "{item.id}"; its result is a list.'
      })
    ),
    max: Type.Integer({
      default: 50,
      minimum: 1,
      maximum: 1000,
      description: 'The maximum number of items that are called with "each".'
    }),
    concurrency: Type.Integer({
      default: 8,
      minimum: 1,
      maximum: 100,
      description: 'How many items are called at a time with "each".'
    }),
    first,
    flatten,
    pick,
    omit,
    rename,
    as: Type.Optional(
      Type.String({ minLength: 1, description: 'The key in the response; by default the name of the leg.' })
    ),
    required: Type.Optional(
      Type.Boolean({
        description:
          'Whether the whole response fails if the leg does; by default true, and false if there is a "fallback".'
      })
    ),
    fallback: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        description: 'The value if the leg, or one item of "each", fails.'
      })
    ),
    pass: Type.Optional(
      ErrorStatuses({
        description: 'Statuses of a required leg that become the status of the response.',
        examples: [[404, '409-410']]
      })
    ),
    timeout: Type.Optional(
      Duration({
        positive: true,
        description:
          'How long the leg may take, with all items of "each"; what is left of "limits.time" if that is less.',
        examples: ['500ms']
      })
    ),
    retry: Type.Optional(retry),
    cache: Type.Optional(cacheOption),
    safe: Type.Boolean({
      default: false,
      description:
        'Whether the request only reads although its method does not say so, such as POST for SOAP.'
    }),
    maxBody: Size({ default: '1mb', description: 'The largest response body, decoded.' })
  },
  { additionalProperties: false, description: 'A request to an upstream, and what is kept of its response.' }
)

export const options = Type.Object(
  {
    legs: Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_-]*$' }), leg, {
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 16,
      [EXPECTED]: '1 to 16 legs by name',
      description: 'The requests to make, by name; a leg waits for those that it names.',
      examples: [{ user: { upstream: 'http://localhost:4001', path: '/users/{params.id}' } }]
    }),
    body: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        [TEMPLATES]: true,
        [NO_SECRET]: true,
        description:
          'The response as JSON with values such as "{legs.user}"; by default an object with each leg under its name.'
      })
    ),
    merge: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        description: 'Legs whose objects become one, instead of "body"; later ones win.',
        examples: [['defaults', 'own']]
      })
    ),
    partial: Type.Unsafe<'header' | 'body'>({
      type: 'string',
      enum: ['header', 'body'],
      default: 'header',
      description:
        'Where failed legs are named: in the header Sallyport-Partial alone, or in "_partial" of the body as well.'
    }),
    format: Type.Optional(format),
    maxTotal: Size({ default: '4mb', description: 'The largest response body.' })
  },
  {
    additionalProperties: false,
    description: 'Makes one response of those of several upstreams.',
    examples: [
      {
        legs: {
          user: { upstream: 'http://localhost:4001', path: '/users/{params.id}' },
          orders: { upstream: 'http://localhost:4002', path: '/orders?user={params.id}', required: false }
        }
      }
    ]
  }
)

export type AggregateOptions = Static<typeof options>
export type LegOptions = AggregateOptions['legs'][string]

/** Returns the concerns that legs need: a leg may have a cache where no route has one. */
export const needs = ({ legs }: AggregateOptions): string[] =>
  Object.values(legs).some(({ cache }) => cacheOptionsOf(cache) !== undefined) ? ['cache'] : []
