import { getOrCreate } from '../../memoize.ts'
import { isObject } from '../../schema.ts'
import {
  type Conjunction,
  entriesOf,
  inside,
  itemIn,
  type Keywords,
  type Part,
  partsOf,
  propertyIn,
  typesIn,
  UNDECIDED
} from './conjunction.ts'
import type { SchemaBundle } from './references.ts'
import { subschemas } from './subschemas.ts'
import { RULES } from './subset-rules.ts'

/** Returns whether every value that matches a schema is known to match another one; false also where that can't be told. */
export function isSubset(one: SchemaBundle, other: SchemaBundle): boolean {
  if (![one, other].every(({ documents }) => [...documents.values()].every(hasPlainReferences))) return false
  const root = (bundle: SchemaBundle): Conjunction => [
    { schema: bundle.documents.get(bundle.uri), uri: bundle.uri, bundle }
  ]
  return new SubsetCheck().holds(root(one), root(other), 0)
}

// What is found by a name and not by its place, or depends on what other schemas have seen.
const INDIRECT = [
  '$id',
  '$anchor',
  '$dynamicRef',
  '$dynamicAnchor',
  'unevaluatedItems',
  'unevaluatedProperties',
  'nullable',
  '$recursiveRef',
  'dependencies'
]

function hasPlainReferences(schema: unknown): boolean {
  if (!isObject(schema)) return true
  if (INDIRECT.some((keyword) => schema[keyword] !== undefined)) return false
  return [...subschemas(schema)].every(([, inner]) => hasPlainReferences(inner))
}

const MAX_STEPS = 20_000
const MAX_NESTED = 500

class SubsetCheck {
  #steps = 0
  readonly #open = new Map<string, number>()
  readonly #ids = new Map<unknown, number>()

