import type { Comparison } from '../../src/kit/concern.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import type { FormatConcernOptions } from './options.ts'

const OTHERWISE = { class: 'exposure', message: 'converts responses otherwise' } as const

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (before: FormatConcernOptions | undefined, after: FormatConcernOptions | undefined) =>
    before === undefined || after === undefined
      ? []
      : limitChanges(['maxBody'], size(before.maxBody), size(after.maxBody)),
  options: {
    from: OTHERWISE,
    to: { class: 'exposure', message: 'sends responses in other formats' },
    lists: OTHERWISE,
    schema: OTHERWISE,
    namespaces: OTHERWISE,
    root: OTHERWISE
  },
  onOff: { class: 'exposure', message: 'converts responses, or no longer' }
}
