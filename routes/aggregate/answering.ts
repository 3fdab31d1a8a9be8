import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import type { LegReport } from '../../src/lib/caller.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import { type Answer, answerWriter } from './answer.ts'
import { privateCacheControl } from './answer-head.ts'
import type { Calls } from './calls.ts'
import { readClientBody } from './client-body.ts'
import type { Leg } from './leg.ts'
import { legHeadWriter } from './leg-request.ts'
import type { AggregateOptions } from './options.ts'
import { bodyUse } from './plan.ts'
import { type LegOutcome, Run } from './run.ts'

/** Runs the legs and makes the response; rejects with a refusal. */
export type MakeAnswer = (request: FastifyRequest, calls: Calls, deadline: Deadline | null) => Promise<Answer>

/** What a route answers with. */
export interface AnswerPlan {
  readonly info: RouteInfo
  readonly options: AggregateOptions
  readonly legs: ReadonlyMap<string, Leg>
}

/** Compiles how the responses of a route are made. */
export function answerMaker(app: FastifyInstance, { info, options, legs }: AnswerPlan): MakeAnswer {
  const headOf = legHeadWriter(app, info.options)
  const writeAnswer = answerWriter(options)
  const use = bodyUse(options)
  return async (request, calls, deadline) => {
    const body = await readClientBody(request, use, calls)
    const run = new Run(legs, calls, { request, head: headOf(request), body, deadline })
    try {
      const outcomes = await run.outcomes()
      return writeAnswer(request, { outcomes, values: run.values, calls })
    } finally {
      request.legs = run.finished.map(reportOf)
    }
  }
}

const reportOf = ({ leg, status, ms, failure }: LegOutcome): LegReport => ({
  name: leg.name,
  status,
  ms: Math.round(ms * 100) / 100,
  ...(failure === undefined ? {} : { reason: failure.reason })
})

// Larger responses are written in the parts that they are made of.
const ONE_WRITE = 65_536

/** Sends a response, unless its client has left. */
export function sendAnswer(
  { headers, chunks, length }: Answer,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  if (isClosed(reply.raw)) return
  request.deadline?.cancel()
  reply.headers({ ...headers, 'content-length': length })
  const caching = headers['cache-control']
  if (caching !== undefined && request.caller !== null)
    reply.header('cache-control', privateCacheControl(caching))
  if (request.method === 'HEAD') reply.send()
  else reply.send(length <= ONE_WRITE ? Buffer.concat(chunks) : Readable.from(chunks))
}

/** Sends an error, unless its client has left. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (isClosed(reply.raw)) return
  request.deadline?.cancel()
  reply.send(error)
}
