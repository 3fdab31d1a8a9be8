import type { AboutComparison } from '../kit/comparison.ts'
import type { Concern, RouteInfo, Target } from '../kit/index.ts'
import { isSame } from '../lib/compare-options.ts'
import type { Sides } from './compared-side.ts'

/** The options that a module compares, and their routes. */
export interface ComparedOptions {
  readonly module: Concern | Target
  readonly old: unknown
  readonly next: unknown
  readonly before?: RouteInfo
  readonly after?: RouteInfo
}

/** Returns what modules ask about two sides. */
export const aboutOf = (sides: Sides, compared?: ComparedOptions): AboutComparison => ({
  before: compared?.before,
  after: compared?.after,
  changed: compared === undefined ? [] : changedOptions(sides, compared),
  destination: (side, nameOrUrl) => sides[side].destination(nameOrUrl),
  isSameFile: (one, other) =>
    (one === undefined ? undefined : sides.before.fileText(one)) ===
    (other === undefined ? undefined : sides.after.fileText(other))
})

function changedOptions({ before, after }: Sides, { module, old, next }: ComparedOptions): string[] {
  const one = before.plainValue(module, old) ?? {}
  const other = after.plainValue(module, next) ?? {}
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    (key) => key !== 'global' && !isSame(one[key], other[key])
  )
}
