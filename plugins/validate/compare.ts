import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import { documentChanges } from './compare-documents.ts'
import { declaredAnew, schemaChanges } from './compare-schemas.ts'
import { filesOfDocument } from './document-files.ts'
import { files, SCHEMAS, type ValidateOptions } from './options.ts'

const UNKNOWN_QUERY = { reject: 0, drop: 1, keep: 2 } as const

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  protects: false,
  files: ({ openapi, ...options }: ValidateOptions) => [
    ...files(options),
    ...(openapi === undefined ? [] : filesOfDocument(openapi))
  ],
  options: { response: 'responses are only compared with the document' },
  byPaths: ({ openapi }: ValidateOptions) => openapi !== undefined,
  changes(before: ValidateOptions, after: ValidateOptions, about) {
    const found: OptionChange[] = []
    for (const name of SCHEMAS) found.push(...schemaChanges(name, before, after))
    found.push(
      ...documentChanges({ options: before, route: about.before }, { options: after, route: about.after })
    )
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
    if (query < UNKNOWN_QUERY.keep && declaredAnew(before, after).length > 0)
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
