import type { DescribedErrorContent, DescribedRefusal, JsonSchema } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import { ALWAYS_KNOWN, type BodyOptions, typeOf } from './bodies.ts'
import { kindOf } from './error-body.ts'
import { selectorOf } from './format.ts'
import type { ErrorsOptions } from './options.ts'

/** Describes the bodies that an error is sent with; text and HTML that are built in go without saying. */
export function describesError(
  { format, pages, bodies }: ErrorsOptions,
  error: Pick<DescribedRefusal, 'status' | 'code'>
): DescribedErrorContent {
  const entries = [
    ...Object.entries(bodies).map(([errors, each]) => ({ ...selectorOf(errors), content: contentOf(each) })),
    ...Object.keys(pages).map((errors) => ({
      ...selectorOf(errors),
      content: [['text/html', TEXT]] as const
    }))
  ].sort((one, other) => one.width - other.width)
  const own = new Map<string, JsonSchema>()
  for (const { holds, content } of entries)
    if (holds(error)) for (const [type, schema] of content) if (!own.has(type)) own.set(type, schema)
  const kinds = new Set([...own.keys()].map(kindOf))
  return {
    ...(kinds.has('problem+json') ? {} : { 'application/problem+json': 'problem' as const }),
    ...(format === 'problem+json' || kinds.has(format) ? {} : { [`text/${BUILTIN_TEXT[format]}`]: TEXT }),
    ...Object.fromEntries(own)
  }
}

const BUILTIN_TEXT = { text: 'plain', html: 'html' } as const

const TEXT = { type: 'string' } as const

const contentOf = (bodies: BodyOptions): (readonly [type: string, schema: JsonSchema])[] =>
  Object.entries(bodies).map(([name, value]) => {
    const type = typeOf(name)
    if (typeof value !== 'string') return [type, schemaOf(value)]
    return [type, kindOf(type) === 'problem+json' ? true : TEXT]
  })

/** Returns the schema of what a template in JSON becomes. */
function schemaOf(value: unknown): JsonSchema {
  if (Array.isArray(value)) return listSchema(value)
  if (isObject(value)) return objectSchema(value)
  if (value === null) return { type: 'null' }
  // A text that is only the status becomes a number.
  if (value === '{status}') return { type: 'integer' }
  return { type: typeof value }
}

function listSchema(items: readonly unknown[]): JsonSchema {
  const schemas = [...new Map(items.map(schemaOf).map((schema) => [JSON.stringify(schema), schema])).values()]
  const [only] = schemas
  if (only === undefined) return { type: 'array' }
  return { type: 'array', items: schemas.length === 1 ? only : { anyOf: schemas } }
}

function objectSchema(value: Readonly<Record<string, unknown>>): JsonSchema {
  const required = Object.keys(value).filter((key) => isAlwaysThere(value[key]))
  return {
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, schemaOf(inner)]))
  }
}

// A text with a missing value is left out with its key.
const isAlwaysThere = (value: unknown): boolean =>
  typeof value !== 'string' ||
  templateParts(value).every((part) => typeof part === 'string' || ALWAYS_KNOWN.has(part.reference))
