import type { FastifyRequest } from 'fastify'
import type { Target } from './target.ts'

/** What attempts need of their upstream. */
export interface Targets {
  readonly name: string
  readonly traffic: { active: number; activeRetries: number; retries: number }
  /** The targets that currently get requests, full ones included. */
  readonly ready: readonly Target[]
  /** Seconds until a target may accept requests again. */
  readonly retryAfter: number
  /** Picks a target, preferably one that was not tried; undefined if none can accept the request. */
  pick(request: FastifyRequest | null, tried: readonly Target[]): Target | undefined
  /** Returns whether the budget allows one more retry. */
  acquireRetry(budget: number): boolean
}
