import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { type CacheOptions, requiresCaller } from '../../src/lib/http/cache-options.ts'

// Who else may get a stored response.
const CALLERS = { never: 0, separate: 1, shared: 2 } as const

const SHARES = { class: 'exposure', message: 'shares stored responses among other requests' } as const
const TIMES = ['ttl', 'override', 'maxTtl', 'notFound', 'staleWhileRevalidate', 'staleIfError'] as const

/** How `diff` compares two resolved options: what is stored of responses to callers, and for how long. */
export const comparison: Comparison = {
  changes(before: CacheOptions | undefined, after: CacheOptions | undefined, { after: route, changed }) {
    const found: OptionChange[] = []
    const isPrivate = requiresCaller(route?.options['auth'])
    if (after !== undefined && before === undefined && isPrivate)
      found.push({ class: 'exposure', path: [], message: 'stores responses of a route with callers' })
    else if (after === undefined || before === undefined)
      found.push({ class: 'timing', path: [], message: after === undefined ? 'is off' : 'stores responses' })
    if (after !== undefined && CALLERS[after.callers] > CALLERS[before?.callers ?? 'never'])
      found.push({ class: 'exposure', path: ['callers'], message: 'stores responses to callers' })
    else if (after !== undefined && before !== undefined && after.callers !== before.callers)
      found.push({ class: 'timing', path: ['callers'], message: 'stores fewer responses to callers' })
    if (before === undefined || after === undefined) return found
    for (const name of TIMES)
      if (changed.includes(name))
        found.push({ class: 'timing', path: [name], message: 'stores responses for another time' })
    return found
  },
  options: {
    vary: SHARES,
    ignoreQuery: SHARES,
    setCookie: SHARES,
    coalesce: {
      class: 'timing',
      message: 'lets requests wait for the response to another one, or no longer'
    },
    requestDirectives: { class: 'timing', message: 'lets clients ask for fresh responses, or no longer' },
    maxEntry: { class: 'timing', message: 'stores responses of another size' },
    tags: 'a tag only names stored responses for those who remove them'
  }
}
