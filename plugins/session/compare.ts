import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { notIn } from '../../src/lib/compare-options.ts'
import { duration } from '../../src/lib/units.ts'
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
    if (notIn(before.secrets, after.secrets).length > 0)
      found.push({
        class: 'narrowed-access',
        path: ['secrets'],
        message: 'no longer accepts sessions that are signed with a secret'
      })
    for (const name of ['idle', 'absolute'] as const) {
      const [old, next] = [duration(before[name]), duration(after[name])]
      if (next > old)
        found.push({ class: 'widened-access', path: [name], message: 'accepts sessions longer' })
      if (next < old)
        found.push({ class: 'narrowed-access', path: [name], message: 'accepts sessions less long' })
    }
    return found
  },
  options: {
    'cookie.name': { class: 'narrowed-access', message: 'no longer accepts sessions in the old cookie' },
    routes: { class: 'moved', message: 'has its own routes at other paths' }
  },
  onOff:
    'a route says with "auth" whether it takes sessions, and the routes of sessions are compared as routes'
}
