import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { GATE_PHASES, OTHER_PHASES } from '../../kit/hooks.ts'
import { type Concern, fp, Type } from '../../kit/index.ts'
import type { Verdict } from '../../kit/observe.ts'
import { concernOfCode } from '../../lib/http/response-end.ts'

/** What a gateway recorded of a request. */
export interface RequestRecord {
  readonly status: number
  readonly trace: readonly Verdict[]
  readonly reported: readonly Verdict[]
  /** The code of the refusal; undefined without one. */
  readonly code: string | undefined
  /** The error that was no refusal, with its place; undefined without one. */
  readonly thrown: string | undefined
  /** The key of the concern that refused it, by the code. */
  readonly refusedBy: string | undefined
}

/** A concern that watches the others. */
export interface Probe {
  readonly concern: Concern
  /** How many requests have begun. */
  begun: number
  /** The requests that have ended. */
  readonly records: RequestRecord[]
  /** Called whenever a request begins or ends. */
  onChange: () => void
  /** How many instances have not closed. */
  openInstances: number
  /** The names of the hooks that are functions without a name, by their phase. */
  readonly anonymousHooks: string[]
}

// Hooks of requests stand in stack traces and profiles; those of the boot don't.
const PHASES: ReadonlySet<string> = new Set([...GATE_PHASES, ...OTHER_PHASES])

const options = Type.Object({}, { additionalProperties: false, description: 'Watches the other concerns.' })

/** Makes a concern that comes first, and records what the others do. */
export function makeProbe(): Probe {
  const probe: Probe = {
    records: [],
    begun: 0,
    onChange: () => {},
    openInstances: 0,
    anonymousHooks: [],
    concern: {
      key: 'conformanceProbe',
      options,
      override: false,
      always: true,
      default: fp<object>(
        async function conformanceProbe(app) {
          const routes: RouteOptions[] = []
          probe.openInstances++
          app.addHook('onClose', async function countClosed() {
            probe.openInstances--
          })
          watchHooks(app, probe.anonymousHooks)
          app.addHook('onRoute', function watchRoute(route) {
            routes.push(route)
          })
          app.addHook('onReady', async function findAnonymousHooks() {
            for (const route of routes) probe.anonymousHooks.push(...anonymousHooksOf(route))
          })
          app.addHook('onRequest', async function countRequest() {
            probe.begun++
            probe.onChange()
          })
          const thrown = new WeakMap<FastifyRequest, string>()
          app.addHook('onError', async function keepError(request, _reply, error) {
            if (error.statusCode === undefined) thrown.set(request, withPlace(error))
          })
          app.addHook('onResponse', async function recordRequest(request, reply) {
            probe.records.push({ ...recordOf(request, reply), thrown: thrown.get(request) })
            probe.onChange()
          })
        },
        { name: 'conformanceProbe', fastify: '5.x' }
      )
    }
  }
  return probe
}

/** Notices the hooks without a name that an instance and its children get. */
function watchHooks(app: object, anonymous: string[]): void {
  const holder = app as { addHook: (this: unknown, phase: string, hook: { name: string }) => unknown }
  const { addHook } = holder
  holder.addHook = function watched(phase, hook) {
    if (hook.name === '' && PHASES.has(phase)) anonymous.push(phase)
    return addHook.call(this, phase, hook)
  }
}

function anonymousHooksOf(route: RouteOptions): string[] {
  const hooks = route as unknown as Readonly<Record<string, unknown>>
  return [...PHASES].flatMap((phase) =>
    [hooks[phase] ?? []]
      .flat()
      .filter((hook) => typeof hook === 'function' && hook.name === '')
      .map(() => `${phase} of ${route.url}`)
  )
}

/** Describes an error with the file and the line that threw it. */
function withPlace(error: Error): string {
  const place = /^\s+at (?:.*\()?((?:file:|\/|[A-Z]:\\).*?:\d+:\d+)\)?$/m.exec(error.stack ?? '')?.[1]
  return `${String(error)}${place === undefined ? '' : ` at ${place}`}`
}

function recordOf(request: FastifyRequest, reply: FastifyReply): Omit<RequestRecord, 'thrown'> {
  const gates = request.routeOptions.config.sallyport?.route?.gates ?? []
  const code = request.refusal?.code
  return {
    status: reply.statusCode,
    trace: request.trace ?? [],
    reported: request.reported ?? [],
    code,
    refusedBy: code === undefined ? undefined : concernOfCode(code, gates)
  }
}
