import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { isSame, limitChanges } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import { partOf, type TransformOptions } from './options.ts'

const DIRECTIONS = ['request', 'response'] as const

/** How `diff` compares two resolved options: what a transformation omits may be a secret, and what is no JSON may be rejected. */
export const comparison: Comparison = {
  changes: (before: TransformOptions | undefined, after: TransformOptions | undefined) =>
    DIRECTIONS.flatMap((direction) => directionChanges(direction, before, after))
}

function directionChanges(
  direction: 'request' | 'response',
  before: TransformOptions | undefined,
  after: TransformOptions | undefined
): OptionChange[] {
  const [old, next] = [before && partOf(before, direction), after && partOf(after, direction)]
  const path = [direction]
  const found: OptionChange[] = []
  const ruleOf = (part: typeof old): object => ({ ...part, otherwise: undefined, maxBody: undefined })
  if (!isSame(ruleOf(old), ruleOf(next)))
    found.push({ class: 'exposure', path, message: 'changes bodies otherwise' })
  const at = (options: TransformOptions | undefined, name: 'otherwise' | 'maxBody'): string[] =>
    options?.[direction]?.[name] === undefined ? [name] : [direction, name]
  const [rejected, rejects] = [old?.otherwise === 'reject', next?.otherwise === 'reject']
  if (rejected !== rejects)
    found.push(
      rejects
        ? {
            class: 'narrowed-access',
            path: at(after, 'otherwise'),
            message: 'rejects bodies that are no JSON'
          }
        : {
            class: 'widened-access',
            path: at(before, 'otherwise'),
            message: 'lets bodies pass that are no JSON'
          }
    )
  const maxOf = (part: typeof old): number =>
    part === undefined ? Number.POSITIVE_INFINITY : size(part.maxBody)
  return [...found, ...limitChanges(at(after ?? before, 'maxBody'), maxOf(old), maxOf(next))]
}
