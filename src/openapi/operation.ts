import type { Documentation } from '../kit/concern.ts'
import type { DescribedCredential, Description, JsonSchema } from '../kit/describe.ts'
import { isObject } from '../lib/schema.ts'
import type { Components } from './components.ts'
import { type ErrorContentOf, METHODS_WITH_BODY } from './describe-route.ts'
import type { PathParameter, TemplatedPath } from './path-templates.ts'
import { responsesOf } from './responses.ts'

/** What an operation is made from. */
export interface OperationParts {
  readonly id: string
  readonly method: string
  readonly path: TemplatedPath
  readonly descriptions: readonly Description[]
  readonly errorContent: ErrorContentOf
  readonly texts: Documentation
  readonly servers: readonly object[] | undefined
}

/** Makes an Operation Object of OpenAPI 3.1. */
export function makeOperation(parts: OperationParts, components: Components): Record<string, unknown> {
  const { id, method, path, descriptions, texts, servers } = parts
  const { summary, tags, deprecated } = texts
  const description = descriptionOf(parts)
  const parameters = [
    ...path.parameters.map((parameter) => pathParameter(parameter, parts, components)),
    ...otherParameters(parts, components)
  ]
  const body = METHODS_WITH_BODY.has(method) ? requestBody(parts, components) : undefined
  const security = securityOf(descriptions, components)
  return {
    ...(tags === undefined ? {} : { tags }),
    ...(summary === undefined ? {} : { summary }),
    ...(description === '' ? {} : { description }),
    operationId: id,
    ...(deprecated ? { deprecated } : {}),
    ...(servers === undefined ? {} : { servers }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: body }),
    responses: responsesOf(parts, components),
    ...(security === undefined ? {} : { security })
  }
}

const descriptionOf = ({ texts, descriptions }: OperationParts): string =>
  [texts.description, descriptions.flatMap(({ notes = [] }) => notes).join(' ')]
    .filter((text) => text !== undefined && text !== '')
    .join('\n\n')

function pathParameter(
  { name, configName, pattern, description }: PathParameter,
  { id, descriptions }: OperationParts,
  components: Components
): object {
  const described = descriptions
    .map(({ params }) => params)
    .find((params) => configName !== undefined && hasProperty(params, configName))
  const schema = isObject(described)
    ? components.placeProperty(`${id}-params`, described, configName ?? '')
    : { type: 'string' }
  return {
    name,
    in: 'path',
    required: true,
    ...(description === undefined ? {} : { description }),
    schema:
      pattern === undefined || (isObject(schema) && 'pattern' in schema) ? schema : narrowed(schema, pattern)
  }
}

// What the config narrows by a regular expression is a text, whatever the schema turns it into.
function narrowed(schema: unknown, pattern: string): unknown {
  if (!isPattern(pattern)) return schema
  if (isObject(schema) && schema['type'] === 'string') return { ...schema, pattern }
  return schema
}

/** Returns whether an expression is one of JSON Schema (ECMA-262 with the flag u). */
function isPattern(pattern: string): boolean {
  try {
    return new RegExp(pattern, 'u') instanceof RegExp
  } catch {
    return false
  }
}

// Parameter Objects with these names are ignored (OpenAPI 3.1, "Parameter Object").
const NOT_PARAMETERS: ReadonlySet<string> = new Set(['accept', 'content-type', 'authorization'])

function otherParameters({ id, descriptions }: OperationParts, components: Components): object[] {
  const found = new Map<string, object>()
  for (const { query, headers } of descriptions)
    for (const [place, schema] of Object.entries({ query, header: headers })) {
      if (!isObject(schema) || !isObject(schema['properties'])) continue
      for (const [name, property] of Object.entries(schema['properties'])) {
        const key = `${place} ${place === 'header' ? name.toLowerCase() : name}`
        if (found.has(key) || (place === 'header' && NOT_PARAMETERS.has(name.toLowerCase()))) continue
        const text = isObject(property) ? property['description'] : undefined
        found.set(key, {
          name,
          in: place,
          ...(requires(schema, name) ? { required: true } : {}),
          ...(typeof text === 'string' ? { description: text } : {}),
          schema: components.placeProperty(`${id}-${place}`, schema, name)
        })
      }
    }
  return [...found.values()]
}

const hasProperty = (schema: JsonSchema | undefined, name: string): boolean =>
  isObject(schema) && isObject(schema['properties']) && Object.hasOwn(schema['properties'], name)

const requires = ({ required }: Readonly<Record<string, unknown>>, name: string): boolean =>
  Array.isArray(required) && required.includes(name)

/** Makes the request body; that of a concern, which comes first, wins over that of the target. */
function requestBody({ id, descriptions }: OperationParts, components: Components): object | undefined {
  const body = descriptions.find((description) => description.body !== undefined)?.body
  if (body === undefined) return undefined
  const content = Object.entries(body.content).map(([type, schema]) => [
    type,
    { schema: components.placeSchema(`${id}-body`, schema) }
  ])
  return { ...(body.required === true ? { required: true } : {}), content: Object.fromEntries(content) }
}

/** Makes the security requirements: one alternative of each concern together. */
function securityOf(
  descriptions: readonly Description[],
  components: Components
): Record<string, string[]>[] | undefined {
  const all = descriptions.flatMap(({ security }) => (security === undefined ? [] : [security]))
  if (all.length === 0) return undefined
  return all
    .reduce<readonly (readonly DescribedCredential[])[]>(
      (made, alternatives) => made.flatMap((before) => alternatives.map((each) => [...before, ...each])),
      [[]]
    )
    .map((credentials) => {
      const requirement: Record<string, string[]> = {}
      for (const { name, scheme, scopes = [] } of credentials) {
        const unique = components.securitySchemes.add(name, scheme)
        requirement[unique] = [...new Set([...(requirement[unique] ?? []), ...scopes])]
      }
      return requirement
    })
}
