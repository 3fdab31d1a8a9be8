import type { Concern } from '../kit/index.ts'
import { nearest } from '../lib/schema.ts'
import { type Place, showPlace } from './fault.ts'
import type { Entry } from './levels.ts'
import type { OptionsState } from './merge-options.ts'
import { expectation } from './messages.ts'
import type { PlanDraft } from './plan-draft.ts'
import { placeLater } from './source.ts'
import type { Written } from './written.ts'

/** Where each concern was locked, by its key. */
type Locked = ReadonlyMap<string, () => Place>

/** Returns the concerns that are locked inside a group: those that it locks, and those that were locked before. */
export function lockedInside(
  { faults, catalog }: PlanDraft,
  { source, at, value }: Entry,
  outer: Locked
): Locked {
  const { locked } = value
  if (!Array.isArray(locked)) return outer
  const known = catalog.concerns.filter(({ override }) => override !== false).map(({ key }) => key)
  const inner = new Map(outer)
  for (const key of locked.map(String)) {
    const near = nearest(key, known)
    const suggestion = near === undefined ? undefined : `did you mean "${near}"?`
    if (known.includes(key)) inner.set(key, inner.get(key) ?? placeLater(source, [...at, 'locked']))
    else
      faults.addAt(
        source,
        [...at, 'locked'],
        expectation({ wanted: 'the key of a concern', value: key, suggestion })
      )
  }
  return inner
}

/** The options of a concern inside what a group has locked. */
interface LockedUse {
  readonly written: Written
  /** The state of the concern around it. */
  readonly state: OptionsState
  readonly locked: Locked
}

/** Rejects the options of a concern that is locked, unless they only make it stricter. */
export function checkLock(
  { faults }: PlanDraft,
  { key, isStricter }: Concern,
  { written: { source, path, value }, state, locked }: LockedUse
): void {
  const by = locked.get(key)
  if (by === undefined || isStricter?.(value, state.merged) === true) return
  const exception = isStricter === undefined ? '' : ', except to make "require" stricter'
  faults.addAt(
    source,
    path,
    `"${key}" is locked by the group at ${showPlace(by())}; nothing inside may set it${exception}`
  )
}
