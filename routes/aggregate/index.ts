import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fp, type TargetRoute, type TargetRoutes } from '../../src/kit/index.ts'
import type { LegReport } from '../../src/lib/caller.ts'
import { acceptAnyContentTypes } from '../../src/lib/http/bodies.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { MethodRefused } from '../../src/lib/refusals.ts'
import { type Answer, answerWriter } from './answer.ts'
import { Calls } from './calls.ts'
import { readClientBody } from './client-body.ts'
import { CallFailed, CLIENT_GONE } from './failures.ts'
import { faults } from './faults.ts'
import { compileLegs } from './leg.ts'
import { legHeadWriter } from './leg-request.ts'
import { type AggregateOptions, options } from './options.ts'
import { bodyUse } from './plan.ts'
import { type LegOutcome, Run } from './run.ts'
import { warnings } from './warnings.ts'

export const key = 'aggregate'
export const target = true
// Its deadline ends the legs, and what is there by then is the response.
export const streams = true
export const exposes = true

export { describes } from './describe.ts'
export { type AggregateOptions, faults, options, warnings }

export default fp<TargetRoutes<AggregateOptions>>(
  async function aggregate(app, { routes }) {
    // Bodies are left unread, for the legs that want them.
    acceptAnyContentTypes(app)
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', function leaveUnread(_request, payload, done) {
      done(null, payload)
    })
    for (const route of routes) {
      const handler = makeHandler(app, route)
      for (const mount of route.mounts)
        app.route({ ...mount, method: [...mount.method], exposeHeadRoute: false, handler })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true, dependencies: ['upstreams'] }
)

type Handler = (request: FastifyRequest, reply: FastifyReply) => void

function makeHandler(app: FastifyInstance, { info, options }: TargetRoute<AggregateOptions>): Handler {
  const legs = compileLegs(app, options)
  const headOf = legHeadWriter(app, info.options['requestId'])
  const writeAnswer = answerWriter(options)
  const use = bodyUse(options)
  const allowed = info.methods ?? ['GET', 'HEAD']

  async function answer(request: FastifyRequest, calls: Calls): Promise<Answer> {
    const body = await readClientBody(request, use, calls)
    const run = new Run(legs, calls, { request, head: headOf(request), body })
    try {
      const outcomes = await run.outcomes()
      return writeAnswer(request, { outcomes, values: run.values, calls })
    } finally {
      request.legs = run.finished.map(reportOf)
    }
  }

  return function sendAggregate(request, reply) {
    if (!allowed.includes(request.method)) {
      reply.header('allow', allowed.join(', '))
      throw new MethodRefused(request.method)
    }
    // The client may have left while the gates ran.
    if (isClosed(reply.raw)) return
    const calls = new Calls(app.buffers)
    onResponseClosed(reply.raw, endCalls, calls, undefined)
    if (request.deadline?.isEnforced === true) request.deadline.enforce(endInTime, calls)
    answer(request, calls)
      .then((made) => send(made, request, reply))
      .catch((error: unknown) => sendError(error, request, reply))
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

function send({ headers, chunks, length }: Answer, request: FastifyRequest, reply: FastifyReply): void {
  if (isClosed(reply.raw)) return
  request.deadline?.cancel()
  reply.headers({ ...headers, 'content-length': length })
  if (request.method === 'HEAD') reply.send()
  else reply.send(length <= ONE_WRITE ? Buffer.concat(chunks) : Readable.from(chunks))
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (isClosed(reply.raw)) return
  request.deadline?.cancel()
  reply.send(error)
}

const endInTime = (calls: Calls): void => calls.end(new CallFailed({ reason: 'timeout' }))

const endCalls = (calls: Calls): void => calls.release(CLIENT_GONE)
