import type { FastifyReply, FastifyRequest } from 'fastify'
import { joinVary } from '../lib/http/headers.ts'
import type { ResponseStage } from '../lib/http/staged-body.ts'
import { bindOnce } from './bind-once.ts'
import type { Head, HeadHook } from './head-hook.ts'
import type { Hooks } from './hooks.ts'
import { stageReply } from './response-stages.ts'

/** What the concerns of a route do to the head of every response. Routes whose concerns do the same share one. */
export interface HeadPlan {
  /** Headers that are set where the response does not have them already: `headers` of the hooks. */
  readonly defaults: readonly (readonly [name: string, value: string])[]
  /** Request headers that every response varies by, added to its own `Vary`; empty for none. */
  readonly vary: string
  /** Headers that are removed from an upstream's response. */
  readonly strips: ReadonlySet<string>
  /** The `onHead` hooks, which run just before the head is sent. */
  readonly hooks: readonly HeadHook[]
  /** What the body goes through before the head is sent. */
  readonly stages: readonly ResponseStage[]
  /** Whether a stage reads bodies: the upstream is asked for whole ones without a content coding. */
  readonly readsBodies: boolean
}

/** The plan of a route before concerns add to it. */
export const EMPTY_HEAD_PLAN: HeadPlan = {
  defaults: [],
  vary: '',
  strips: new Set(),
  hooks: [],
  stages: [],
  readsBodies: false
}

/** Returns whether the hooks of a concern add anything to the plan. */
export const changesHead = ({ onHead, headers, vary, strips, stages }: Hooks): boolean =>
  [onHead, headers, vary, strips, stages].some((part) => part !== undefined)

/** Returns a plan with what the hooks of a concern add. */
export const extendHeadPlan = (
  head: HeadPlan,
  key: string,
  { onHead, headers, vary, strips, stages = [], stageValues, readsBodies = false }: Hooks
): HeadPlan => ({
  defaults: [...head.defaults, ...Object.entries(headers ?? {})],
  vary: vary === undefined ? head.vary : joinVary(head.vary, vary),
  strips: new Set([...head.strips, ...(strips ?? [])]),
  hooks: onHead === undefined ? head.hooks : [...head.hooks, onHead],
  stages: [...head.stages, ...stages.map((start) => ({ key, start, values: stageValues }))],
  readsBodies: head.readsBodies || readsBodies
})

/** The `onSend` hook that applies a route's plan. Targets with `streams` apply it themselves (`routes/proxy/response-head.ts`). */
export const applyHead = bindOnce(function applyHead(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error: Error | null, payload?: unknown) => void
): void {
  const plan = request.routeOptions.config.sallyport?.route?.head
  if (plan === undefined) done(null, payload)
  // The gateway's own errors are sent as they are.
  else if (plan.stages.length === 0 || request.refusal !== null) {
    applyPlan(plan, request, reply)
    done(null, payload)
  } else
    stageReply(plan.stages, request, reply, payload, (error, staged) => {
      if (error === null) applyPlan(plan, request, reply)
      done(error, staged)
    })
})

function applyPlan(plan: HeadPlan, request: FastifyRequest, reply: FastifyReply): void {
  for (const [name, value] of plan.defaults) if (!reply.hasHeader(name)) reply.header(name, value)
  if (plan.vary !== '') reply.header('vary', joinVary(String(reply.getHeader('vary') ?? ''), plan.vary))
  if (plan.hooks.length === 0) return
  const head: Head = {
    status: reply.statusCode,
    has: (name) => reply.hasHeader(name),
    get: (name) => (reply.hasHeader(name) ? [reply.getHeader(name)].flat().join(', ') : undefined),
    set: (name, value) => void reply.removeHeader(name).header(name, value),
    add: (name, value) => addField(reply, name, value),
    remove: (name) => void reply.removeHeader(name)
  }
  for (const hook of plan.hooks) hook(request, reply, head)
}

function addField(reply: FastifyReply, name: string, value: string): void {
  const before = [reply.getHeader(name) ?? []].flat().map(String)
  // An `onSend` hook that fails sends the error, through here again, with the headers so far.
  if (before.includes(value)) return
  reply.removeHeader(name).header(name, before.length === 0 ? value : [...before, value])
}
