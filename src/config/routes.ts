import type { Target } from '../kit/index.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import { listOf } from './core.ts'
import type { Entry, Level } from './levels.ts'
import { NOT_MENTIONED, type OptionsState } from './merge-options.ts'
import type { RouteMatch } from './module-checks.ts'
import { Origin, originsOf } from './origins.ts'
import { PathError, type PathPattern, readPath } from './paths.ts'
import type { DraftRoute, PlanDraft } from './plan-draft.ts'
import type { PlannedRoute } from './plan-types.ts'
import { placeLater } from './source.ts'
import { whereOf } from './where.ts'

/** The resolved concerns of a route; shared by all routes with the same options. */
interface RouteConcerns extends Pick<PlannedRoute, 'options' | 'overrides' | 'mentioned' | 'origins'> {
  readonly scopes: Record<string, string>
}

/** Turns the entries of routes into planned routes. */
export class RouteBuilder {
  readonly #draft: PlanDraft
  readonly #concerns = new Map<ReadonlyMap<string, OptionsState>, RouteConcerns>()

  constructor(draft: PlanDraft) {
    this.#draft = draft
  }

  /** Adds the route of an entry to the plan. */
  add(entry: Entry, target: Target, level: Level): void {
    const { source, at, value } = entry
    const { faults, routes, states } = this.#draft
    if (level.isValid && level.paths.every((path) => path === ''))
      faults.addAt(source, at, 'The route has no "path"; "/*" matches every path')
    const match: RouteMatch = { paths: this.#patterns(entry, level), hosts: level.hosts }
    const state = this.#targetState(entry, target, level)
    const options = state.on ? this.#targetOptions(entry, target, state, match) : {}
    const concerns = getOrCreate(this.#concerns, level.concerns, () =>
      this.#resolveConcerns(level.concerns, source.folder, match)
    )
    if (!level.isEnabled) this.#draft.disabledOptions.push(options, concerns.options)
    if (match.paths.length === 0 || !level.isEnabled) return
    const methods = value['methods'] === undefined ? undefined : withHead(listOf(value['methods']))
    level.scope.addRoute(
      level.hosts,
      match.paths.map(({ shape }) => shape),
      methods,
      level.when
    )
    const route: DraftRoute = {
      id: '',
      scope: level.scope,
      name:
        typeof value['name'] === 'string' ? value['name'] : match.paths.map(({ text }) => text).join(', '),
      hosts: level.hosts,
      paths: this.#markTrailingSlashes(target, options, match),
      methods,
      when: level.when,
      target: target.key,
      targetOptions: options,
      inherited: state.inherited,
      ...concerns,
      targetOrigins: state.written.map((written) => new Origin(written)),
      place: placeLater(source, at),
      where: whereOf(source, at)
    }
    routes.push(route)
    states.set(route, level.concerns)
  }

  /** Copies the ids of scopes into the routes, once all scopes have one. */
  copyScopeIds(): void {
    for (const route of this.#draft.routes) {
      route.id = route.scope.id
    }
    for (const [states, { scopes }] of this.#concerns) {
      for (const key of Object.keys(scopes)) scopes[key] = states.get(key)?.scope.id ?? 'root'
    }
  }

  #patterns({ source, at }: Entry, { isValid, paths }: Level): PathPattern[] {
    if (!isValid) return []
    const patterns: PathPattern[] = []
    for (const path of paths) {
      if (path === '') continue
      try {
        patterns.push(readPath(path))
      } catch (error) {
        if (!(error instanceof PathError)) throw error
        this.#draft.faults.addAt(source, [...at, 'path'], error.message)
      }
    }
    return patterns
  }

  /** Merges the options of a route's target over those of its groups and the root. */
  #targetState({ source, at, value }: Entry, target: Target, level: Level): OptionsState {
    const { key } = target
    const outer = level.targets.get(key) ?? NOT_MENTIONED
    // A group has set the target as well.
    if (value[key] === undefined) return outer
    if (value[key] === false || (value[key] === true && outer.written.length === 0))
      this.#draft.faults.addAt(
        source,
        [...at, key],
        `expected an object with the options of "${key}", got ${value[key]}`
      )
    return this.#draft.merge(
      target,
      { ...outer, on: false },
      { source, path: [...at, key], value: value[key] },
      { ...level, isRoute: true }
    )
  }

  #targetOptions({ source }: Entry, target: Target, state: OptionsState, match: RouteMatch): unknown {
    const { checks, resolver, enabled } = this.#draft
    const options = resolver.resolve(target, state)
    if (isObject(options) && resolver.isValid(options))
      for (const key of target.needs?.(options as never) ?? []) enabled.add(key)
    checks.defer({ module: target, options, state, folder: source.folder, match })
    return options
  }

  #resolveConcerns(
    states: ReadonlyMap<string, OptionsState>,
    folder: string,
    match: RouteMatch
  ): RouteConcerns {
    const { catalog, resolver, checks } = this.#draft
    const resolved: Record<string, unknown> = {}
    const scopes: Record<string, string> = {}
    for (const concern of catalog.concerns) {
      const state = states.get(concern.key)
      if (state === undefined || concern.override === false) continue
      const options = resolver.resolve(concern, state)
      resolved[concern.key] = options
      scopes[concern.key] = state.scope.id
      if (state.on) checks.defer({ module: concern, options, state, folder, match })
    }
    return {
      options: resolved,
      scopes,
      origins: originsOf(states),
      overrides: [...states].filter(([, { isRootOnly }]) => !isRootOnly).map(([key]) => key),
      mentioned: new Set([...states].filter(([, { written }]) => written.length > 0).map(([key]) => key))
    }
  }

  /** Marks the paths that the target does not match with a trailing slash. */
  #markTrailingSlashes(
    target: Target,
    options: unknown,
    { paths, hosts }: RouteMatch
  ): readonly PathPattern[] {
    const { leavesSlash } = target
    const { resolver, publicUrl } = this.#draft
    if (leavesSlash === undefined || !isObject(options) || !resolver.isValid(options)) return paths
    return paths.map((path) =>
      !path.wildcard && leavesSlash(options as never, path.text, { hosts, publicUrl })
        ? { ...path, withoutSlash: true }
        : path
    )
  }
}

const withHead = (methods: string[]): string[] =>
  methods.includes('GET') && !methods.includes('HEAD') ? [...methods, 'HEAD'] : methods
