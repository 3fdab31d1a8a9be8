import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TargetComparison } from '../../src/kit/concern.ts'
import { fp, type TargetRoute, type TargetRoutes } from '../../src/kit/index.ts'
import { limitChanges } from '../../src/lib/compare-options.ts'
import { acceptAnyContentTypes } from '../../src/lib/http/bodies.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { MethodRefused } from '../../src/lib/refusals.ts'
import { isObject } from '../../src/lib/schema.ts'
import { size } from '../../src/lib/units.ts'
import type { Answer } from './answer.ts'
import { answerMaker, sendAnswer, sendError } from './answering.ts'
import { CachedAnswers, type CachedAnswersPlan } from './cached.ts'
import { Calls, endInTime } from './calls.ts'
import { compileLegs } from './compile-legs.ts'
import { CLIENT_GONE } from './failures.ts'
import { faults } from './faults.ts'
import { type AggregateOptions, needs, options } from './options.ts'
import { warnings } from './warnings.ts'

export const key = 'aggregate'
export const target = true
// Its deadline ends the legs, and what is there by then is the response.
export const streams = true
export const exposes = true

export { describes } from './describe.ts'

const COMPOSES = { class: 'exposure', message: 'composes responses otherwise' } as const

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  reaches: ({ legs }: AggregateOptions) =>
    Object.values(legs).map(({ upstream, path, method }) => ({ upstream, as: `${method} ${path}` })),
  changes: ({ maxTotal: before }: AggregateOptions, { maxTotal: after }: AggregateOptions) =>
    limitChanges(['maxTotal'], size(before), size(after)),
  options: {
    legs: { class: 'exposure', message: 'asks its services otherwise, or for something else' },
    body: COMPOSES,
    merge: COMPOSES,
    partial: { class: 'exposure', message: 'tells clients of missing parts otherwise' },
    format: COMPOSES
  }
}

export { type AggregateOptions, faults, needs, options, warnings }

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
  const legs = compileLegs(app, options, info)
  const make = answerMaker(app, { info, options, legs })
  const allowed = info.methods ?? ['GET', 'HEAD']

  const answer = (request: FastifyRequest, reply: FastifyReply, onMade: (made: Answer) => void): void => {
    const calls = new Calls(app.buffers)
    onResponseClosed(reply.raw, endCalls, calls, undefined)
    if (request.deadline?.isEnforced === true) request.deadline.enforce(endInTime, calls)
    make(request, calls, request.deadline)
      .then((made) => {
        onMade(made)
        sendAnswer(made, request, reply)
      })
      .catch((error: unknown) => sendError(error, request, reply))
  }
  const cached = cachedAnswers(app, { info, options, legs, make, pass: answer })

  return function sendAggregate(request, reply) {
    if (!allowed.includes(request.method)) {
      reply.header('allow', allowed.join(', '))
      throw new MethodRefused(request.method)
    }
    // The client may have left while the gates ran.
    if (isClosed(reply.raw)) return
    if (cached === undefined) answer(request, reply, ignore)
    else cached.answer(request, reply).catch((error: unknown) => sendError(error, request, reply))
  }
}

/** Makes the cache of a route; undefined where it has none. */
function cachedAnswers(
  app: FastifyInstance,
  plan: Omit<CachedAnswersPlan, 'responses'>
): CachedAnswers | undefined {
  const responses = app.responseCache
  if (responses === undefined || !isObject(plan.info.options['cache'])) return undefined
  const cached = new CachedAnswers(app, { ...plan, responses })
  app.addHook('preClose', async function closeCached() {
    cached.close()
  })
  return cached
}

const endCalls = (calls: Calls): void => calls.release(CLIENT_GONE)

function ignore(): void {}
