import type { Comparison } from '../../src/kit/concern.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { durationOrNone, rateOrNone, sizeOrNone } from '../../src/lib/units.ts'
import type { LimitsOptions } from './options.ts'

const time = (option: string | false): number => durationOrNone(option) ?? Number.POSITIVE_INFINITY
// A higher minimum allows less.
const minRate = (option: string | false): number => -(rateOrNone(option) ?? 0)

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  limits: true,
  changes: (before: LimitsOptions, after: LimitsOptions) => [
    ...(['body', 'headers', 'url'] as const).flatMap((name) =>
      limitChanges([name], sizeOrNone(before[name]), sizeOrNone(after[name]))
    ),
    ...(['time', 'headerTime', 'idle'] as const).flatMap((name) =>
      limitChanges([name], time(before[name]), time(after[name]))
    ),
    ...(['bodyRate', 'responseRate'] as const).flatMap((name) =>
      limitChanges([name], minRate(before[name]), minRate(after[name]))
    ),
    ...limitChanges(['headerCount'], countOf(before), countOf(after))
  ]
}

const countOf = ({ headerCount }: LimitsOptions): number =>
  headerCount === false ? Number.POSITIVE_INFINITY : headerCount