  /** Returns whether all values of `a` are values of `b`; `depth` is how deep in the value they are. */
  holds(a: Conjunction, b: Conjunction, depth: number): boolean {
    const [parts, wanted] = [partsOf(a), partsOf(b)]
    if (parts === undefined) return true
    if (wanted === undefined || ++this.#steps > MAX_STEPS || this.#open.size > MAX_NESTED) return false
    const id = `${this.#idOf(a)} ${this.#idOf(b)}`
    const open = this.#open.get(id)
    // Schemas that refer to themselves: it holds unless a value inside tells otherwise.
    if (open !== undefined) return depth > open
    this.#open.set(id, depth)
    try {
      return wanted.every((part) => this.#implies(parts, part, depth))
    } finally {
      this.#open.delete(id)
    }
  }

  #idOf(nodes: Conjunction): string {
    return nodes.map(({ schema }) => (isObject(schema) ? this.#numberOf(schema) : String(schema))).join()
  }

  #numberOf(schema: object): number {
    return getOrCreate(this.#ids, schema, () => this.#ids.size)
  }

  #implies(parts: readonly Part[], part: Part, depth: number): boolean {
    const { keywords } = part
    const types = typesIn(parts)
    return (
      Object.keys(keywords).every((keyword) => {
        const rule = Object.hasOwn(RULES, keyword) ? RULES[keyword] : undefined
        if (rule === undefined) return keyword !== UNDECIDED
        return isFree(types, rule.type) || rule.implies(parts, keywords)
      }) &&
      (isFree(types, 'object') || this.#propertiesImply(parts, part, depth)) &&
      (isFree(types, 'array') || this.#itemsImply(parts, part, depth)) &&
      this.#combinationsImply(parts, part, depth)
    )
  }

  #propertiesImply(parts: readonly Part[], part: Part, depth: number): boolean {
    const { properties, patternProperties, additionalProperties, propertyNames, dependentSchemas } =
      part.keywords
    const names = new Set(
      [properties, ...parts.map(({ keywords }) => keywords['properties'])].flatMap(namesOf)
    )
    for (const name of names)
      if (!this.holds(propertyIn(parts, name), propertyIn([part], name), depth + 1)) return false
    return (
      entriesOf(patternProperties).every(([pattern, schema]) =>
        this.#othersImply(parts, part, { pattern, schema, depth })
      ) &&
      (additionalProperties === undefined ||
        this.#othersImply(parts, part, { pattern: undefined, schema: additionalProperties, depth })) &&
      (propertyNames === undefined ||
        parts.some(
          (each) =>
            each.keywords['propertyNames'] !== undefined &&
            this.holds(
              [inside(each, each.keywords['propertyNames'])],
              [inside(part, propertyNames)],
              depth + 1
            )
        )) &&
      entriesOf(dependentSchemas).every(([name, schema]) =>
        parts.some((each) =>
          entriesOf(each.keywords['dependentSchemas']).some(
            ([other, inner]) =>
              other === name && this.holds([inside(each, inner)], [inside(part, schema)], depth)
          )
        )
      )
    )
  }

  /** Returns whether the properties that nothing names match a schema: those of a pattern, or all that match none. */
  #othersImply(
    parts: readonly Part[],
    part: Part,
    { pattern, schema, depth }: { pattern: string | undefined; schema: unknown; depth: number }
  ): boolean {
    if (schema === true) return true
    const patterns = new Set(namesOf(part.keywords['patternProperties']))
    return parts.some((each) => {
      const { patternProperties, additionalProperties = true } = each.keywords
      const own = namesOf(patternProperties)
      const holds = (inner: unknown): boolean =>
        this.holds([inside(each, inner)], [inside(part, schema)], depth + 1)
      if (pattern !== undefined && own.includes(pattern))
        return holds((patternProperties as Keywords)[pattern])
      const isForAll = pattern === undefined ? own.every((name) => patterns.has(name)) : own.length === 0
      return isForAll && holds(additionalProperties)
    })
  }

  #itemsImply(parts: readonly Part[], part: Part, depth: number): boolean {
    const lengthOf = ({ keywords: { prefixItems } }: Part): number =>
      Array.isArray(prefixItems) ? prefixItems.length : 0
    if (part.keywords['items'] === undefined && lengthOf(part) === 0) return true
    // The last one stands for all that follow.
    const length = Math.max(lengthOf(part), ...parts.map(lengthOf))
    for (let i = 0; i <= length; i++)
      if (!this.holds(itemIn(parts, i), itemIn([part], i), depth + 1)) return false
    return true
  }

  #combinationsImply(parts: readonly Part[], part: Part, depth: number): boolean {
    const { anyOf, oneOf, not } = part.keywords
    const nodes = parts.map((each) => inside(each, each.keywords))
    const isOneOf = (branches: readonly unknown[], from: Conjunction): boolean =>
      branches.some((branch) => this.holds(from, [inside(part, branch)], depth))
    return (
      (!Array.isArray(anyOf) ||
        isOneOf(anyOf, nodes) ||
        parts.some(
          (each) =>
            Array.isArray(each.keywords['anyOf']) &&
            each.keywords['anyOf'].every((branch: unknown) => isOneOf(anyOf, [inside(each, branch)]))
        )) &&
      (!Array.isArray(oneOf) || parts.some((each) => this.#areEqual(each, part, ['oneOf'], depth))) &&
      (not === undefined ||
        parts.some(
          (each) =>
            each.keywords['not'] !== undefined &&
            this.holds([inside(part, not)], [inside(each, each.keywords['not'])], depth)
        )) &&
      (part.keywords['if'] === undefined ||
        parts.some((each) => this.#areEqual(each, part, ['if', 'then', 'else'], depth))) &&
      (part.keywords['contains'] === undefined ||
        parts.some((each) => this.#areEqual(each, part, ['contains', 'minContains', 'maxContains'], depth)))
    )
  }

  /** Returns whether the schemas of some keywords accept the same values. */
  #areEqual(one: Part, other: Part, keywords: readonly string[], depth: number): boolean {
    const isEqual = (a: unknown, b: unknown): boolean => {
      if (typeof a === 'number' || typeof b === 'number') return a === b
      if (Array.isArray(a) && Array.isArray(b))
        return a.length === b.length && a.every((each, i) => isEqual(each, b[i]))
      if ((a === undefined) !== (b === undefined)) return false
      const [left, right] = [[inside(one, a ?? true)], [inside(other, b ?? true)]]
      return this.holds(left, right, depth) && this.holds(right, left, depth)
    }
    return keywords.every((keyword) => isEqual(one.keywords[keyword], other.keywords[keyword]))
  }
}

const namesOf = (value: unknown): string[] => entriesOf(value).map(([name]) => name)

/** Returns whether values of none of a keyword's types are possible. */
const isFree = (types: ReadonlySet<string>, type: string | undefined): boolean =>
  type !== undefined && !types.has(type) && !(type === 'number' && types.has('integer'))
