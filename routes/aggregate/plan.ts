import { getOrCreate } from '../../src/lib/memoize.ts'
import { isObject } from '../../src/lib/schema.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { type Reference, reference } from './references.ts'

/** Returns the references in all texts of a value of the config. */
export function referencesIn(value: unknown): Reference[] {
  if (typeof value === 'string')
    return templateParts(value).flatMap((part) =>
      typeof part === 'string' ? [] : [reference(part.reference)]
    )
  if (Array.isArray(value)) return value.flatMap(referencesIn)
  return isObject(value) ? Object.values(value).flatMap(referencesIn) : []
}

/** Returns the references of a leg. */
export const legReferences = ({ path, headers, body, each }: LegOptions): Reference[] =>
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
  const read = new Set(merge)
  for (const leg of Object.values(legs))
    for (const { leg: name } of legReferences(leg)) if (name !== undefined) read.add(name)
  for (const { leg: name, reaches } of referencesIn(body)) if (name !== undefined && reaches) read.add(name)
  return read
}

/** Returns what is used of the client's body: nothing, its bytes, or its value. */
export function bodyUse({ legs, body }: AggregateOptions): 'none' | 'bytes' | 'json' {
  const uses = new Map<boolean, true>()
  const count = (isWhole: boolean): unknown => getOrCreate(uses, isWhole, () => true)
  for (const leg of Object.values(legs)) {
    if (leg.body === '{body}') count(true)
    const rest = legReferences(leg.body === '{body}' ? { ...leg, body: undefined } : leg)
    if (rest.some(({ kind }) => kind === 'body')) count(false)
  }
  if (referencesIn(body).some(({ kind }) => kind === 'body')) count(false)
  return uses.has(false) ? 'json' : uses.has(true) ? 'bytes' : 'none'
}
