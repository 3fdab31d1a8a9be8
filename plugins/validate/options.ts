import { fileURLToPath } from 'node:url'
import {
  type AboutRoute,
  File,
  type OptionFault,
  type Static,
  Type,
  type Warning
} from '../../src/kit/index.ts'
import { metaschemaFaults } from '../../src/lib/body/json-schema/metaschema.ts'
import {
  bundleSchema,
  type SchemaBundle,
  type SchemaFindings
} from '../../src/lib/body/json-schema/references.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { filesReferredBy } from '../../src/lib/openapi/read-document.ts'
import { gate, isObject, overrideOf } from '../../src/lib/schema.ts'
import { EXPECTED, JSON_SCHEMA, REPLACED_WHOLE, Share, Size } from '../../src/lib/units.ts'
import { checkDocument, documentWarnings } from './document-checks.ts'
import { nativePattern, unknownFormat } from './warnings.ts'

export const key = 'validate'

const JsonSchema = (description: string, example: Readonly<Record<string, unknown>>) =>
  Type.Optional(
    Type.Unsafe<Readonly<Record<string, unknown>>>({
      type: 'object',
      [REPLACED_WHOLE]: true,
      [JSON_SCHEMA]: true,
      [EXPECTED]: 'a JSON Schema',
      description,
      examples: [example]
    })
  )

export const options = Type.Object(
  {
    ...gate,
    params: JsonSchema('The JSON Schema of an object with the parameters of the path.', {
      properties: { id: { type: 'integer' } }
    }),
    query: JsonSchema('The JSON Schema of an object with the parameters of the query.', {
      properties: { page: { type: 'integer', minimum: 1 } }
    }),
    headers: JsonSchema(
      'The JSON Schema of an object with request headers; those that it does not name are not looked at.',
      { required: ['x-tenant'] }
    ),
    body: JsonSchema('The JSON Schema of the request body, which has to be JSON.', {
      type: 'object',
      required: ['item'],
      properties: { item: { type: 'string' } }
    }),
    openapi: Type.Optional(
      File({
        description:
          'An OpenAPI document (3.0, 3.1 or 3.2, JSON or YAML), whose paths are below the path of the route.'
      })
    ),
    servers: Type.Boolean({
      default: false,
      description:
        'Whether the paths of the servers of the OpenAPI document come before those of its operations.'
    }),
    base: Type.Optional(
      Type.Unsafe<string | readonly string[]>({
        anyOf: [
          { type: 'string', pattern: '^/' },
          { type: 'array', items: { type: 'string', pattern: '^/' }, minItems: 1 }
        ],
        [EXPECTED]: 'a path that begins with "/"',
        description:
          'The path or paths that those of the OpenAPI document are below; by default those of the route.',
        examples: ['/v1']
      })
    ),
    response: Type.Optional(
      Type.Union(
        [
          Type.Boolean(),
          Type.Object(
            {
              sample: Share({
                default: '100%',
                description: 'The share of the responses that are validated.'
              })
            },
            { additionalProperties: false, description: 'Which responses are validated.' }
          )
        ],
        {
          description:
            'Whether responses are compared with the OpenAPI document; faults are counted and logged, never changed.',
          examples: [{ sample: '10%' }]
        }
      )
    ),
    undeclared: Type.Unsafe<'pass' | 'reject'>({
      type: 'string',
      enum: ['pass', 'reject'],
      default: 'pass',
      description:
        'Whether requests that the OpenAPI document does not declare pass, or are rejected with 404 or 405.'
    }),
    unknown: Type.Object(
      {
        query: Type.Unsafe<'keep' | 'reject' | 'drop'>({
          type: 'string',
          enum: ['keep', 'reject', 'drop'],
          default: 'keep',
          description:
            'Whether query parameters that the schema does not name are forwarded, rejected with 400, or removed.'
        })
      },
      {
        additionalProperties: false,
        default: {},
        description: 'What happens to parameters without a schema.',
        examples: [{ query: 'reject' }]
      }
    ),
    maxBody: Size({
      default: '1mb',
      description:
        'The maximum size of a body that is validated, also when decoded; beyond it the response is 413.'
    })
  },
  {
    additionalProperties: false,
    description: 'Rejects requests that do not match a JSON Schema; what matches is forwarded unchanged.',
    examples: [{ openapi: 'shop.yaml' }]
  }
)

