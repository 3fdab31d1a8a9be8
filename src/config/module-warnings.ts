import type { AboutPlanRoute, AboutRoute, PlanWarning } from '../kit/concern.ts'
import type { Concern, Target } from '../kit/index.ts'
import type { Warning } from '../kit/warning.ts'
import { upperSnakeCase } from '../lib/http/response-end.ts'
import { getOrCreate, onDemand } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import { namedEntries } from './facets.ts'
import type { Fault, Path } from './fault.ts'
import { type Finding, findingAt, type Subject, warningOf } from './finding.ts'
import type { Origin } from './origins.ts'
import type { Plan, PlannedRoute } from './plan-types.ts'
import { wholeConfig } from './where.ts'
import { hasValueAt } from './written.ts'

/** Collects the warnings of concerns and targets, each once with all its routes. */
export function moduleFindings(plan: Plan, workers: number): Finding[] {
  const { ofRoutes, ofPlan } = planFindings(plan, workers)
  const { concerns, targets } = plan.catalog
  return [
    ...ofRoutes,
    ...[...concerns, ...targets].flatMap((module) =>
      sharedBy(plan, module, (options, about) =>
        (module.warnings?.(options as never, about) ?? []).map((each) =>
          typeof each === 'string' ? textWarning(module.key, each) : each
        )
      ).map(({ message, routes }) => ({
        ...message,
        subjects: routes.map((route) => subjectOf(route, module, message.path))
      }))
    ),
    ...ofPlan
  ]
}

/** Collects what targets say of their routes although nothing has to change. */
export const moduleNotes = (plan: Plan): Fault[] =>
  plan.catalog.targets.flatMap((target) =>
    sharedBy(plan, target, (options) =>
      (target.notes?.(options as never) ?? []).map((text) => textWarning(target.key, text))
    ).flatMap(({ message, routes }) => warningOf({ ...message, subjects: [] }, routes.map(ofRoute)) ?? [])
  )

/** Makes a warning of a text, as extensions gave it before there were codes. */
const textWarning = (key: string, message: string): Warning => ({
  code: `SP_WARN_${upperSnakeCase(key)}`,
  severity: 'medium',
  title: `A warning of "${key}"`,
  message
})

/** Calls a facet for the routes of a module, and collects the routes that share a message. */
function sharedBy(
  plan: Plan,
  module: Concern | Target,
  messagesOf: (options: object, about: AboutRoute) => readonly Warning[]
): { readonly message: Warning; readonly routes: readonly PlannedRoute[] }[] {
  const isTarget = 'target' in module
  const upstreams = namedEntries(plan)
  const sharing = new Map<string, { message: Warning; routes: PlannedRoute[] }>()
  for (const route of plan.routes) {
    if (isTarget && route.target !== module.key) continue
    const options = isTarget ? route.targetOptions : route.options[module.key]
    if (!isObject(options)) continue
    const about: AboutRoute = {
      optionsOf: (other) => route.options[other],
      upstreams,
      target: route.target,
      paths: route.paths.map(({ text }) => text),
      methods: route.methods,
      overrides: route.overrides
    }
    for (const message of messagesOf(options, about))
      getOrCreate(sharing, `${message.code} ${message.message}`, () => ({ message, routes: [] })).routes.push(
        route
      )
  }
  return [...sharing.values()]
}

/** Returns a route as the subject of a warning: located at the option, where the config has it, else at the route. */
function subjectOf(route: PlannedRoute, module: Concern | Target, path: Path | undefined): Subject {
  const origins: readonly Origin[] =
    'target' in module ? route.targetOrigins : (route.origins.get(module.key) ?? [])
  const also = [route.where, ...origins.map((each) => each.locate([]).where)]
  const origin = path === undefined ? undefined : originWith(origins, path)
  return origin === undefined || path === undefined
    ? { ...ofRoute(route), also }
    : { name: route.name, ...origin.locate(path), also }
}

/** Returns the innermost origin that has an option; undefined for a default. */
const originWith = (origins: readonly Origin[], path: Path): Origin | undefined =>
  path.length === 0 ? origins.at(-1) : origins.findLast(({ value }) => hasValueAt(value, path))

const ofRoute = ({ name, where, place }: PlannedRoute): Subject => ({ name, where, place })

/** Collects the warnings of concerns about the config as a whole. */
function planFindings(
  plan: Plan,
  workers: number
): { readonly ofRoutes: Finding[]; readonly ofPlan: Finding[] } {
  const { catalog, routes, options: root } = plan
  const exposing = new Set(catalog.targets.filter(({ exposes }) => exposes === true).map(({ key }) => key))
  const planned = new Map(
    routes.map((route) => {
      const { options, overrides, target } = route
      const paths = route.paths.map(({ text }) => text)
      return [
        {
          paths,
          options,
          overrides,
          exposes: exposing.has(target)
        } satisfies AboutPlanRoute as AboutPlanRoute,
        route
      ]
    })
  )
  const usingStore = catalog.concerns
    .filter(
      ({ key, usesStore }) =>
        usesStore === true &&
        [root, ...routes.map(({ options }) => options)].some((options) => isObject(options[key]))
    )
    .map(({ key }) => key)
  const texts = onDemand(() => textsOf(plan))
  const about = {
    workers,
    usingStore,
    routes: [...planned.keys()],
    mentions: (text: string) => texts().has(text)
  }
  const ofRoutes: Finding[] = []
  const ofPlan: Finding[] = []
  for (const concern of catalog.concerns) {
    const { key, planWarnings } = concern
    if (root[key] === undefined || planWarnings === undefined) continue
    for (const { routes: those, ...warning } of planWarnings(root[key] as never, about))
      if (those === undefined) ofPlan.push(rootFinding(plan, key, warning))
      else
        ofRoutes.push({
          ...warning,
          subjects: those
            .flatMap((each) => planned.get(each) ?? [])
            .map((route) => subjectOf(route, concern, undefined))
        })
  }
  return { ofRoutes, ofPlan }
}

/** Locates a warning about the root options of a concern at the option, where the config has it. */
function rootFinding(plan: Plan, key: string, warning: Omit<PlanWarning, 'routes'>): Finding {
  const { path } = warning
  const origin = path === undefined ? undefined : originWith(plan.origins.get(key) ?? [], path)
  return findingAt(
    warning,
    origin === undefined || path === undefined ? wholeConfig(plan) : origin.locate(path)
  )
}

/** Returns all texts in the options of routes and of concerns, except those of named entries. */
function textsOf({ catalog, options: root, routes, disabledOptions }: Plan): ReadonlySet<string> {
  const named = catalog.concerns.filter((concern) => concern.named === true).map(({ key }) => key)
  const texts = new Set<string>()
  const known = new Set<unknown>()
  const collect = (value: unknown): void => {
    if (typeof value === 'string') texts.add(value)
    if (typeof value !== 'object' || value === null || known.has(value)) return
    known.add(value)
    for (const inner of Object.values(value)) collect(inner)
  }
  for (const [key, options] of Object.entries(root)) if (!named.includes(key)) collect(options)
  for (const { options, targetOptions } of routes) collect([options, targetOptions])
  collect(disabledOptions)
  return texts
}
