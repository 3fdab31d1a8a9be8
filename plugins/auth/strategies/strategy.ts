import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import type { PrivateHeader } from '../../../src/lib/http/copied-headers.ts'

/** A wrong credential, with a reason for logs and metrics that the client never sees. */
export class WrongCredential {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
  }
}

/** The caller; null if the request has no credential of this strategy; else that the credential is wrong. */
export type StrategyResult = Caller | null | 'wrong' | WrongCredential

/** One authentication method. */
export interface Strategy {
  readonly name: string
  /** The scheme in the `WWW-Authenticate` of a 401; undefined if it has none. */
  readonly scheme?: string
  /** The headers that may hold its credential; they are not forwarded unless `passOn` names the strategy. */
  readonly headers: readonly PrivateHeader[]
  /** The query parameters that hold its credential; they are never forwarded. */
  readonly parameters?: readonly string[]
  /** Whether it runs only if no other strategy has found a caller. */
  readonly isFallback?: boolean
  /** Authenticates a request, synchronously where it can. */
  authenticate(request: FastifyRequest, reply: FastifyReply): Promise<StrategyResult> | StrategyResult
}
