import type { AboutRoute } from '../../src/kit/index.ts'
import { cacheOptionsOf, isNewEachTime, requiresCaller } from '../../src/lib/http/cache-options.ts'
import { isObject } from '../../src/lib/schema.ts'
import { isSafe } from './leg.ts'
import type { AggregateOptions } from './options.ts'
import { legReferences } from './plan.ts'

/** Returns the warnings about an aggregated response. */
export function warnings({ legs }: AggregateOptions, { optionsOf }: AboutRoute): string[] {
  const unsafe = Object.entries(legs).filter(([, leg]) => !isSafe(leg))
  const found: string[] = []
  if (unsafe.length > 1)
    found.push(
      `changes something in several legs (${namesOf(unsafe)}), and none of them is undone if another one fails`
    )
  const retried = unsafe.filter(([, { retry }]) => retry !== undefined).map(([name]) => name)
  if (retried.length > 0)
    found.push(
      `has "retry" on ${retried.join(', ')}, which are never retried; "safe": true says that they only read`
    )
  const each = Object.entries(legs).filter(
    ([, leg]) => leg.each !== undefined && legReferences(leg).every(({ kind }) => kind !== 'item')
  )
  if (each.length > 0) found.push(`calls ${namesOf(each)} for each item of a list without using the item`)
  const isCached = isObject(optionsOf('cache'))
  const renewed = Object.entries(legs).filter(
    ([, leg]) =>
      (isCached || cacheOptionsOf(leg.cache) !== undefined) &&
      isNewEachTime([leg.path, leg.headers, leg.body])
  )
  if (renewed.length > 0)
    found.push(
      `stores responses that are never found, because {requestId} in ${namesOf(renewed)} is new for each request`
    )
  const unstored = Object.entries(legs).filter(([, leg]) => cacheOptionsOf(leg.cache)?.callers === 'never')
  if (unstored.length > 0 && requiresCaller(optionsOf('auth')))
    found.push(
      `stores nothing of ${namesOf(unstored)}, because every request has a caller; set "callers" of its "cache" to "separate" or "shared"`
    )
  return found
}

const namesOf = (legs: readonly (readonly [string, unknown])[]): string =>
  legs.map(([name]) => name).join(', ')
