import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Internal } from '../lib/refusals.ts'
import { type AsyncHook, type CallbackHook, type Done, type GateHook, takesCallback } from './hooks.ts'

/** One step of a trace, or a refusal that report mode let pass. */
export interface Verdict {
  readonly gate: string
  readonly phase: string
  /** "unknown" for a gate that a simulation leaves out. */
  readonly verdict: 'passed' | 'refused' | 'answered' | 'reported' | 'unknown'
  readonly code?: string
  readonly reason?: string
  /** When it began, by `performance.now()`. */
  readonly began?: number
  readonly ms?: number
}

/** Called with how long a gate's hook took, in milliseconds. */
export type RecordCost = (gate: string, ms: number) => void

/** A gate's hook by its place: the concern's key and Fastify's phase. */
export interface GatePlace {
  readonly gate: string
  readonly phase: string
}

/** What is recorded of a gate, decided at boot. */
export interface Observed {
  readonly trace: boolean
  readonly report: boolean
  readonly cost: RecordCost | undefined
  /** Whether the gate does not run, because its services are not simulated. */
  readonly isLeftOut: boolean
}

/** Returns whether the options of a gate put it into report mode. */
export const isReporting = (options: object): boolean => (options as { mode?: unknown }).mode === 'report'

/** Wraps a gate's hook to record its verdicts and time; returns it unchanged if nothing is recorded. */
export function observe(hook: GateHook, place: GatePlace, observed: Observed): GateHook {
  const { trace, report, cost, isLeftOut } = observed
  if (isLeftOut) return leftOut(place)
  if (!trace && !report) return cost === undefined ? hook : sampled(hook, place.gate, cost)
  let wrapped = withCallback(hook)
  if (cost !== undefined) wrapped = timed(wrapped, place.gate, cost)
  if (trace) wrapped = traced(wrapped, place, report ? 'reported' : 'refused')
  if (report) wrapped = reported(wrapped, place)
  return unlessSent(wrapped)
}

/** Records a refusal that report mode lets pass. */
export function addReported(request: FastifyRequest, { gate, phase }: GatePlace, error: unknown): void {
  request.reported ??= []
  request.reported.push({ gate, phase, verdict: 'reported', ...describe(error) })
}

/** Converts a hook to the callback form. Whatever it throws, even undefined, is a refusal. */
function withCallback(hook: GateHook): CallbackHook {
  const withDone = takesCallback(hook) ? (hook as CallbackHook) : resolved(hook as AsyncHook)
  return (request, reply, done) => {
    try {
      withDone(request, reply, done)
    } catch (error) {
      done(thrown(error))
    }
  }
}

const resolved =
  (hook: AsyncHook): CallbackHook =>
  (request, reply, decide) =>
    void hook(request, reply).then(
      () => decide(),
      (error: unknown) => decide(thrown(error))
    )

const thrown = (error: unknown): Error => (error ?? new Internal()) as Error

/** Records how long every run of a hook takes. */
const timed =
  (hook: CallbackHook, gate: string, cost: RecordCost): CallbackHook =>
  (request, reply, done) => {
    const began = performance.now()
    hook(request, reply, (error) => {
      cost(gate, performance.now() - began)
      done(error)
    })
  }

/** Records that a gate's verdict is not known, and lets the request pass. */
const leftOut =
  (place: GatePlace): CallbackHook =>
  (request, _reply, done) => {
    request.trace ??= []
    request.trace.push({ ...place, verdict: 'unknown' })
    done()
  }

/** Adds the verdict of a hook and its time to the trace of the request. */
const traced =
  (hook: CallbackHook, place: GatePlace, refusal: 'refused' | 'reported'): CallbackHook =>
  (request, reply, done) => {
    const began = performance.now()
    request.trace ??= []
    const { trace } = request
    // A gate that answers the request itself may never call back.
    const step = trace.push({ ...place, verdict: 'answered', began }) - 1
    hook(request, reply, (error) => {
      const ms = performance.now() - began
      const refused = isRefusal(error)
      const verdict = refused ? refusal : reply.sent ? 'answered' : 'passed'
      trace[step] = { ...place, verdict, began, ms, ...(refused ? describe(error) : {}) }
      done(error)
    })
  }

/** Records a refusal and lets the request pass. */
const reported =
  (hook: CallbackHook, place: GatePlace): CallbackHook =>
  (request, reply, done) =>
    hook(request, reply, (error) => {
      if (isRefusal(error)) addReported(request, place, error)
      done()
    })

/** Runs no further hooks once a gate has sent the response itself. */
const unlessSent =
  (hook: CallbackHook): CallbackHook =>
  (request, reply, done) =>
    hook(request, reply, (error) => {
      if (isRefusal(error) || !reply.sent) done(error)
    })

/** Returns the gate that is deciding about a traced request; undefined where none is. */
export const decidingGate = ({ trace }: FastifyRequest): string | undefined =>
  trace?.findLast(({ verdict, ms }) => verdict === 'answered' && ms === undefined)?.gate

const isRefusal = (error: unknown): boolean => error !== undefined && error !== null

function describe(error: unknown): { code: string; reason: string } {
  const { code, message } = error as Partial<FastifyError>
  return { code: code ?? 'SP_ERR_INTERNAL', reason: message ?? String(error) }
}

// One run in this many is measured; the others only increment a counter.
const SAMPLE_INTERVAL = 64

/** Records how long a sample of a hook's runs take. */
const sampled = (hook: GateHook, gate: string, cost: RecordCost): GateHook =>
  takesCallback(hook)
    ? sampledCallback(hook as CallbackHook, gate, cost)
    : sampledAsync(hook as AsyncHook, gate, cost)

function sampledCallback(hook: CallbackHook, gate: string, cost: RecordCost): CallbackHook {
  const timedHook = timed(hook, gate, cost)
  let count = 0
  return (request: FastifyRequest, reply: FastifyReply, done: Done): void => {
    if (count++ % SAMPLE_INTERVAL !== 0) hook(request, reply, done)
    else timedHook(request, reply, done)
  }
}

function sampledAsync(hook: AsyncHook, gate: string, cost: RecordCost): AsyncHook {
  let count = 0
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    if (count++ % SAMPLE_INTERVAL !== 0) return hook(request, reply)
    const began = performance.now()
    try {
      return await hook(request, reply)
    } finally {
      cost(gate, performance.now() - began)
    }
  }
}
