import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import { filesOfDocument, isSameDocument } from './compare-documents.ts'
import { declaredAnew, schemaChanges } from './compare-schemas.ts'
import { files, SCHEMAS, type ValidateOptions } from './options.ts'

const UNKNOWN_QUERY = { reject: 0, drop: 1, keep: 2 } as const

/** How `diff` compares two resolved options. Which of two OpenAPI documents accepts more isn't decided. */
export const comparison: Comparison = {
  protects: false,
  files: ({ openapi, ...options }: ValidateOptions) => [
    ...files(options),
    ...(openapi === undefined ? [] : filesOfDocument(openapi))
  ],
  options: { response: 'responses are only compared with the document' },
  changes(before: ValidateOptions, after: ValidateOptions, { changed }) {
    const found: OptionChange[] = []
    for (const name of SCHEMAS) found.push(...schemaChanges(name, before, after))
    found.push(...documentChanges(before.openapi, after.openapi))
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
    if (nextQuery === 0 && query === 0 && declaredAnew(before, after).length > 0)
      found.push({
        class: 'widened-access',
        path,
        message: `accepts parameters that were not named: ${declaredAnew(before, after).join(', ')}`
      })
    if (nextQuery > query)
      found.push({ class: 'widened-access', path, message: 'accepts more parameters that are not named' })
    if (nextQuery < query)
      found.push({ class: 'narrowed-access', path, message: 'accepts fewer parameters that are not named' })
    return [...found, ...limitChanges(['maxBody'], size(before.maxBody), size(after.maxBody))]
  }
}

function documentChanges(before: string | undefined, after: string | undefined): OptionChange[] {
  const path = ['openapi']
  if (before === undefined || after === undefined) {
    if (before === after) return []
    return after === undefined
      ? [{ class: 'widened-access', path, message: 'is no longer validated' }]
      : [{ class: 'narrowed-access', path, message: 'is validated' }]
  }
  return isSameDocument(before, after)
    ? []
    : [
        {
          class: 'widened-access',
          path,
          message: "is another document, and may accept more; it can't be decided"
        }
      ]
}
