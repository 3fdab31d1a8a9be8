import { type TSchema, Type } from 'typebox'
import { whenOption } from '../lib/conditions/options.ts'
import { AddressList } from '../lib/http/address-lists.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { overrideOf, schemaOf } from '../lib/schema.ts'
import { EXPECTED } from '../lib/units.ts'
import { type Catalog, expansionsOf } from './catalog.ts'
import { editorSchema } from './editor-schema.ts'
import { ACCEPTED, publishedSchema } from './published-schema.ts'

const oneOrMore = (item: TSchema, description: string, examples: readonly unknown[]): TSchema =>
  Type.Union([item, Type.Array(item, { minItems: 1 })], { description, examples })

const COMMON_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

const PATH_PATTERN = '^/'
const HOST_PATTERN =
  '^(\\*\\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$|^\\[[0-9a-f:.]+\\]$'

const pathOption = oneOrMore(
  Type.String({ pattern: PATH_PATTERN, [EXPECTED]: 'a path that begins with "/"' }),
  'The path or paths: "/a/*" matches /a and all below, "/a" also /a/, ":id" one segment, ":id(\\\\d+)" a narrowed one.',
  ['/orders/*', '/orders/:id']
)
const hostOption = oneOrMore(
  Type.String({
    pattern: HOST_PATTERN,
    [EXPECTED]: 'a host name in lower case without a port, such as "api.example.com" or "*.example.com"'
  }),
  'The host or hosts that it matches; "*.example.com" matches one label.',
  ['api.example.com']
)

/** How messages describe an origin. */
export const EXPECTED_ORIGIN = 'an origin such as "https://api.example.com"'

/** The schemas of the root options that belong to no concern. */
export const coreOptions: Readonly<Record<string, TSchema>> = {
  $schema: Type.String({ description: 'The schema of this file, for editors.' }),
  extensions: Type.Array(
    Type.Object(
      {
        module: Type.String({
          minLength: 1,
          description: 'The module: a file relative to this one, or the name of a package.'
        }),
        before: Type.Optional(Type.String({ description: 'The key of the concern that it runs before.' })),
        after: Type.Optional(Type.String({ description: 'The key of the concern that it runs after.' }))
      },
      { additionalProperties: false, description: 'One module and its place in the order.' }
    ),
    {
      description: 'Third-party concerns and targets, each with its place in the order.',
      examples: [[{ module: './extensions/tenant.ts' }]]
    }
  ),
  publicUrl: Type.String({
    pattern: '^https?://[^/?#\\s]+/?$',
    [EXPECTED]: EXPECTED_ORIGIN,
    description: 'The origin that browsers see; by default, only a Host that a route names is trusted.',
    examples: ['https://api.example.com']
  }),
  trustedProxies: AddressList({
    description:
      'The proxies whose X-Forwarded-* headers are trusted: addresses, CIDR ranges, "loopback", "private" or "file:NAME"; none by default.',
    examples: [['private', '203.0.113.0/24']]
  }),
  clientIp: Type.String({
    pattern: "^header:[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    [EXPECTED]: 'a header such as "header:cf-connecting-ip"',
    description:
      'The header in which a trusted proxy names the client, such as that of a CDN; by default X-Forwarded-For.',
    examples: ['header:cf-connecting-ip']
  })
}

/** The schemas of the options of a group or a route that belong to no concern. */
export const routeOptions: Readonly<Record<string, TSchema>> = {
  name: Type.String({ minLength: 1, description: 'Its name in logs, metrics and messages.' }),
  path: pathOption,
  host: hostOption,
  methods: Type.Array(
    Type.Unsafe<string>({
      type: 'string',
      enum: [...COMMON_METHODS, ...ROUTABLE.filter((method) => !COMMON_METHODS.includes(method))],
      [EXPECTED]:
        'a method such as "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" or "OPTIONS" (leave "methods" out for all)'
    }),
    {
      minItems: 1,
      uniqueItems: true,
      description: 'The methods that it matches, GET also HEAD; by default all but CONNECT and TRACE.',
      examples: [['GET', 'POST']]
    }
  ),
  enabled: Type.Boolean({
    description: 'Whether it is there at all; its options are checked all the same. A variable can decide.',
    examples: [false]
  }),
  locked: Type.Array(Type.String(), {
    uniqueItems: true,
    examples: [['the key of a concern']],
    description: 'The concerns of a group that nothing inside may change; "auth.require" may become stricter.'
  }),
  when: whenOption(
    'The conditions on which it matches, beside host, path and method: all of an object, or any object of a list. The route with the most conditions that hold wins.'
  ),
  include: Type.String({ minLength: 1, description: 'A file with the options and routes of this group.' })
}

/** The options without a concern that are allowed only at the root of the main file. */
export const ROOT_ONLY_KEYS: ReadonlySet<string> = new Set(Object.keys(coreOptions))

/** Returns all options that are allowed only at the root of the main file. */
export const rootOnlyKeys = ({ concerns }: Catalog): ReadonlySet<string> =>
  new Set([...ROOT_ONLY_KEYS, ...concerns.filter(({ rootOnly }) => rootOnly === true).map(({ key }) => key)])

/** Returns the published schema of `gateway.json` for a catalog, with what editors need beside JSON Schema. */
export const composeSchema = (catalog: Catalog): Record<string, unknown> =>
  editorSchema(composeStandardSchema(catalog), catalog)

/** Returns the published schema with the keywords of JSON Schema alone, for validators that refuse others. */
export function composeStandardSchema(catalog: Catalog): Record<string, unknown> {
  const { $defs, ...schema } = publishedSchema(markedSchema(catalog)) as Record<string, unknown>
  return { ...schema, $defs: { ...($defs as object), accepted: ACCEPTED } }
}

/** Returns the schema of `gateway.json` with our own keywords, such as how messages describe a value. */
export function markedSchema(catalog: Catalog): Record<string, unknown> {
  const rootConcerns: Record<string, unknown> = {}
  const routeConcerns: Record<string, unknown> = {}
  for (const { key, options, override, shorthand } of catalog.concerns) {
    const text = shorthand === undefined ? undefined : schemaOf(options, shorthand)
    rootConcerns[key] = switchable(overrideAtRoot(options), text)
    if (override !== false) routeConcerns[key] = switchable(override ?? overrideOf(options), text)
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
    description: 'The routes and groups of routes, in any order.'
  }
  const expansions = Object.fromEntries(expansionsOf(catalog).map(({ key, options }) => [key, options]))
  const locked = {
    ...routeOptions['locked'],
    items: { type: 'string', enum: Object.keys(routeConcerns) },
    examples: [Object.keys(routeConcerns).slice(0, 2)]
  }
  const group = { ...routeOptions, locked, ...routeConcerns, ...expansions, routes }
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Sallyport gateway configuration',
    type: 'object',
    properties: { ...coreOptions, ...rootConcerns, ...rootTargets, routes },
    additionalProperties: false,
    $defs: {
      route: {
        type: 'object',
        description: 'A route with one target, or a group with "routes" or "include".',
        properties: { ...group, ...targets },
        additionalProperties: false
      }
    }
  }
}

// The forms of a concern in the config: true, false or an object with options.
const switchable = (options: unknown, text: unknown): unknown => {
  const { description, ...rest } = options as Record<string, unknown>
  return { description, anyOf: [{ type: 'boolean' }, ...(text === undefined ? [] : [text]), rest] }
}

// Nothing is required at the root, since every route may set it. Editors show the defaults.
function overrideAtRoot(options: TSchema): unknown {
  const { required: _required, ...rest } = options as TSchema & { required?: unknown }
  return rest
}
