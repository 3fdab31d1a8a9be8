import type { ChangeClass } from '../kit/comparison.ts'
import type { Base } from './base-revision.ts'
import type { ChangedRoute, Finding } from './findings.ts'
import type { ReplayResult } from './replay.ts'

/** What `sallyport diff` has found. */
export interface DiffReport {
  /** How the configs were named. */
  readonly before: string
  readonly after: string
  /** Which commit the old config is from, if a base was asked for. */
  readonly base?: Base
  readonly findings: readonly Finding[]
  /** The classes that make the command fail and were found. */
  readonly failed: readonly ChangeClass[]
  readonly replay?: ReplayResult
}

// More routes than this are counted.
const MAX_ROUTES = 5

/** Describes what changes, with its option. */
export const sentenceOf = ({ option, message }: Finding): string =>
  option === undefined ? message : `${option} ${message}`

/** Describes a value that changes, such as "1 → 2"; undefined where no value is shown. */
export function valuesOf({ before, after }: Finding): string | undefined {
  if (before === undefined && after === undefined) return undefined
  const shown = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value))
  return `${shown(before)} → ${shown(after)}`
}

/** Names the routes of a change, the first ones with a request. */
export function routesOf({ routes }: Finding): string[] {
  const lines = routes.slice(0, MAX_ROUTES).map((route) => `${nameOf(route)} (${route.request})`)
  return routes.length > MAX_ROUTES ? [...lines, `and ${routes.length - MAX_ROUTES} more`] : lines
}

function nameOf({ before, after }: ChangedRoute): string {
  if (before === undefined || after === undefined || before === after) return after ?? before ?? ''
  return `${before} → ${after}`
}

/** Describes how many logged requests are decided differently. */
export function replayLines({ requests, changes, notKnown, unreadable }: ReplayResult): string[] {
  const lines = [
    `${changes.reduce((sum, { count }) => sum + count, 0)} of ${requests} logged requests are decided differently`
  ]
  for (const { before, after, count, example } of changes)
    lines.push(`  ${count} × ${before} → ${after}, such as ${example}`)
  if (notKnown > 0) lines.push(`${notKnown} more depend on what the log does not have`)
  if (unreadable > 0) lines.push(`${unreadable} lines are no lines of an access log`)
  return lines
}