export const override = overrideOf(options)
export type ValidateOptions = Static<typeof options>

/** The options that are JSON Schemas. */
export const SCHEMAS = ['params', 'query', 'headers', 'body'] as const

const bundles = new WeakMap<object, SchemaBundle & SchemaFindings>()

/** Reads a schema of the options, with the files that it refers to, once. */
export const bundleOf = (schema: object): SchemaBundle & SchemaFindings =>
  getOrCreate(bundles, schema, () => bundleSchema(schema))

/** Returns the files that schemas and documents refer to. */
export function files(options: ValidateOptions): string[] {
  const ofSchemas = SCHEMAS.flatMap((name) => {
    const schema = options[name]
    if (!isObject(schema)) return []
    return [...bundleOf(schema).documents.keys()].flatMap((uri) =>
      uri.startsWith('file:') ? [fileURLToPath(uri)] : []
    )
  })
  return options.openapi === undefined ? ofSchemas : [...ofSchemas, ...filesReferredBy(options.openapi)]
}

export async function faults(options: ValidateOptions): Promise<OptionFault[]> {
  const found = SCHEMAS.flatMap((name): OptionFault[] => {
    const schema = options[name]
    if (schema === undefined) return []
    const bundle = bundleOf(schema)
    return [...new Set([...bundle.faults, ...metaschemaFaults(bundle)])].map((fault) => ({
      path: [name],
      message: `expected a JSON Schema that can be used, got one that ${fault}`
    }))
  })
  const { openapi, base, response } = options
  if (openapi !== undefined) found.push(...(await checkDocument(openapi, ['openapi'])).faults)
  for (const [name, value] of Object.entries({ base, response: response === false ? undefined : response }))
    if (value !== undefined && openapi === undefined)
      found.push({ path: [name], message: `expected "openapi" beside it, got "${name}" alone` })
  if (options.unknown.query !== 'keep' && options.query === undefined && options.openapi === undefined)
    found.push({
      path: ['unknown', 'query'],
      message: `expected "keep" without a schema of the query, got "${options.unknown.query}"; set "query" or "openapi" to name the parameters`
    })
  return found
}

const documentTexts = new WeakMap<ValidateOptions, Map<boolean, Warning[]>>()

/** Returns the warnings of a document, which the routes of its operations share. */
const ofDocument = (options: ValidateOptions, openapi: string, isPublic: boolean): Warning[] =>
  getOrCreate(
    getOrCreate(documentTexts, options, () => new Map<boolean, Warning[]>()),
    isPublic,
    () =>
      documentWarnings(openapi, {
        isPublic,
        response: options.response !== undefined && options.response !== false
      })
  )

/** Returns what `check` warns of: formats that nothing asserts, patterns that may take long, and what a document has. */
export function warnings(options: ValidateOptions, { optionsOf, overrides }: AboutRoute): Warning[] {
  const ofSchemas = SCHEMAS.flatMap((name) => {
    const schema = options[name]
    if (!isObject(schema)) return []
    const { unknownFormats, nativePatterns } = bundleOf(schema)
    return [
      ...unknownFormats.map((format) =>
        unknownFormat(
          `has a format in "validate.${name}" that is not known, so that every text is valid: ${format}`,
          [name]
        )
      ),
      ...nativePatterns.map((pattern) =>
        nativePattern(
          `has a pattern in "validate.${name}" that the linear-time engine does not take: ${pattern}`,
          [name]
        )
      )
    ]
  })
  return options.openapi === undefined
    ? ofSchemas
    : [
        ...ofSchemas,
        ...ofDocument(options, options.openapi, !isObject(optionsOf('auth')) && !overrides.includes('auth'))
      ]
}
