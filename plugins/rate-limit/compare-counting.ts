import type { OptionChange } from '../../src/kit/concern.ts'
import { isSame, limitChanges, notIn } from '../../src/lib/compare-options.ts'
import type { QuotaOptions } from './options.ts'

type Path = OptionChange['path']

const loosened = (path: Path, message: string): OptionChange => ({ class: 'loosened-limits', path, message })
const tightened = (path: Path, message: string): OptionChange => ({
  class: 'tightened-limits',
  path,
  message
})

/** Compares what is counted together, how, and which responses are. */
export const countingChanges = (before: QuotaOptions, after: QuotaOptions, path: Path): OptionChange[] => [
  ...byChanges(before, after, [...path, 'by']),
  ...algorithmChanges(before, after, [...path, 'algorithm']),
  ...countChanges(before.count, after.count, [...path, 'count'])
]

function byChanges({ by: before }: QuotaOptions, { by: after }: QuotaOptions, path: Path): OptionChange[] {
  if (before === after) return []
  if (after === 'route') return [tightened(path, 'counts all requests together')]
  if (before === 'route') return [loosened(path, `counts apart by ${after}, and no longer all together`)]
  return isChosen(after) && !isChosen(before)
    ? [loosened(path, 'counts by what clients choose, so that one may have many counts')]
    : [loosened(path, `counts by ${after} and no longer by ${before}, and may allow more`)]
}

const isChosen = (by: string): boolean => /^(header|cookie|query):/.test(by)

/** Compares how many requests may pass in any window, wherever it begins. */
function algorithmChanges(before: QuotaOptions, after: QuotaOptions, path: Path): OptionChange[] {
  if (before.algorithm === after.algorithm || before.max === undefined || after.max === undefined) return []
  const [old, next] = [mostIn(before, before.max), mostIn(after, after.max)]
  const [change] = limitChanges(path, old / before.max, next / after.max)
  return [
    change === undefined
      ? loosened(path, 'counts otherwise, and may let other requests pass')
      : { ...change, message: `lets up to ${next} and no longer ${old} requests pass in any window` }
  ]
}

function mostIn({ algorithm, burst }: QuotaOptions, max: number): number {
  // Around the end of a window, the quota of two may be used.
  if (algorithm === 'fixedWindow') return 2 * max
  return algorithm === 'tokenBucket' ? max + (burst ?? max) : max
}

/** Compares the statuses of the responses that count; without any, every request does. */
function countChanges(
  before: QuotaOptions['count'],
  after: QuotaOptions['count'],
  path: Path
): OptionChange[] {
  if (isSame(before?.toSorted(), after?.toSorted())) return []
  if (before === undefined) return [loosened(path, 'counts fewer responses')]
  if (after === undefined) return [tightened(path, 'counts every request')]
  const [more, less] = [notIn(after, before), notIn(before, after)]
  if (more.length === 0) return [loosened(path, 'counts fewer responses')]
  return less.length === 0
    ? [tightened(path, 'counts more responses')]
    : [loosened(path, 'counts other responses, and may allow more')]
}
