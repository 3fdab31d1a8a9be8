import type {
  FastifyContextConfig,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RouteOptions
} from 'fastify'
import type { Caller, Forwarding } from '../lib/caller.ts'
import { joinVary } from '../lib/http/headers.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { Internal } from '../lib/refusals.ts'
import { isObject, merge } from '../lib/schema.ts'
import type { Head, HeadHook, HeadPlan, RouteInfo } from './concern.ts'

type Done = (error?: Error) => void
type GateHook =
  | ((request: FastifyRequest, reply: FastifyReply, done: Done) => void)
  | ((request: FastifyRequest, reply: FastifyReply) => Promise<unknown>)

const GATE_PHASES = ['onRequest', 'preValidation', 'preHandler'] as const
const OTHER_PHASES = [
  'preParsing',
  'preSerialization',
  'onSend',
  'onResponse',
  'onError',
  'onTimeout',
  'onRequestAbort'
] as const

/** The hooks that a concern puts on a route: Fastify's own, and `onHead`, which runs before the head goes out whoever sends it. */
export type Hooks = Partial<Record<(typeof GATE_PHASES)[number], GateHook>> &
  Partial<Pick<RouteOptions, (typeof OTHER_PHASES)[number]>> & {
    onHead?: HeadHook
    /** Headers for every answer of the route that does not bring them itself. */
    headers?: Readonly<Record<string, string>>
    /** What every answer of the route varies by (RFC 9110 section 12.5.5). */
    vary?: string
    /** Headers, in lower case, that an upstream's answer loses on its way to the client. */
    strips?: readonly string[]
  }

/** A refusal that report mode let pass, or one step of a trace. */
export interface Verdict {
  readonly gate: string
  readonly phase: string
  readonly verdict: 'passed' | 'refused' | 'answered' | 'reported'
  readonly code?: string
  readonly reason?: string
  readonly ms?: number
}

declare module 'fastify' {
  interface FastifyInstance {
    /** What the kit observes, chosen at boot. */
    sallyportKit: Kit
  }
  interface FastifyRequest {
    /** Who makes the request; null until a way of `auth` let somebody in. */
    caller: Caller | null
    /** What the target did; null until it began. */
    forwarding: Forwarding | null
    /** Each gate's verdict, in order; null unless the gateway was built with `trace`. */
    trace: Verdict[] | null
    /** What gates in report mode would have refused; null where nothing was. */
    reported: Verdict[] | null
  }
}

/** What the kit observes and where it finds what the config says of a route. */
export interface Kit {
  readonly trace: boolean
  /** Called with the time that a hook of a concern took, in milliseconds, at one request of 64; absent where nobody measures. */
  cost?: (gate: string, ms: number) => void
  /** Finds what the config says of a route that is being registered. */
  readonly planned: (url: string, methods: readonly string[]) => RouteInfo | undefined
}

/** Prepares an instance for concerns: what they share on the request, and what is observed. */
export function decorateApp(app: FastifyInstance, kit: Kit): void {
  app.decorate('sallyportKit', kit)
  app.decorateRequest('began', 0)
  app.decorateRequest('response', null as never)
  app.decorateRequest('caller', null)
  app.decorateRequest('forwarding', null)
  app.decorateRequest('trace', null)
  app.decorateRequest('reported', null)
  app.addHook('onRoute', function nameRoute(route) {
    infoOf(app, route)
    addHook(route, 'onSend', applyHead)
  })
}

/** Calls `visit` at boot for every route on which the word is on, with the options that hold there. */
export function eachRoute<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  visit: (options: O, route: RouteInfo, routeOptions: RouteOptions) => void
): void {
  app.addHook('onRoute', function visitRoute(routeOptions) {
    const info = infoOf(app, routeOptions)
    const options = optionsOn(key, root, info, routeOptions)
    if (options !== undefined) visit(options, info, routeOptions)
  })
}

/** Puts a concern's hooks on every route on which its word is on; what depends on options alone happens once, at boot. */
export function perRoute<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  build: (options: O, route: RouteInfo) => Hooks | undefined
): void {
  // A route may stand at several URLs; what is built for it is built once.
  const built = new Map<RouteInfo, Built | null>()
  putHooks(app, key, root, (options, route) =>
    getOrCreate(built, route, () => {
      const made = wrapped(build(options, route), key, options, app.sallyportKit)
      noteGate(route, key, made)
      return made
    })
  )
}

/** Does what `perRoute` does for hooks that know of their route only what `alike` tells, which is nothing where it is left out: all routes that say the same, and are alike, have the same ones. */
export function perOptions<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  build: (options: O, route: RouteInfo) => Hooks | undefined,
  alike?: (options: O, route: RouteInfo) => unknown
): void {
  const built = new Map<O, Map<unknown, Built | null>>()
  const noted = new Set<RouteInfo>()
  putHooks(app, key, root, (options, route) => {
    const those = getOrCreate(built, options, () => new Map<unknown, Built | null>())
    const made = getOrCreate(those, alike?.(options, route), () => {
      const own = wrapped(build(options, route), key, options, app.sallyportKit)
      for (const hook of Object.values(own?.given ?? {})) bindOnce(hook as object)
      return own
    })
    if (!noted.has(route)) noteGate(route, key, made)
    noted.add(route)
    return made
  })
}

