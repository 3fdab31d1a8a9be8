import { isObject } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import { mapSubschemas, mapValues } from './published-schema.ts'

type Schema = Readonly<Record<string, unknown>>

/** A text that an editor inserts, in the form of the JSON and the YAML language server of VS Code. */
interface Snippet {
  readonly label: string
  readonly description?: unknown
  readonly body: unknown
}

/** Adds the keywords that the JSON and the YAML language server of VS Code know beside JSON Schema. */
export function editorSchema(schema: Schema, { targets }: Catalog): Record<string, unknown> {
  const { $defs, ...root } = forEditors(schema) as Record<string, unknown> & { $defs: { route: object } }
  return {
    ...root,
    allowComments: true,
    allowTrailingCommas: true,
    $defs: {
      ...$defs,
      route: { ...$defs.route, defaultSnippets: [...routeSnippets(targets), groupSnippet()] }
    }
  }
}

/** Adds what an editor inserts to every option of a schema. */
export function forEditors(schema: unknown): unknown {
  const changed = mapSubschemas(schema, forEditors)
  if (!isObject(changed)) return changed
  const { properties, patternProperties, items, enum: names } = changed
  return {
    ...changed,
    ...(isObject(properties) ? { properties: mapValues(properties, asOption) } : {}),
    ...(isObject(patternProperties) ? { patternProperties: mapValues(patternProperties, asOption) } : {}),
    ...(isObject(items) ? { items: asOption(items) } : {}),
    // Editors sort by name what has no order of its own.
    ...(Array.isArray(names) ? { enumSortTexts: names.map((_, i) => String(i).padStart(2, '0')) } : {})
  }
}

/** Adds what an editor inserts after the name of an option: a snippet for a list or an object, or an example. */
function asOption(option: unknown): unknown {
  if (!isObject(option)) return option
  const { anyOf } = option
  const branches: readonly Schema[] = Array.isArray(anyOf) ? anyOf.filter(isObject) : []
  const [example] = examplesOf(option) ?? branches.map(examplesOf).find((each) => each !== undefined) ?? []
  if (example === undefined) {
    const types = new Set(branches.flatMap(typesOf))
    return types.size === 0 || types.has(undefined) ? option : { type: [...types], ...option }
  }
  if (typeof example !== 'object') return { ...option, examples: examplesOf(option) ?? [example] }
  // Editors insert a snippet at once if the option itself has no other value to offer.
  const { description, default: given, examples, ...rest } = option
  const type = Array.isArray(example) ? 'array' : 'object'
  return {
    ...(description === undefined ? {} : { description }),
    ...(given === undefined ? {} : { default: given }),
    defaultSnippets: [{ label: JSON.stringify(example), body: snippetBody(example) }],
    anyOf:
      branches.length === 0
        ? [{ ...rest, examples }]
        : branches.map((branch) =>
            branch['type'] === type && examples !== undefined ? { ...branch, examples } : branch
          )
  }
}

// Without a value to offer, editors insert an empty one of the first type.
const typesOf = ({ type, const: value, anyOf }: Schema): unknown[] => {
  if (Array.isArray(anyOf)) return anyOf.flatMap(typesOf)
  return [type ?? (value === undefined ? undefined : typeof value)]
}

const examplesOf = ({ examples }: Schema): readonly unknown[] | undefined =>
  Array.isArray(examples) ? examples : undefined

function routeSnippets(targets: Catalog['targets']): Snippet[] {
  return targets.flatMap(({ key, options }) => {
    const [example] = examplesOf(options as unknown as Schema) ?? []
    if (example === undefined) return []
    const { description } = options as { description?: string }
    return [
      { label: `a route with ${key}`, description, body: snippetBody({ path: '/path/*', [key]: example }) }
    ]
  })
}

const groupSnippet = (): Snippet => ({
  label: 'a group of routes',
  description: 'A path and options for all routes inside.',
  body: { path: '^"$1"', routes: ['^$2'] }
})

/** Returns an example with a tab stop at each of its values. */
function snippetBody(example: unknown): unknown {
  let stops = 0
  const withStops = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(withStops)
    if (isObject(value)) return mapValues(value, withStops)
    stops += 1
    // "^" inserts what follows as it is.
    if (typeof value !== 'string') return `^\${${stops}:${String(value)}}`
    // YAML needs no quotes around it.
    if (PLAIN.test(value)) return `\${${stops}:${value}}`
    return `^"\${${stops}:${JSON.stringify(value)
      .slice(1, -1)
      .replaceAll(/[\\$}]/g, '\\$&')}}"`
  }
  return withStops(example)
}

const PLAIN = /^(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z/][\w./-]*(?::\/\/[\w./:-]*\w)?$/i
