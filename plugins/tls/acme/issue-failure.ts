import { wall } from '../../../src/lib/clock.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { timings } from './timings.ts'
import { Problem } from './transport.ts'

/** What went wrong, for all instances: how often in a row, and before when nobody tries again. */
export interface IssueFailure {
  readonly failures: number
  /** Milliseconds since 1970. */
  readonly next: number
  /** What kind it is, without a name or an address. */
  readonly kind: string
}

/** Makes the trouble of one more failure: the wait doubles, is never the same twice, and never shorter than the authority wants. */
export function nextFailure(before: IssueFailure | undefined, error: unknown): IssueFailure {
  const failures = (before?.failures ?? 0) + 1
  const grown = Math.min(timings.firstRetryDelay * 2 ** (failures - 1), timings.maxRetryDelay)
  const [kind, least] =
    error instanceof Problem ? [error.kind, error.retryAfter] : ['the authority is not available', 0]
  return {
    failures,
    next: Math.round(wall() + Math.max(grown * (0.75 + Math.random() / 2), least)),
    kind
  }
}

/** Reads the trouble that another instance has written down, or this one before a restart; undefined where there is none. */
export function parseFailure(text: string | undefined): IssueFailure | undefined {
  try {
    const found: unknown = JSON.parse(text ?? '')
    return isObject(found) && Number.isFinite(found['failures']) && Number.isFinite(found['next'])
      ? (found as unknown as IssueFailure)
      : undefined
  } catch {
    return undefined
  }
}

/** Says a trouble to people who may not know more. */
export function describeFailure({ failures, next, kind }: IssueFailure): string {
  const times = failures === 1 ? 'once' : `${failures} times`
  return `could not be had ${times} (${kind}); tried again at ${new Date(next).toISOString()}`
}

/** Tells the cause of a failure, for the log. */
export function causeOf(error: unknown): string {
  if (error instanceof Problem) return `${error.kind}: ${error.message}`
  const { name, message, code } = error as NodeJS.ErrnoException
  return message === '' ? (code ?? name) : message
}
