import type { FormatName } from '../../src/lib/body/format-options.ts'
import type { AttemptPolicy, UpstreamService } from '../../src/lib/contracts/upstream.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import type { StatusOption } from '../../src/lib/http/statuses.ts'
import type { LegResponse } from './call.ts'
import type { Calls } from './calls.ts'
import type { LegCall } from './leg-call.ts'
import type { LegPath } from './leg-path.ts'
import type { LegRequest } from './leg-request.ts'
import type { LegOptions } from './options.ts'
import type { LegValue, ReadValue } from './references.ts'

/** A leg, compiled at boot. */
export interface Leg {
  readonly name: string
  readonly upstream: UpstreamService
  readonly policy: AttemptPolicy
  /** Whether the request may be sent again, and the response may be cached. */
  readonly safe: boolean
  /** The legs that it waits for. */
  readonly waitsFor: readonly string[]
  readonly required: boolean
  /** The value that takes the place of a failed leg; undefined if there is none. */
  readonly fallback: LegValue | undefined
  readonly pass: readonly StatusOption[] | undefined
  readonly path: LegPath
  readonly request: LegRequest
  /** The list whose items the leg is called for. */
  readonly each: ReadValue | undefined
  readonly max: number
  readonly concurrency: number
  /** Whether items with equal paths have equal requests, so that one call serves them. */
  readonly isSharedByPath: boolean
  /** The largest response body, in bytes. */
  readonly maxBody: number
  /** Milliseconds for all calls of the leg; Infinity for no limit of its own. */
  readonly timeout: number
  /** The format of its responses. */
  readonly from: FormatName
  /** Whether `read` parses responses into values that stay in memory. */
  readonly isParsed: boolean
  /** Reads a response; throws a CallFailed. */
  read(response: LegResponse): LegValue
  /** Answers requests from the cache; undefined for a leg without one. */
  readonly cache: LegAnswers | undefined
  /** Makes stored responses for a path invalid, because a request has changed something; undefined for a leg that only reads. */
  readonly invalidate: ((path: string) => void) | undefined
}

/** A response of a leg, from the cache or from its upstream. */
export interface CachedResponse extends LegResponse {
  /** What was read of it already. */
  readonly value?: LegValue
}

/** Answers the requests of a leg. */
export interface LegAnswers {
  /** Returns the response to a request; `calls` are those of the client's response. Rejects with a CallFailed, or with what the calls were ended with. */
  answer(call: LegCall, calls: Calls, deadline: Deadline | null): Promise<CachedResponse>
}

const SAFE_METHODS = new Set(['GET', 'OPTIONS'])

/** Returns whether the request of a leg only reads. */
export const isSafe = ({ method, safe }: LegOptions): boolean => safe || SAFE_METHODS.has(method)
