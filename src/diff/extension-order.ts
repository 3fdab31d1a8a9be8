import { getOrCreate } from '../lib/memoize.ts'
import type { Sides } from './compared-side.ts'

/** An extension, and the concerns that it has changed places with. */
export interface MovedExtension {
  readonly key: string
  /** The concerns that it runs before, and ran after. */
  readonly before: readonly string[]
  /** The concerns that it runs after, and ran before. */
  readonly after: readonly string[]
}

/** Lists the extensions that run at another place among the concerns of both configs. */
export function movedExtensions(
  { before, after }: Sides,
  isBuiltin: (module: object) => boolean
): readonly MovedExtension[] {
  const places = new Map(before.plan.catalog.concerns.map(({ key }, i) => [key, i]))
  const common = after.plan.catalog.concerns.filter(({ key }) => places.has(key))
  const placeOf = (key: string): number => places.get(key) ?? 0
  const moved = new Map<string, { before: string[]; after: string[] }>()
  const changesOf = (key: string) => getOrCreate(moved, key, () => ({ before: [], after: [] }))
  for (const [i, first] of common.entries())
    for (const second of common.slice(i + 1)) {
      if (placeOf(first.key) < placeOf(second.key)) continue
      if (!isBuiltin(first)) changesOf(first.key).before.push(second.key)
      else if (!isBuiltin(second)) changesOf(second.key).after.push(first.key)
    }
  return [...moved].map(([key, others]) => ({ key, ...others }))
}

/** Says what an extension has changed places with, of the concerns that are on; undefined if none of them is. */
export function describeMove(
  { key, before, after }: MovedExtension,
  isOn: (key: string) => boolean
): string | undefined {
  if (!isOn(key)) return undefined
  const [others, earlier] = [before.filter(isOn), after.filter(isOn)]
  const texts = [
    ...(others.length === 0 ? [] : [`runs before ${others.join(', ')}`]),
    ...(earlier.length === 0 ? [] : [`runs after ${earlier.join(', ')}`])
  ]
  return texts.length === 0
    ? undefined
    : `now ${texts.join(', and ')}, and did the reverse; what an extension of yours changes by that can't be told`
}
