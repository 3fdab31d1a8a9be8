import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { StageFactory, StageValues } from '../lib/http/staged-body.ts'
import type { HeadHook } from './head-hook.ts'

export type Done = (error?: Error) => void

/** A gate's hook that calls `done` when it has decided. */
export type CallbackHook = (request: FastifyRequest, reply: FastifyReply, done: Done) => void

/** A gate's hook that returns a promise. */
export type AsyncHook = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

export type GateHook = CallbackHook | AsyncHook

/** The phases in which a concern can refuse a request. */
export const GATE_PHASES = ['onRequest', 'preValidation', 'preHandler'] as const

/** Fastify's other phases, whose hooks are registered as they are. */
export const OTHER_PHASES = [
  'preParsing',
  'preSerialization',
  'onSend',
  'onResponse',
  'onError',
  'onTimeout',
  'onRequestAbort'
] as const

/** The hooks of a concern on a route: Fastify's own, and what it does to the response head. */
export type Hooks = Partial<Record<(typeof GATE_PHASES)[number], GateHook>> &
  Partial<Pick<RouteOptions, (typeof OTHER_PHASES)[number]>> & {
    /** Runs just before the response head is sent, for proxied responses, too. */
    onHead?: HeadHook
    /** Headers for every response of the route that does not have them already. */
    headers?: Readonly<Record<string, string>>
    /** Request headers that every response of the route varies by (RFC 9110 section 12.5.5). */
    vary?: string
    /** Response headers, in lower case, that are removed from an upstream's response. */
    strips?: readonly string[]
    /** What response bodies go through, in the order of the concerns; never refusals of the gateway itself. */
    stages?: readonly StageFactory[]
    /** Returns the values of a request that the stages put into responses, in an order known at boot; a cache has an entry for each. */
    stageValues?: StageValues
    /** Whether the stages read bodies: the upstream is asked for whole ones without a content coding. */
    readsBodies?: boolean
  }

/** Returns whether a hook has a `done` callback: by the number of its parameters, like Fastify. */
export const takesCallback = (hook: GateHook): boolean => hook.length >= 3

/** Gives a hook the name under which it appears in stack traces: its concern and phase. */
export function nameHook<T>(hook: T, key: string, phase: string): T {
  const name = `${key} ${phase}`
  if (typeof hook === 'function' && hook.name !== name)
    Object.defineProperty(hook, 'name', { value: name, configurable: true })
  return hook
}

/** Adds a hook to a route that is being registered, behind those it has. */
export function addHook(routeOptions: RouteOptions, phase: string, hook: unknown): void {
  const options = routeOptions as unknown as Record<string, unknown>
  const before = options[phase] ?? []
  // Fastify shares hook arrays with the route's automatic HEAD twin, so each change makes a new array.
  options[phase] = Array.isArray(before) ? [...(before as unknown[]), hook] : [before, hook]
}
