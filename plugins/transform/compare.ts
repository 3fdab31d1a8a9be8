import type { Comparison } from '../../src/kit/concern.ts'

/** How `diff` compares two resolved options: what a transformation omits may be a secret. */
export const comparison: Comparison = {
  changes: (_before: unknown, _after: unknown, { changed }) =>
    changed.map((name) => ({ class: 'exposure', path: [name], message: 'changes bodies otherwise' }))
}
