import { STATUS_CODES } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Refusal } from '../../src/lib/refusals.ts'

/** A problem document, and what only people see of it. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly requestId?: string
  readonly traceId?: string
  readonly link?: Refusal['link']
  readonly lines?: Refusal['lines']
}

/** An error whose body is written. */
export interface Failure {
  readonly problem: Problem
  /** Additional members of the problem document. */
  readonly members?: Refusal['members']
  /** Undefined where the request could not be parsed. */
  readonly request: FastifyRequest | undefined
}

/** Creates the problem document of an error (RFC 9457), without its additional members. */
export function problemOf(refusal: Refusal, requestId?: string): Problem {
  const status = refusal.statusCode ?? 500
  const title = STATUS_CODES[status] ?? 'Error'
  return {
    type: 'about:blank',
    title,
    status,
    code: refusal.code,
    detail: refusal.message,
    ...(requestId === undefined ? {} : { requestId })
  }
}
