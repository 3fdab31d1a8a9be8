import type { Parameter } from '../../src/lib/openapi/operations.ts'

/** The query parameters that an operation declares. */
export interface DeclaredQuery {
  /** Whether it takes the whole query (OpenAPI 3.2, "querystring"). */
  readonly isFree: boolean
  readonly names: ReadonlySet<string>
  /** What names begin with, such as "color[". */
  readonly prefixes: readonly string[]
}

/** What the schema of a parameter says of it as a text. */
export interface SchemaOfText {
  readonly reader: { readonly isObject: boolean }
  /** The names of the properties that it declares. */
  readonly properties: readonly string[]
}

/** Collects the query parameters that an operation declares. */
export function declaredQuery(
  parameters: readonly Parameter[],
  schemaOf: (parameter: Parameter) => SchemaOfText | undefined
): DeclaredQuery {
  const names = new Set<string>()
  const prefixes: string[] = []
  for (const parameter of parameters) {
    if (parameter.in !== 'query') continue
    const schema = schemaOf(parameter)
    if (parameter.style === 'deepObject') prefixes.push(`${parameter.name}[`)
    else if (schema?.reader.isObject === true && parameter.explode)
      for (const each of schema.properties) names.add(each)
    names.add(parameter.name)
  }
  return { isFree: parameters.some((each) => each.in === 'querystring'), names, prefixes }
}

/** Returns whether a query parameter is declared. */
export const isDeclared = ({ isFree, names, prefixes }: DeclaredQuery, name: string): boolean =>
  isFree || names.has(name) || prefixes.some((prefix) => name.startsWith(prefix))
