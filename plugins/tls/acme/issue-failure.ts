import { wall } from '../../../src/lib/clock.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { timings } from './timings.ts'
import { Problem } from './transport.ts'

/** A failed issuance, as stored for all instances. */
export interface IssueFailure {
  /** Failures in a row. */
  readonly failures: number
  /** When the next attempt may be made, in milliseconds since 1970. */
  readonly next: number
  /** The kind of the failure; contains no names or addresses. */
  readonly kind: string
  /** When each CA may be asked again by its Retry-After, in milliseconds since 1970. */
  readonly notBefore?: readonly number[]
}

/** Which of the CAs an attempt used. */
export interface TriedAuthority {
  readonly index: number
  /** The number of CAs. */
  readonly of: number
}

/** Returns the index of the CA to ask next: in turn, except for one that asked to wait. */
export function nextAuthority(failure: IssueFailure | undefined, of: number): number {
  const turn = (failure?.failures ?? 0) % of
  const order = Array.from({ length: of }, (_, i) => (turn + i) % of)
  return order.find((index) => (failure?.notBefore?.[index] ?? 0) <= wall()) ?? turn
}

/** Returns the state after one more failure: the delay doubles, with jitter, and is at least the Retry-After of the CAs. */
export function nextFailure(
  previous: IssueFailure | undefined,
  error: unknown,
  tried: TriedAuthority
): IssueFailure {
  const failures = (previous?.failures ?? 0) + 1
  const delay = Math.min(timings.firstRetryDelay * 2 ** (failures - 1), timings.maxRetryDelay)
  const [kind, minDelay] =
    error instanceof Problem ? [error.kind, error.retryAfter] : ['the authority is not available', 0]
  const now = wall()
  const notBefore = Array.from({ length: tried.of }, (_, i) =>
    i === tried.index ? Math.round(now + minDelay) : (previous?.notBefore?.[i] ?? 0)
  )
  return {
    failures,
    next: Math.round(Math.max(now + delay * (0.75 + Math.random() / 2), Math.min(...notBefore))),
    kind,
    notBefore
  }
}

/** Parses a stored failure; undefined for none or an invalid one. */
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

/** Describes a failure without names or addresses, for /status. */
export function describeFailure({ failures, next, kind }: IssueFailure): string {
  const times = failures === 1 ? 'once' : `${failures} times`
  return `could not be had ${times} (${kind}); tried again at ${new Date(next).toISOString()}`
}

/** Returns the cause of a failure, for the log. */
export function causeOf(error: unknown): string {
  if (error instanceof Problem) return `${error.kind}: ${error.message}`
  const { name, message, code } = error as NodeJS.ErrnoException
  return message === '' ? (code ?? name) : message
}
