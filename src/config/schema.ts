import { type TSchema, Type } from 'typebox'
import { ROUTABLE } from '../lib/http/methods.ts'
import { isObject, overrideOf } from '../lib/schema.ts'
import { EXPECTED, FILE, REPLACED_WHOLE, TEMPLATE } from '../lib/units.ts'
import type { Catalog } from './catalog.ts'
import { hasDefault } from './defaults.ts'

const oneOrMore = (item: TSchema, description: string): TSchema =>
  Type.Union([item, Type.Array(item, { minItems: 1 })], { description })

const PATH_PATTERN = '^/'
const HOST_PATTERN =
  '^(\\*\\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\\[[0-9a-f:.]+\\]$'

const pathOption = oneOrMore(
  Type.String({ pattern: PATH_PATTERN, [EXPECTED]: 'a path that begins with "/"' }),
  'The path or paths: "/a/*" takes /a and all below, "/a" also /a/, ":id" is one segment, ":id(\\\\d+)" a narrowed one.'
)
const hostOption = oneOrMore(
  Type.String({
    pattern: HOST_PATTERN,
    [EXPECTED]: 'a host name in lower case without a port, such as "api.example.com" or "*.example.com"'
  }),
  'The host or hosts it holds for; "*.example.com" is one label.'
)

/** How messages describe an origin. */
export const EXPECTED_ORIGIN = 'an origin such as "https://api.example.com"'

/** The schemas of the root options that belong to no concern. */
export const coreOptions: Readonly<Record<string, TSchema>> = {
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
    [EXPECTED]: EXPECTED_ORIGIN,
    description: 'The origin that browsers see; without it only a Host that some route names is believed.'
  }),
  trustedProxies: Type.Array(Type.String({ minLength: 1 }), {
    description:
      'Whose X-Forwarded-* headers are believed: addresses, CIDR ranges, "loopback" or "private"; nobody\'s by default.'
  })
}

/** The schemas of the options of a group or a route that belong to no concern. */
export const routeOptions: Readonly<Record<string, TSchema>> = {
  name: Type.String({ minLength: 1, description: 'What logs, metrics and messages call it.' }),
  path: pathOption,
  host: hostOption,
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

/** The core options, and those to come, that are allowed only at the root of the main file. */
export const ROOT_ONLY_KEYS: ReadonlySet<string> = new Set([...Object.keys(coreOptions), 'tracing'])

/** Returns the options that are allowed only at the root of the main file, those of concerns included. */
export const rootOnlyKeys = ({ concerns }: Catalog): ReadonlySet<string> =>
  new Set([...ROOT_ONLY_KEYS, ...concerns.filter(({ rootOnly }) => rootOnly === true).map(({ key }) => key)])

/** Returns the published schema of `gateway.json` for a catalog. */
export const composeSchema = (catalog: Catalog): Record<string, unknown> =>
  publishedSchema(markedSchema(catalog)) as Record<string, unknown>

/** Returns the schema of `gateway.json` with the keywords that only this code reads, such as how messages name a value. */
export function markedSchema(catalog: Catalog): Record<string, unknown> {
  const rootConcerns: Record<string, unknown> = {}
  const routeConcerns: Record<string, unknown> = {}
  for (const { key, options, override } of catalog.concerns) {
    rootConcerns[key] = switchable(overrideAtRoot(options))
    if (override !== false) routeConcerns[key] = switchable(override ?? overrideOf(options))
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
  const group = { ...routeOptions, ...routeConcerns, routes }
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Sallyport gateway configuration',
    type: 'object',
    properties: { ...coreOptions, ...rootConcerns, ...rootTargets, routes },
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

// A concern as it may be written: true, false or an object with options.
const switchable = (options: unknown): unknown => {
  const { description, ...rest } = options as Record<string, unknown>
  return { description, anyOf: [{ type: 'boolean' }, rest] }
}

// Nothing is required at the root, since every route may set it; defaults stay, for editors to show.
function overrideAtRoot(options: TSchema): unknown {
  const { required: _required, ...rest } = options as TSchema & { required?: unknown }
  return rest
}

const OWN_KEYWORDS: ReadonlySet<string> = new Set([EXPECTED, REPLACED_WHOLE, FILE, TEMPLATE])

const USER_KEYS = { '^x-': { description: "The user's own; Sallyport does not read it." } }

// Without our own keywords, with only those options required that have no default, and with the user's own keys allowed in every object.
function publishedSchema(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(publishedSchema)
  if (!isObject(value)) return value
  const published: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value))
    if (!OWN_KEYWORDS.has(key) && inner !== undefined) published[key] = publishedSchema(inner)
  const { properties, required } = published
  if (isObject(properties) && Array.isArray(required)) {
    const needed = required.filter((name: string) => !hasDefault(properties[name]))
    if (needed.length > 0) published['required'] = needed
    else delete published['required']
  }
  return isObject(published['properties']) && published['additionalProperties'] === false
    ? { ...published, patternProperties: USER_KEYS }
    : published
}
