import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { addressOutside, limitChanges } from '../../src/lib/compare-options.ts'
import { duration } from '../../src/lib/units.ts'
import { countingChanges } from './compare-counting.ts'
import type { QuotaOptions, RateLimitOptions } from './options.ts'

type Quota = Pick<QuotaOptions, 'max' | 'maxInFlight' | 'burst'> & {
  readonly window: string
  readonly cost: number
}

/** How `diff` compares two resolved options: the numbers of each limit, and what is counted. */
export const comparison: Comparison = {
  limits: true,
  changes(before: RateLimitOptions, after: RateLimitOptions) {
    const found = quotaChanges(before, after, [])
    for (const name of new Set([...Object.keys(before.also), ...Object.keys(after.also)])) {
      const [old, next] = [before.also[name], after.also[name]]
      const path = ['also', name]
      if (old === undefined) found.push({ class: 'tightened-limits', path, message: 'is a limit more' })
      else if (next === undefined)
        found.push({ class: 'loosened-limits', path, message: 'is no limit any more' })
      else found.push(...quotaChanges(old, next, path))
    }
    if (before.onStoreFailure !== after.onStoreFailure)
      found.push(
        after.onStoreFailure === 'allow'
          ? {
              class: 'loosened-limits',
              path: ['onStoreFailure'],
              message: 'counts nothing while the store fails'
            }
          : {
              class: 'tightened-limits',
              path: ['onStoreFailure'],
              message: 'refuses requests while the store fails'
            }
      )
    return [...found, ...exemptChanges(before.exempt, after.exempt)]
  }
}

function exemptChanges(before: readonly string[], after: readonly string[]): OptionChange[] {
  const [more, less] = [addressOutside(after, before), addressOutside(before, after)]
  const path = ['exempt']
  return [
    ...(more === undefined
      ? []
      : [{ class: 'loosened-limits', path, message: `exempts more addresses, such as ${more}` } as const]),
    ...(less === undefined
      ? []
      : [{ class: 'tightened-limits', path, message: `counts more addresses, such as ${less}` } as const])
  ]
}

function quotaChanges(before: QuotaOptions, after: QuotaOptions, path: string[]): OptionChange[] {
  const found = [...numberChanges(before, after, path), ...countingChanges(before, after, path)]
  for (const role of new Set([...Object.keys(before.tiers), ...Object.keys(after.tiers)]))
    found.push(
      ...numberChanges({ ...before, ...before.tiers[role] }, { ...after, ...after.tiers[role] }, [
        ...path,
        'tiers',
        role
      ]).filter(
        (change) =>
          !found.some((other) => other.message === change.message && other.path.at(-1) === change.path.at(-1))
      )
    )
  return found
}

const changedName = (before: Quota, after: Quota): string =>
  before.window !== after.window ? 'window' : before.max === after.max ? 'cost' : 'max'

function numberChanges(before: Quota, after: Quota, path: string[]): OptionChange[] {
  const numberOf = (value: number | undefined): number => value ?? Number.POSITIVE_INFINITY
  const perMs = ({ max, window, cost }: Quota): number => numberOf(max) / cost / duration(window)
  const atOnce = ({ burst, max, cost }: Quota): number => numberOf(burst ?? max) / cost
  return [
    limitChanges([...path, changedName(before, after)], perMs(before), perMs(after)),
    perMs(before) === perMs(after)
      ? limitChanges([...path, before.burst === after.burst ? 'max' : 'burst'], atOnce(before), atOnce(after))
      : before.burst !== after.burst
        ? limitChanges([...path, 'burst'], numberOf(before.burst), numberOf(after.burst))
        : [],
    limitChanges([...path, 'maxInFlight'], numberOf(before.maxInFlight), numberOf(after.maxInFlight))
  ].flat()
}
