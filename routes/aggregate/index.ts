import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fp, readBody, type TargetRoute, type TargetRoutes } from '../../src/kit/index.ts'
import { compileFormat } from '../../src/lib/body/format.ts'
import { isJsonFault, parsedJson, parseJson } from '../../src/lib/body/json.ts'
import type { LegReport } from '../../src/lib/caller.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { acceptAnyContentType } from '../../src/lib/http/bodies.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { forwardedHead, type WriteRequestHead } from '../../src/lib/http/request-head.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { MethodRefused } from '../../src/lib/refusals.ts'
import { isObject } from '../../src/lib/schema.ts'
import { size } from '../../src/lib/units.ts'
import { compileBody } from './answer-body.ts'
import { cacheControl, partialHeader, varyOf } from './answer-head.ts'
import { CallFailed, Calls } from './call.ts'
import { faults, warnings } from './faults.ts'
import { compileLeg, type Leg } from './leg.ts'
import { type AggregateOptions, options } from './options.ts'
import { bodyUse, dependencies, legsRead } from './plan.ts'
import type { ClientBody } from './references.ts'
import { AnswerTooLarge, BodyNotJson } from './refusals.ts'
import { type LegOutcome, Run } from './run.ts'

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
    app.addHook('preParsing', function keepBody(request, _reply, payload, done) {
      acceptAnyContentType(request)
      done(null, payload)
    })
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

// Larger responses are written in the parts that they are made of.
const ONE_WRITE = 65_536

function makeHandler(
  app: FastifyInstance,
  { info, options }: TargetRoute<AggregateOptions>
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  const legs = compileLegs(app, options)
  const writeHead = clientHeadWriter(app, info.options['requestId'])
  const writeBody = compileBody(options)
  const format = options.format === undefined ? undefined : compileFormat(options.format)
  const use = bodyUse(options)
  const maxTotal = size(options.maxTotal)
  const allowed = info.methods ?? ['GET', 'HEAD']
  return async function sendAggregate(request, reply) {
    if (!allowed.includes(request.method)) {
      reply.header('allow', allowed.join(', '))
      throw new MethodRefused(request.method)
    }
    const calls = new Calls(app)
    onResponseClosed(reply.raw, endCalls, calls, undefined)
    const body = use === 'none' ? undefined : await clientBody(request, use)
    request.deadline?.enforce(endInTime, calls)
    const head = writeHead(request, app.trusts(peerOf(request)), '')
    const run = new Run(legs, calls, { request, head, body })
    const outcomes = await finished(run, calls)
    request.deadline?.cancel()
    request.legs = outcomes.map(reportOf)
    let chunks = writeBody(outcomes, run.values)
    reply.headers(headersFor(outcomes, request))
    if (format === undefined) reply.type('application/json; charset=utf-8')
    else {
      const type = format.choose(request.headers.accept)
      if (type === 'xml') chunks = [format.write(parseJson(Buffer.concat(chunks).toString()), type)]
      reply.type(format.contentTypes[type])
      reply.header('vary', joinVary(String(reply.getHeader('vary') ?? ''), 'Accept'))
    }
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (length > maxTotal) throw new AnswerTooLarge()
    reply.header('content-length', length)
    if (request.method === 'HEAD') return reply.send()
    return reply.send(length <= ONE_WRITE ? Buffer.concat(chunks) : Readable.from(chunks))
  }
}

function compileLegs(app: FastifyInstance, options: AggregateOptions): ReadonlyMap<string, Leg> {
  const waitsFor = dependencies(options.legs)
  const read = legsRead(options)
  return new Map(
    Object.entries(options.legs).map(([name, leg]) => [
      name,
      compileLeg(app, name, leg, {
        waitsFor: waitsFor.get(name) ?? [],
        needsValue: read.has(name),
        isMerged: options.merge?.includes(name) === true
      })
    ])
  )
}

/** Compiles the headers that a proxied request would have. */
function clientHeadWriter(app: FastifyInstance, requestId: unknown): WriteRequestHead {
  return forwardedHead({
    preserveHost: false,
    requestId: isObject(requestId) ? String(requestId['header']) : undefined,
    names: app.hasDecorator('identityNames') ? app.identityNames : new Set<string>(),
    cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null
  })
}

// The body is bounded by `limits.body`.
const NO_OWN_LIMIT = '1024gb'

async function clientBody(request: FastifyRequest, use: 'bytes' | 'json'): Promise<ClientBody | undefined> {
  const bytes = await readBody(request, { maxBody: NO_OWN_LIMIT })
  if (use === 'bytes' || bytes.length === 0) return { bytes, value: undefined }
  const parsed = parsedJson(bytes)
  if (isJsonFault(parsed)) throw new BodyNotJson()
  return { bytes, value: parsed.value }
}

/** Waits for all legs; ends those that still run if one of them decides the response. */
async function finished(run: Run, calls: Calls): Promise<LegOutcome[]> {
  try {
    return await run.outcomes()
  } catch (error) {
    calls.end(error as Error)
    throw error
  }
}

const reportOf = ({ leg, status, ms, failure }: LegOutcome): LegReport => ({
  name: leg.name,
  status,
  ms: Math.round(ms * 100) / 100,
  ...(failure === undefined ? {} : { reason: failure.reason })
})

function headersFor(outcomes: readonly LegOutcome[], { caller }: FastifyRequest): Record<string, string> {
  const headers: Record<string, string> = {}
  const caching = cacheControl(outcomes, caller !== null)
  if (caching !== undefined) headers['cache-control'] = caching
  const vary = varyOf(outcomes)
  if (vary !== '') headers['vary'] = vary
  const partial = partialHeader(outcomes)
  if (partial !== undefined) headers['sallyport-partial'] = partial
  return headers
}

const endInTime = (calls: Calls): void => calls.end(new CallFailed({ reason: 'timeout', status: undefined }))

function endCalls(calls: Calls): void {
  calls.end(new Error('The client closed the connection'))
  calls.release()
}
