import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import { SCHEMAS, type ValidateOptions } from './options.ts'

const UNKNOWN_QUERY = { reject: 0, drop: 1, keep: 2 } as const

/** How `diff` compares two resolved options: schemas by whether they are there, since which of two accepts more can't be decided. */
export const comparison: Comparison = {
  protects: false,
  options: { response: 'responses are only compared with the document' },
  changes(before: ValidateOptions, after: ValidateOptions, { changed }) {
    const found: OptionChange[] = []
    for (const name of [...SCHEMAS, 'openapi'] as const) {
      if (!changed.includes(name)) continue
      const path = [name]
      if (after[name] === undefined)
        found.push({ class: 'widened-access', path, message: 'is no longer validated' })
      else if (before[name] === undefined)
        found.push({ class: 'narrowed-access', path, message: 'is validated' })
      else
        found.push({
          class: 'widened-access',
          path,
          message: "is validated otherwise, and it can't be decided whether more is accepted"
        })
    }
    for (const name of ['servers', 'base'] as const)
      if (changed.includes(name))
        found.push({
          class: 'widened-access',
          path: [name],
          message: "is another place of the document, and it can't be decided whether more is accepted"
        })
    if (before.undeclared !== after.undeclared)
      found.push(
        after.undeclared === 'pass'
          ? {
              class: 'widened-access',
              path: ['undeclared'],
              message: 'accepts requests that are not declared'
            }
          : {
              class: 'narrowed-access',
              path: ['undeclared'],
              message: 'refuses requests that are not declared'
            }
      )
    const [query, nextQuery] = [UNKNOWN_QUERY[before.unknown.query], UNKNOWN_QUERY[after.unknown.query]]
    const path = ['unknown', 'query']
    if (nextQuery > query)
      found.push({ class: 'widened-access', path, message: 'accepts more parameters that are not named' })
    if (nextQuery < query)
      found.push({ class: 'narrowed-access', path, message: 'accepts fewer parameters that are not named' })
    return [...found, ...limitChanges(['maxBody'], size(before.maxBody), size(after.maxBody))]
  }
}
