import { getOrCreate } from '../../memoize.ts'
import { isObject } from '../../schema.ts'
import { compilePattern } from './pattern.ts'
import type { SchemaBundle } from './references.ts'
import { decodeFragment, valueAt } from './subschemas.ts'

/** The keywords of an object schema. */
export type Keywords = Readonly<Record<string, unknown>>

/** A schema, and the document that its references are relative to. */
export interface SchemaNode {
  readonly schema: unknown
  readonly uri: string
  readonly bundle: SchemaBundle
}

/** Keywords that all hold for a value, each with the document of its references. */
export interface Part {
  readonly keywords: Keywords
  readonly node: SchemaNode
}

/** Schemas of which all hold. */
export type Conjunction = readonly SchemaNode[]

// References that lead to themselves, also several at once, end here.
const MAX_REFERENCES = 32
const MAX_PARTS = 1000

/** Lists the keywords that hold for a conjunction, through references and `allOf`; undefined if no value is valid. */
export const partsOf = (nodes: Conjunction): Part[] | undefined => partsAt(nodes, 0, { left: MAX_PARTS })

function partsAt(nodes: Conjunction, level: number, budget: { left: number }): Part[] | undefined {
  const parts: Part[] = []
  for (const node of nodes) {
    const { schema } = node
    if (schema === false) return undefined
    if (!isObject(schema)) continue
    const { allOf, $ref } = schema
    parts.push({ keywords: ownKeywords(schema), node })
    const inner = Array.isArray(allOf) ? allOf.map((each): SchemaNode => ({ ...node, schema: each })) : []
    if (typeof $ref === 'string') inner.push(referred(node, $ref))
    if (inner.length === 0) continue
    budget.left -= inner.length
    const found =
      level > MAX_REFERENCES || budget.left < 0 ? [undecided(node)] : partsAt(inner, level + 1, budget)
    if (found === undefined) return undefined
    parts.push(...found)
  }
  return parts
}

// The same object for the same schema, by which schemas that refer to themselves are known again.
const known = new WeakMap<object, Keywords>()

const ownKeywords = (schema: Keywords): Keywords =>
  getOrCreate(known, schema, () => {
    const { allOf: _allOf, $ref: _ref, ...keywords } = schema
    return keywords
  })

/** Stands for what is not followed. */
const undecided = (node: SchemaNode): Part => ({ keywords: { [UNDECIDED]: true }, node })

/** A keyword that nothing implies. */
export const UNDECIDED = '$undecided'

/** Finds the schema that a reference leads to. */
function referred(node: SchemaNode, reference: string): SchemaNode {
  const [document = '', fragment = ''] = reference.split('#', 2)
  const uri = document === '' ? node.uri : document
  const root = node.bundle.documents.get(uri)
  const pointer = decodeFragment(`#${fragment}`)
  const isPointer = pointer === '' || pointer.startsWith('/')
  const schema = root === undefined || !isPointer ? undefined : valueAt(root, pointer)
  return { bundle: node.bundle, uri, schema: schema ?? { [UNDECIDED]: true } }
}

/** Returns a schema inside another one. */
export const inside = ({ node }: Part, schema: unknown): SchemaNode => ({ ...node, schema })

/** Returns what a property has to match in some parts. */
export const propertyIn = (parts: readonly Part[], name: string): SchemaNode[] =>
  parts.flatMap((part) => {
    const { properties, patternProperties, additionalProperties } = part.keywords
    const own = isObject(properties) && Object.hasOwn(properties, name) ? [properties[name]] : []
    const matching = entriesOf(patternProperties).flatMap(([pattern, schema]) =>
      mayMatch(pattern, name) ? [schema] : []
    )
    const found = [...own, ...matching]
    return (found.length > 0 ? found : [additionalProperties ?? true]).map((schema) => inside(part, schema))
  })

function mayMatch(pattern: string, name: string): boolean {
  try {
    return compilePattern(pattern).test(name)
  } catch {
    return false
  }
}

/** Returns what the item at an index has to match in some parts. */
export const itemIn = (parts: readonly Part[], index: number): SchemaNode[] =>
  parts.map((part) => {
    const { prefixItems, items } = part.keywords
    return inside(part, (Array.isArray(prefixItems) ? prefixItems[index] : undefined) ?? items ?? true)
  })

/** Lists the entries of a keyword that is a map. */
export const entriesOf = (value: unknown): [name: string, value: unknown][] =>
  isObject(value) ? Object.entries(value) : []

const TYPES = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'] as const

/** Returns the types that values may have that match some parts. */
export function typesIn(parts: readonly Part[]): ReadonlySet<string> {
  let types = new Set<string>(TYPES)
  for (const { keywords } of parts) {
    const { type } = keywords
    const values = valuesIn(keywords)
    const named = new Set<string>([
      ...(values === undefined ? [type].flat().map(String) : values.map(typeOf)),
      ...([type].flat().includes('number') && values === undefined ? ['integer'] : [])
    ])
    if (type !== undefined || values !== undefined)
      types = new Set([...types].filter((each) => named.has(each)))
  }
  return types
}

/** Lists the values that keywords allow; undefined where they do not list them. */
export const valuesIn = ({ enum: list, const: one }: Keywords): readonly unknown[] | undefined =>
  one !== undefined ? [one] : Array.isArray(list) ? list : undefined

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value
}
