import { type TSchema, Type } from 'typebox'
import { ROUTABLE } from '../lib/http/methods.ts'
import { isObject, overrideOf } from '../lib/schema.ts'
import { EXPECTED, FILE, REPLACED_WHOLE, TEMPLATE } from '../lib/units.ts'
import type { Catalog } from './catalog.ts'

const oneOrMore = (item: TSchema, description: string): TSchema =>
  Type.Union([item, Type.Array(item, { minItems: 1 })], { description })

const PATH_PATTERN = '^/'
const HOST_PATTERN =
  '^(\\*\\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\\[[0-9a-f:.]+\\]$'

const pathWord = oneOrMore(
  Type.String({ pattern: PATH_PATTERN, [EXPECTED]: 'a path that begins with "/"' }),
  'The path or paths: "/a/*" takes /a and all below, "/a" also /a/, ":id" is one segment, ":id(\\\\d+)" a narrowed one.'
)
const hostWord = oneOrMore(
  Type.String({
    pattern: HOST_PATTERN,
    [EXPECTED]: 'a host name in lower case without a port, such as "api.example.com" or "*.example.com"'
  }),
  'The host or hosts it holds for; "*.example.com" is one label.'
)

/** Names an origin as messages do. */
export const ORIGIN_SAYS = 'an origin such as "https://api.example.com"'

/** The words of the config that belong to no concern, with their schemas. */
export const coreWords: Readonly<Record<string, TSchema>> = {
  $schema: Type.String({ description: 'Where an editor finds the schema of this file.' }),
  extensions: Type.Array(
    Type.Object(
      {
        module: Type.String({
          minLength: 1,
          description: 'The module: a file relative to this one, or the name of a package.'
        }),
        before: Type.Optional(Type.String({ description: 'The word before which the concern runs.' })),
        after: Type.Optional(Type.String({ description: 'The word after which the concern runs.' }))
      },
      { additionalProperties: false, description: 'One module and its place in the order.' }
    ),
    { description: 'Third-party concerns and targets, each with its place in the order.' }
  ),
  publicUrl: Type.String({
    pattern: '^https?://[^/?#\\s]+/?$',
    [EXPECTED]: ORIGIN_SAYS,
    description: 'The origin that browsers see; without it only a Host that some route names is believed.'
  }),
  trustedProxies: Type.Array(Type.String({ minLength: 1 }), {
    description:
      'Whose X-Forwarded-* headers are believed: addresses, CIDR ranges, "loopback" or "private"; nobody\'s by default.'
  })
}

/** The words of a group or a route that belong to no concern, with their schemas. */
export const routeWords: Readonly<Record<string, TSchema>> = {
  name: Type.String({ minLength: 1, description: 'What logs, metrics and messages call it.' }),
  path: pathWord,
  host: hostWord,
  methods: Type.Array(
    Type.Unsafe<string>({
      type: 'string',
      enum: [...ROUTABLE],
      [EXPECTED]:
        'a method such as "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" or "OPTIONS" (leave "methods" out for all)'
    }),
    {
      minItems: 1,
      uniqueItems: true,
      description: 'The methods it takes; without this word all but CONNECT and TRACE. GET brings HEAD.'
    }
  ),
  include: Type.String({ minLength: 1, description: 'A file whose words and routes stand here, as a group.' })
}

/** Words that only the root of the main file may say (CONFIG "Settled"). */
export const ROOT_ONLY: ReadonlySet<string> = new Set([
  '$schema',
  'extensions',
  'publicUrl',
  'trustedProxies',
  'store',
  'tls',
  'session',
  'metrics',
  'tracing'
])

/** Composes the published schema of `gateway.json` from the catalog. */
export const composeSchema = (catalog: Catalog): Record<string, unknown> =>
  plain(markedSchema(catalog)) as Record<string, unknown>

/** Composes the schema of `gateway.json` with our own marks in it. */
export function markedSchema(catalog: Catalog): Record<string, unknown> {
  const rootConcerns: Record<string, unknown> = {}
  const routeConcerns: Record<string, unknown> = {}
  for (const { key, options, override } of catalog.concerns) {
    rootConcerns[key] = word(overrideAtRoot(options))
    if (override !== false) routeConcerns[key] = word(override ?? overrideOf(options))
  }
  const targets: Record<string, unknown> = {}
  const rootTargets: Record<string, unknown> = {}
  for (const { key, options, rootDefaults } of catalog.targets) {
    targets[key] = rootDefaults === true ? overrideOf(options) : options
    if (rootDefaults === true)
      rootTargets[key] = { ...overrideOf(options), description: `The defaults of every route with "${key}".` }
  }
  const routes = {
    type: 'array',
    items: { $ref: '#/$defs/route' },
    description: 'The routes and groups of routes; their order does not matter.'
  }
  const group = { ...routeWords, ...routeConcerns, routes }
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Sallyport gateway configuration',
    type: 'object',
    properties: { ...coreWords, ...rootConcerns, ...rootTargets, routes },
    additionalProperties: false,
    $defs: {
      route: {
        type: 'object',
        description: 'A route with one target word, or a group with routes or include.',
        properties: { ...group, ...targets },
        additionalProperties: false
      }
    }
  }
}

// A word as people may write it: true and false switch it, an object says more.
const word = (slice: unknown): unknown => {
  const { description, ...rest } = slice as Record<string, unknown>
  return { description, anyOf: [{ type: 'boolean' }, rest] }
}

// At the root an option may be missing where every route says it, so nothing is required; defaults are shown.
function overrideAtRoot(options: TSchema): unknown {
  const { required: _required, ...rest } = options as TSchema & { required?: unknown }
  return rest
}

const hasDefault = (option: unknown): boolean => isObject(option) && option['default'] !== undefined

const MARKS: ReadonlySet<string> = new Set([EXPECTED, REPLACED_WHOLE, FILE, TEMPLATE])

const OWN = { '^x-': { description: "The user's own; Sallyport does not read it." } }

// JSON without our own marks, where only what has no default must be said, and with room for the user's own keys wherever our words stand.
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (!isObject(value)) return value
  const made: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value))
    if (!MARKS.has(key) && inner !== undefined) made[key] = plain(inner)
  const { properties, required } = made
  if (isObject(properties) && Array.isArray(required)) {
    const needed = required.filter((name: string) => !hasDefault(properties[name]))
    if (needed.length > 0) made['required'] = needed
    else delete made['required']
  }
  return isObject(made['properties']) && made['additionalProperties'] === false
    ? { ...made, patternProperties: OWN }
    : made
}