/** The hooks of a concern, and what Fastify is given of them, by their phases. */
interface Built {
  readonly hooks: Hooks
  readonly given: Readonly<Record<string, unknown>>
  /** The plans of heads that this makes of those before it; null where it wants nothing of a head. */
  readonly heads: Map<HeadPlan, HeadPlan> | null
}

function putHooks<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  builtFor: (options: O, route: RouteInfo) => Built | null
): void {
  eachRoute(app, key, root, (options, route, routeOptions) => {
    const given = builtFor(options, route)?.given
    for (const phase in given) addHook(routeOptions, phase, given[phase])
  })
}

/** Wraps hooks in what somebody asked for; null where there are none. */
function wrapped(hooks: Hooks | undefined, key: string, options: object, kit: Kit): Built | null {
  if (hooks === undefined) return null
  const report = (options as { mode?: unknown }).mode === 'report'
  const given: Record<string, unknown> = {}
  for (const phase of GATE_PHASES) {
    const hook = hooks[phase]
    if (hook !== undefined) given[phase] = guarded(hook, key, phase, report, kit)
  }
  for (const phase of OTHER_PHASES)
    if (hooks[phase] !== undefined) given[phase] = named(hooks[phase], key, phase)
  const { onHead, headers, vary, strips } = hooks
  const wantsNothing = [onHead, headers, vary, strips].every((wish) => wish === undefined)
  return { hooks, given, heads: wantsNothing ? null : new Map() }
}

/** Notes on a route that it has a gate, and what that wants of the head of its answers. */
function noteGate(route: RouteInfo, key: string, built: Built | null): void {
  if (built === null) return
  route.gates.push(key)
  const { head } = route
  if (built.heads !== null) route.head = getOrCreate(built.heads, head, () => planWith(head, built.hooks))
}

const planWith = (head: HeadPlan, { onHead, headers, vary, strips }: Hooks): HeadPlan => ({
  defaults: [...head.defaults, ...Object.entries(headers ?? {})],
  vary: vary === undefined ? head.vary : joinVary(head.vary, vary),
  strips: new Set([...head.strips, ...(strips ?? [])]),
  hooks: onHead === undefined ? head.hooks : [...head.hooks, onHead]
})

// What is wanted where nobody has wanted anything yet.
const PLAIN_HEAD: HeadPlan = { defaults: [], vary: '', strips: new Set(), hooks: [] }

/** Tells whether a gate that cuts in mid-stream has to; in report mode the refusal is noted, once, and the request goes on. */
export function reject(request: FastifyRequest, key: string, options: object, error: FastifyError): boolean {
  if ((options as { mode?: unknown }).mode !== 'report') return true
  const known = request.reported?.some(({ gate, code }) => gate === key && code === error.code) === true
  if (!known) note(request, key, 'body', error)
  return false
}

function optionsOn<O extends object>(
  key: string,
  root: O,
  info: RouteInfo,
  routeOptions: RouteOptions
): O | undefined {
  // Nothing is resolved of a word on which routes have no say: what the root says holds.
  const resolved = info.words[key]
  if (info.kind === 'config' && resolved !== undefined)
    return resolved === false ? undefined : (resolved as O)
  const words = routeOptions.config?.sallyport
  // A standing route that is outside of all has only the words it says.
  const said = words?.[key] ?? words?.['*']
  if (said === false) return undefined
  if (isObject(said)) return merge(undefined, root, said) as O
  return said === undefined && (root as { global?: boolean }).global === false ? undefined : root
}

/** Finds or makes what is known of a route that is being registered. */
function infoOf(app: FastifyInstance, routeOptions: RouteOptions): RouteInfo {
  const config: FastifyContextConfig = routeOptions.config ?? {}
  if (config.sallyport?.route !== undefined) return config.sallyport.route
  const methods = [routeOptions.method].flat()
  const route =
    app.sallyportKit.planned(routeOptions.url, methods) ??
    newRoute({ kind: 'plugin', name: routeOptions.url, path: routeOptions.url, methods })
  routeOptions.config = { ...config, sallyport: { ...route.words, ...config.sallyport, route } }
  return route
}

/** Describes a route, with nothing said of it yet. */
export function newRoute(
  moduleOf: Pick<RouteInfo, 'kind' | 'name' | 'path'> & Partial<Omit<RouteInfo, 'head' | 'gates'>>
): RouteInfo {
  return {
    id:
      moduleOf.id ??
      `${moduleOf.kind} ${moduleOf.name} ${moduleOf.path} ${moduleOf.methods?.join() ?? ''} ${moduleOf.hosts?.join() ?? ''}`,
    paths: [moduleOf.path],
    hosts: [],
    methods: undefined,
    target: undefined,
    streams: false,
    words: {},
    scope: () => 'root',
    mentionOf: () => undefined,
    ...moduleOf,
    head: PLAIN_HEAD,
    gates: []
  }
}

