import { isObject } from '../../src/lib/schema.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { type Reference, reference } from './references.ts'

/** A reference in a text of the config. */
interface UsedReference extends Reference {
  /** Whether nothing else is in the text. */
  readonly isAlone: boolean
}

/** Returns the references in all texts of a value of the config. */
export function referencesIn(value: unknown): UsedReference[] {
  if (typeof value === 'string') {
    const parts = templateParts(value)
    const isAlone = parts.length === 1
    return parts.flatMap((part) =>
      typeof part === 'string' ? [] : [{ ...reference(part.reference), isAlone }]
    )
  }
  if (Array.isArray(value)) return value.flatMap(referencesIn)
  return isObject(value) ? Object.values(value).flatMap(referencesIn) : []
}

/** Returns the references of a leg. */
export const legReferences = ({ path, headers, body, each }: LegOptions): UsedReference[] =>
  referencesIn([path, Object.values(headers), body, each])

/** Returns the legs that each leg waits for: those it names. */
export function dependencies(legs: AggregateOptions['legs']): Map<string, string[]> {
  return new Map(
    Object.entries(legs).map(([name, leg]) => [
      name,
      [...new Set(legReferences(leg).flatMap(({ leg: other }) => (other === undefined ? [] : [other])))]
    ])
  )
}

/** Returns a circle of legs that wait for one another, its first one at both ends; undefined where there is none. */
export function circleOf(waitsFor: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>()
  const visit = (name: string, path: readonly string[]): string[] | undefined => {
    const at = path.indexOf(name)
    if (at !== -1) return [...path.slice(at), name]
    if (done.has(name)) return undefined
    for (const other of waitsFor.get(name) ?? []) {
      const circle = visit(other, [...path, name])
      if (circle !== undefined) return circle
    }
    done.add(name)
    return undefined
  }
  for (const name of waitsFor.keys()) {
    const circle = visit(name, [])
    if (circle !== undefined) return circle
  }
  return undefined
}

/** Returns the legs whose value is needed, not their bytes alone: something reaches into them, or puts them into a text. */
export function legsRead({ legs, body, merge = [] }: AggregateOptions): Set<string> {
  const used = [
    ...Object.values(legs).flatMap(legReferences),
    ...referencesIn(body).filter(({ reaches, isAlone }) => reaches || !isAlone)
  ]
  return new Set([...merge, ...used.flatMap(({ leg }) => (leg === undefined ? [] : [leg]))])
}

/** Returns what is used of the client's body: nothing, its bytes, or its value. */
export function bodyUse({ legs, body }: AggregateOptions): 'none' | 'bytes' | 'json' {
  const all = Object.values(legs)
  const copies = (leg: LegOptions): boolean => leg.body === '{body}'
  const others = all.map((leg) => (copies(leg) ? { ...leg, body: undefined } : leg))
  const used = [...others.flatMap(legReferences), ...referencesIn(body)]
  if (used.some(({ kind }) => kind === 'body')) return 'json'
  return all.some(copies) ? 'bytes' : 'none'
}
