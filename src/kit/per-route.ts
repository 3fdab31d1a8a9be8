import type { FastifyError, FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, merge } from '../lib/schema.ts'
import { bindOnce } from './bind-once.ts'
import { addHook, GATE_PHASES, type Hooks, nameHook, OTHER_PHASES } from './hooks.ts'
import { addReported, isReporting, observe } from './observe.ts'
import { changesHead, extendHeadPlan, type HeadPlan } from './response-head.ts'
import { type RouteInfo, routeInfoOf } from './route-info.ts'

/** Puts a concern's hooks on every route on which it is on; `build` runs once a route, at boot. */
export function perRoute<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  build: (options: O, route: RouteInfo) => Hooks | undefined
): void {
  // A route can stand at several URLs.
  const built = new Map<RouteInfo, BuiltHooks | null>()
  putHooks(app, key, root, (options, route) =>
    getOrCreate(built, route, () => {
      const hooks = buildHooks(build(options, route), key, options, app)
      addGate(route, key, hooks)
      return hooks
    })
  )
}

/** Puts hooks on routes like `perRoute`, for hooks that do not depend on the route: built once per options object, and per `alike(options, route)` if given. */
export function perOptions<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  build: (options: O, route: RouteInfo) => Hooks | undefined,
  alike?: (options: O, route: RouteInfo) => unknown
): void {
  const built = new Map<O, Map<unknown, BuiltHooks | null>>()
  const seen = new Set<RouteInfo>()
  putHooks(app, key, root, (options, route) => {
    const ofOptions = getOrCreate(built, options, () => new Map<unknown, BuiltHooks | null>())
    const hooks = getOrCreate(ofOptions, alike?.(options, route), () => {
      const own = buildHooks(build(options, route), key, options, app)
      for (const hook of Object.values(own?.byPhase ?? {})) bindOnce(hook as object)
      return own
    })
    if (!seen.has(route)) addGate(route, key, hooks)
    seen.add(route)
    return hooks
  })
}

/** Calls `visit` at boot for every route on which a concern is on, with the options of the route. */
export function eachRoute<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  visit: (options: O, route: RouteInfo, routeOptions: RouteOptions) => void
): void {
  app.addHook('onRoute', function visitRoute(routeOptions) {
    const route = routeInfoOf(app, routeOptions)
    const options = optionsFor(key, root, route, routeOptions)
    if (options !== undefined) visit(options, route, routeOptions)
  })
}

/** Returns whether a gate has to refuse a request whose body is under way; in report mode the refusal is recorded, once, and the request goes on. */
export function reject(request: FastifyRequest, key: string, options: object, error: FastifyError): boolean {
  if (!isReporting(options)) return true
  const known = request.reported?.some(({ gate, code }) => gate === key && code === error.code) === true
  if (!known) addReported(request, { gate: key, phase: 'body' }, error)
  return false
}

/** The hooks of a concern, and what is registered with Fastify for each phase. */
interface BuiltHooks {
  readonly hooks: Hooks
  readonly byPhase: Readonly<Record<string, unknown>>
  /** Each head plan with what this concern adds to it; null where it adds nothing. */
  readonly heads: Map<HeadPlan, HeadPlan> | null
}

function putHooks<O extends object>(
  app: FastifyInstance,
  key: string,
  root: O,
  hooksFor: (options: O, route: RouteInfo) => BuiltHooks | null
): void {
  eachRoute(app, key, root, (options, route, routeOptions) => {
    const byPhase = hooksFor(options, route)?.byPhase
    for (const phase in byPhase) addHook(routeOptions, phase, byPhase[phase])
  })
}

/** Names a concern's hooks and wraps the gates in what is observed of them; null where there are none. */
function buildHooks(
  hooks: Hooks | undefined,
  key: string,
  options: object,
  { sallyportKit: { trace, cost }, simulation }: FastifyInstance
): BuiltHooks | null {
  if (hooks === undefined) return null
  const observed = {
    trace,
    cost,
    report: isReporting(options),
    isLeftOut: simulation?.leavesOut(key) === true
  }
  const byPhase: Record<string, unknown> = {}
  for (const phase of GATE_PHASES) {
    const hook = hooks[phase]
    if (hook !== undefined)
      byPhase[phase] = nameHook(observe(hook, { gate: key, phase }, observed), key, phase)
  }
  for (const phase of OTHER_PHASES)
    if (hooks[phase] !== undefined) byPhase[phase] = nameHook(hooks[phase], key, phase)
  return { hooks, byPhase, heads: changesHead(hooks) ? new Map() : null }
}

/** Adds a concern to the gates of a route, and what it does to the response head to the route's plan. */
function addGate(route: RouteInfo, key: string, built: BuiltHooks | null): void {
  if (built === null) return
  route.gates.push(key)
  const { head } = route
  if (built.heads !== null)
    route.head = getOrCreate(built.heads, head, () => extendHeadPlan(head, key, built.hooks))
}

/** Returns the options of a concern on a route; undefined where it is off. */
function optionsFor<O extends object>(
  key: string,
  root: O,
  { kind, options }: RouteInfo,
  { config }: RouteOptions
): O | undefined {
  // Where routes cannot set a concern's options, the config resolves none, and those of the root hold.
  const resolved = options[key]
  if (kind === 'config' && resolved !== undefined) return resolved === false ? undefined : (resolved as O)
  // "*" is how a built-in route switches off every concern that it does not mention.
  const written = config?.sallyport?.[key] ?? config?.sallyport?.['*']
  if (written === false) return undefined
  if (isObject(written)) return merge(undefined, root, written) as O
  return written === undefined && (root as { global?: boolean }).global === false ? undefined : root
}