// Fastify shares hook arrays with the automatic HEAD twin: always hand over a new one.
function addHook(routeOptions: RouteOptions, phase: string, hook: unknown): void {
  const options = routeOptions as unknown as Record<string, unknown>
  const before = options[phase] ?? []
  options[phase] = Array.isArray(before) ? [...(before as unknown[]), hook] : [before, hook]
}

const applyHead = bindOnce(function applyHead(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error: null, payload: unknown) => void
): void {
  const plan = request.routeOptions.config.sallyport?.route?.head
  if (plan !== undefined) sendHead(plan, request, reply)
  done(null, payload)
})

function sendHead(plan: HeadPlan, request: FastifyRequest, reply: FastifyReply): void {
  for (const [name, value] of plan.defaults) if (!reply.hasHeader(name)) reply.header(name, value)
  if (plan.vary !== '') reply.header('vary', joinVary(String(reply.getHeader('vary') ?? ''), plan.vary))
  if (plan.hooks.length === 0) return
  const head: Head = {
    has: (name) => reply.hasHeader(name),
    set: (name, value) => void reply.removeHeader(name).header(name, value),
    remove: (name) => void reply.removeHeader(name)
  }
  for (const hook of plan.hooks) hook(request, reply, head)
}

function note(request: FastifyRequest, gate: string, phase: string, error: unknown): void {
  request.reported ??= []
  request.reported.push({ gate, phase, verdict: 'reported', ...about(error) })
}

function about(error: unknown): { code: string; reason: string } {
  const { code, message } = error as Partial<FastifyError>
  return { code: code ?? 'SP_ERR_INTERNAL', reason: message ?? String(error) }
}

function named<T>(hook: T, key: string, phase: string): T {
  const name = `${key} ${phase}`
  if (typeof hook === 'function' && hook.name !== name)
    Object.defineProperty(hook, 'name', { value: name, configurable: true })
  return hook
}

/** Lets a hook of many routes be bound to an instance once: Fastify binds it anew for each of them, which for a function with a name of its own takes six times the memory. */
function bindOnce<T extends object>(hook: T): T {
  if (Object.hasOwn(hook, 'bind')) return hook
  const bound = new WeakMap<object, unknown>()
  const { bind } = Function.prototype
  const value = (to: object): unknown => getOrCreate(bound, to, () => bind.call(hook as never, to))
  return Object.defineProperty(hook, 'bind', { value, configurable: true })
}

/** Wraps a gate's hook in what somebody asked for; a hook that nobody traces, reports or measures stays as it is. */
function guarded(hook: GateHook, gate: string, phase: string, report: boolean, kit: Kit): GateHook {
  if (!report && !kit.trace)
    return named(kit.cost === undefined ? hook : measured(hook, gate, kit.cost), gate, phase)
  const observed = (request: FastifyRequest, reply: FastifyReply, done: Done): void => {
    const began = performance.now()
    if (kit.trace) request.trace ??= []
    const { trace } = request
    // A gate that answers by itself need not come back to say so.
    const step = (trace?.push({ gate, phase, verdict: 'answered' }) ?? 0) - 1
    const settle = (error?: unknown): void => {
      const ms = performance.now() - began
      kit.cost?.(gate, ms)
      const refused = error !== undefined && error !== null
      if (trace !== null) {
        const verdict = refused ? (report ? 'reported' : 'refused') : reply.sent ? 'answered' : 'passed'
        trace[step] = { gate, phase, verdict, ms, ...(refused ? about(error) : {}) }
      }
      if (refused && report) note(request, gate, phase, error)
      if (refused && !report) done(error as Error)
      else if (!reply.sent) done()
    }
    try {
      if (hook.length >= 3)
        (hook as (q: FastifyRequest, p: FastifyReply, d: Done) => void)(request, reply, settle)
      else
        (hook as (q: FastifyRequest, p: FastifyReply) => Promise<unknown>)(request, reply).then(
          () => settle(),
          (error: unknown) => settle(error ?? new Internal())
        )
    } catch (error) {
      // Whatever was thrown, and be it nothing, is no "yes".
      settle(error ?? new Internal())
    }
  }
  return named(observed, gate, phase)
}

// Nobody has to watch every request: what a gate takes shows in a sample, and the others pay for a count.
const SAMPLED = 64

/** Wraps a gate's hook so that some of its runs are measured. */
function measured(hook: GateHook, gate: string, cost: NonNullable<Kit['cost']>): GateHook {
  let count = 0
  if (hook.length >= 3) {
    const calls = hook as (request: FastifyRequest, reply: FastifyReply, done: Done) => void
    return (request: FastifyRequest, reply: FastifyReply, done: Done): void => {
      if (count++ % SAMPLED !== 0) {
        calls(request, reply, done)
        return
      }
      const began = performance.now()
      calls(request, reply, (error) => {
        cost(gate, performance.now() - began)
        done(error)
      })
    }
  }
  const waits = hook as (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    if (count++ % SAMPLED !== 0) return waits(request, reply)
    const began = performance.now()
    try {
      return await waits(request, reply)
    } finally {
      cost(gate, performance.now() - began)
    }
  }
}
