import { type AboutRoute, defineWarning, type Warning } from '../../src/kit/index.ts'
import { cacheOptionsOf, isNewEachTime, requiresCaller } from '../../src/lib/http/cache-options.ts'
import { isObject } from '../../src/lib/schema.ts'
import { durationOrNone } from '../../src/lib/units.ts'
import { isSafe } from './leg.ts'
import type { AggregateOptions } from './options.ts'
import { legReferences } from './plan.ts'

const unsafeLegs = defineWarning(
  'SP_WARN_AGGREGATE_UNSAFE',
  'medium',
  'Several legs change something, and none is undone'
)
const withoutEffect = defineWarning(
  'SP_WARN_AGGREGATE_NO_EFFECT',
  'low',
  'An option of a leg that has no effect'
)
const neverFound = defineWarning(
  'SP_WARN_AGGREGATE_NEVER_FOUND',
  'low',
  'Responses of a leg are stored that no request finds'
)

const unreachableTimeout = defineWarning(
  'SP_WARN_AGGREGATE_TIMEOUT',
  'low',
  'A timeout of a leg that the deadline of the request ends first'
)

/** Returns the warnings about an aggregated response. */
export const warnings = ({ legs }: AggregateOptions, about: AboutRoute): Warning[] => [
  ...legWarnings(legs, about),
  ...timeoutWarnings(legs, about)
]

/** Warns of legs that have more time than the request. */
function timeoutWarnings(legs: AggregateOptions['legs'], { optionsOf }: AboutRoute): Warning[] {
  const limits = optionsOf('limits')
  if (!isObject(limits) || limits['mode'] === 'report') return []
  const time = durationOrNone(limits['time'] as string | false | undefined) ?? Number.POSITIVE_INFINITY
  const longer = Object.entries(legs).filter(([, { timeout }]) => (durationOrNone(timeout) ?? 0) > time)
  return longer.length === 0
    ? []
    : [
        unreachableTimeout(
          `gives ${namesOf(longer)} more time ("timeout") than the request has: "limits.time" is ${String(limits['time'])}`,
          ['legs']
        )
      ]
}

function legWarnings(legs: AggregateOptions['legs'], { optionsOf }: AboutRoute): Warning[] {
  const unsafe = Object.entries(legs).filter(([, leg]) => !isSafe(leg))
  const found: Warning[] = []
  if (unsafe.length > 1)
    found.push(
      unsafeLegs(
        `changes something in several legs (${namesOf(unsafe)}), and none of them is undone if another one fails`,
        ['legs']
      )
    )
  const retried = unsafe.filter(([, { retry }]) => retry !== undefined).map(([name]) => name)
  if (retried.length > 0)
    found.push(
      withoutEffect(
        `has "retry" on ${retried.join(', ')}, which are never retried; "safe": true says that they only read`,
        ['legs']
      )
    )
  const each = Object.entries(legs).filter(
    ([, leg]) => leg.each !== undefined && legReferences(leg).every(({ kind }) => kind !== 'item')
  )
  if (each.length > 0)
    found.push(
      withoutEffect(`calls ${namesOf(each)} for each item of a list without using the item`, ['legs'])
    )
  const isCached = isObject(optionsOf('cache'))
  const renewed = Object.entries(legs).filter(
    ([, leg]) =>
      (isCached || cacheOptionsOf(leg.cache) !== undefined) &&
      isNewEachTime([leg.path, leg.headers, leg.body])
  )
  if (renewed.length > 0)
    found.push(
      neverFound(
        `stores responses that are never found, because {requestId} in ${namesOf(renewed)} is new for each request`,
        ['legs']
      )
    )
  const unstored = Object.entries(legs).filter(([, leg]) => cacheOptionsOf(leg.cache)?.callers === 'never')
  if (unstored.length > 0 && requiresCaller(optionsOf('auth')))
    found.push(
      withoutEffect(
        `stores nothing of ${namesOf(unstored)}, because every request has a caller; set "callers" of its "cache" to "separate" or "shared"`,
        ['legs']
      )
    )
  return found
}

const namesOf = (legs: readonly (readonly [string, unknown])[]): string =>
  legs.map(([name]) => name).join(', ')
