import { stringify } from 'yaml'
import { isObject } from '../schema.ts'
import { runAtOnce } from '../time-slicing.ts'

type Node = Readonly<Record<string, unknown>>

/** Prints a document in steps, since a large one takes seconds. */
export type Printer = (document: Node) => Generator<void, string>

/** Prints a document as JSON; the result is that of JSON.stringify with an indent of 2. */
export function* jsonInSteps(document: Node): Generator<void, string> {
  const parts: string[] = []
  yield* addJson(parts, document, { depth: 3, indent: '\n' })
  return `${parts.join('')}\n`
}

/** Prints a document as YAML, without aliases and line breaks of its own. */
export function* yamlInSteps(document: Node): Generator<void, string> {
  const parts: string[] = []
  for (const [key, value] of Object.entries(document)) {
    if (!isSplit(value)) parts.push(toYaml({ [key]: value }))
    else
      for (const [i, [name, inner]] of Object.entries(value).entries()) {
        const text = toYaml({ [key]: { [name]: inner } })
        // The first line is the key, which is short: a name of OpenAPI.
        parts.push(i === 0 ? text : text.slice(text.indexOf('\n') + 1))
        yield
      }
  }
  return parts.join('')
}

/** Prints a document as JSON at once. */
export const printJson = (document: Node): string => runAtOnce(jsonInSteps(document))

/** Prints a document as YAML at once. */
export const printYaml = (document: Node): string => runAtOnce(yamlInSteps(document))

interface Place {
  /** How many levels are printed member by member. */
  readonly depth: number
  /** The line break before the end of the object. */
  readonly indent: string
}

function* addJson(parts: string[], value: unknown, { depth, indent }: Place): Generator<void> {
  if (depth === 0 || !isSplit(value)) {
    parts.push(JSON.stringify(value, null, 2).replaceAll('\n', indent))
    return yield
  }
  const inner = `${indent}  `
  for (const [i, [key, member]] of Object.entries(value).entries()) {
    parts.push(i === 0 ? '{' : ',', inner, JSON.stringify(key), ': ')
    yield* addJson(parts, member, { depth: depth - 1, indent: inner })
  }
  parts.push(indent, '}')
}

const isSplit = (value: unknown): value is Node => isObject(value) && Object.keys(value).length > 0

const toYaml = (node: Node): string => stringify(node, { lineWidth: 0, aliasDuplicateObjects: false })
