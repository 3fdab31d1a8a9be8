import { mapReferences } from '../lib/body/json-schema/self-contained.ts'
import { pointerPart } from '../lib/body/json-schema/subschemas.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'

/** The components of one kind: each value once, under a name that is free. */
class ComponentMap {
  readonly #place: string
  readonly #named = new Map<string, { readonly value: unknown; readonly text: string }>()

  constructor(place: string) {
    this.#place = place
  }

  /** Adds a value and returns its name: the wanted one, with a number behind it if another value has that. */
  add(wanted: string, value: unknown): string {
    const base = wanted.replaceAll(/[^\w.-]+/g, '-')
    const text = JSON.stringify(value)
    let name = base
    for (let i = 2; this.#named.has(name) && this.#named.get(name)?.text !== text; i++) name = `${base}-${i}`
    this.#named.set(name, { value, text })
    return name
  }

  /** Adds a value and returns a reference to it. */
  refer(wanted: string, value: unknown): { readonly $ref: string } {
    return { $ref: this.referenceTo(this.add(wanted, value)) }
  }

  /** Returns a name that no value has. */
  freeName(wanted: string): string {
    let name = wanted
    for (let i = 2; this.#named.has(name); i++) name = `${wanted}-${i}`
    return name
  }

  referenceTo(name: string): string {
    return `${this.#place}/${name}`
  }

  sorted(): Record<string, unknown> {
    return Object.fromEntries(
      [...this.#named].toSorted(([a], [b]) => compare(a, b)).map(([name, { value }]) => [name, value])
    )
  }
}

/** The components of a document. */
export class Components {
  readonly headers = new ComponentMap('#/components/headers')
  readonly responses = new ComponentMap('#/components/responses')
  readonly schemas = new ComponentMap('#/components/schemas')
  readonly securitySchemes = new ComponentMap('#/components/securitySchemes')
  /** The other kinds, such as parameters, which documents bring along. */
  readonly #others = new Map<string, ComponentMap>()
  /** The references to schemas that became components, by their JSON. */
  readonly #hoisted = new Map<string, string>()

  /** Returns the components of a kind. */
  ofKind(kind: string): ComponentMap {
    const own = new Map(Object.entries(this.#own()))
    return own.get(kind) ?? getOrCreate(this.#others, kind, () => new ComponentMap(`#/components/${kind}`))
  }

  #own(): Readonly<Record<string, ComponentMap>> {
    const { headers, responses, schemas, securitySchemes } = this
    return { headers, responses, schemas, securitySchemes }
  }

  /** Returns a schema for a place in the document: as it is, or a reference where its own references need a fixed place. */
  placeSchema(wanted: string, schema: unknown): unknown {
    return hasReferences(schema) ? this.#hoist(wanted, schema) : schema
  }

  /** Returns the schema of a property of a schema, for a place in the document. */
  placeProperty(wanted: string, schema: Readonly<Record<string, unknown>>, property: string): unknown {
    const { properties } = schema
    if (!hasReferences(schema)) return isObject(properties) ? properties[property] : {}
    const { $ref } = this.#hoist(wanted, schema)
    return { $ref: `${$ref}/properties/${encodeURIComponent(pointerPart(property))}` }
  }

  /** Makes a schema a component, with its references below it; the same schema becomes one component. */
  #hoist(wanted: string, schema: unknown): { readonly $ref: string } {
    const text = JSON.stringify(schema)
    const known = this.#hoisted.get(text)
    if (known !== undefined) return { $ref: known }
    const name = this.schemas.freeName(wanted)
    const place = this.schemas.referenceTo(name)
    this.#hoisted.set(text, place)
    this.schemas.add(
      name,
      mapReferences(schema, (reference) =>
        reference === '#' ? place : reference.startsWith('#/') ? place + reference.slice(1) : reference
      )
    )
    return { $ref: place }
  }

  /** Returns the components by kind and name, sorted; without the kinds that are empty. */
  sorted(): Record<string, unknown> {
    return Object.fromEntries(
      [...Object.entries(this.#own()), ...this.#others]
        .toSorted(([a], [b]) => compare(a, b))
        .map(([kind, components]) => [kind, components.sorted()] as const)
        .filter(([, components]) => Object.keys(components).length > 0)
    )
  }
}

/** Compares texts by code units, which is the same everywhere. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function hasReferences(schema: unknown): boolean {
  let found = false
  mapReferences(schema, (reference) => {
    found ||= reference.startsWith('#')
    return reference
  })
  return found
}
