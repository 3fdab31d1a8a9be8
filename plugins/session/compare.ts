import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { notIn } from '../../src/lib/compare-options.ts'
import type { SessionOptions } from './options.ts'

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes(before: SessionOptions | undefined, after: SessionOptions | undefined) {
    if (before === undefined || after === undefined) return []
    const found: OptionChange[] = []
    if (notIn(after.secrets, before.secrets).length > 0)
      found.push({
        class: 'widened-access',
        path: ['secrets'],
        message: 'trusts others: sessions that are signed with another secret'
      })
    if (before.cookie.sameSite !== after.cookie.sameSite)
      found.push({
        class: 'exposure',
        path: ['cookie', 'sameSite'],
        message: 'sends the session from other sites, or no longer'
      })
    for (const name of ['idle', 'absolute'] as const)
      if (before[name] !== after[name])
        found.push({ class: 'timing', path: [name], message: 'ends sessions at another time' })
    return found
  }
}
