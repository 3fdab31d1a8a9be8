import { resolve } from 'node:path'
import type { AddedRoute, Expansion } from '../kit/expansion.ts'
import { defineWarning } from '../kit/warning.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { mapFiles } from '../lib/schema.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import { expansionsOf } from './catalog.ts'
import type { Fault } from './fault.ts'
import { type Finding, findingAt } from './finding.ts'
import type { InterpolatedSource } from './interpolate.ts'
import { type Entry, enterLevel, groupTarget, type Level } from './levels.ts'
import { joinPaths, PathError, readPath } from './paths.ts'
import type { DraftRoute, PlanDraft } from './plan-draft.ts'
import { RouteSecurity } from './route-security.ts'
import type { RouteBuilder } from './routes.ts'
import type { Scope } from './scope.ts'
import { validate } from './validate.ts'
import { locate } from './where.ts'
import { faultIn, maskOf, type Written } from './written.ts'

const publicOperation = defineWarning(
  'SP_WARN_OPERATIONS_PUBLIC',
  'high',
  'A document leaves open whether operations are public'
)
const skippedOperation = defineWarning(
  'SP_WARN_OPERATIONS_SKIPPED',
  'medium',
  'An operation of a document that can be no route'
)

/** A group, and an option of it that adds routes. */
interface Expanding {
  readonly expansion: Expansion
  readonly written: Written
  readonly level: Level
}

/** Adds the routes that options of groups bring, such as the operations of a document. */
export class GroupExpander {
  readonly #draft: PlanDraft
  readonly #builder: RouteBuilder
  readonly #scopes: Scope[]
  readonly #expansions: readonly Expansion[]
  readonly #groups: Expanding[] = []

  constructor(draft: PlanDraft, builder: RouteBuilder, scopes: Scope[]) {
    this.#draft = draft
    this.#builder = builder
    this.#scopes = scopes
    this.#expansions = expansionsOf(draft.catalog)
  }

  /** Returns whether an entry has an option that adds routes, and so is a group. */
  expands({ value }: Entry): boolean {
    return this.#expansions.some(({ key }) => value[key] !== undefined)
  }

  /** Notes a group, to be expanded once the routes that are written are known. */
  add({ source, at, value }: Entry, level: Level): void {
    for (const expansion of this.#expansions) {
      const { key } = expansion
      if (value[key] === undefined) continue
      this.#groups.push({ expansion, written: { source, path: [...at, key], value: value[key] }, level })
    }
  }

  /** Adds the routes of all groups; a route that is written at the same path for the same method wins. */
  async expandAll(): Promise<void> {
    if (this.#groups.length === 0) return
    const isTaken = takenBy(this.#draft.routes)
    for (const group of this.#groups) await this.#expand(group, isTaken)
  }

  async #expand({ expansion, written, level }: Expanding, isTaken: IsTaken): Promise<void> {
    const { faults, checks, catalog } = this.#draft
    const found = validate(expansion.options, written.value, maskOf(written))
    for (const fault of found) faults.add(faultIn(written, fault))
    const target = catalog.targets.find(({ key }) => key === groupTarget(level))
    if (target === undefined)
      faults.add(
        faultIn(written, {
          path: [],
          message: `expected a target for the routes that "${expansion.key}" adds, got none; ${targetsOf(catalog.targets)} on this group would work`
        })
      )
    if (found.length > 0) return
    const options = mapFiles(expansion.options, written.value, (file) => resolve(written.source.folder, file))
    const expanded = await expansion.routes(options as never, level)
    for (const file of expanded.files) checks.files.add(file)
    for (const { path, message } of expanded.faults)
      faults.add(faultIn(written, { path, message: message.replaceAll(`${written.source.folder}/`, '') }))
    if (expanded.faults.length > 0 || target === undefined) return
    const source = addedBy(written)
    const inner = enterLevel(this.#draft, { source, at: [], value: expanded.options }, level, {
      isRoute: false
    })
    this.#scopes.push(inner.scope)
    const security = new RouteSecurity(this.#draft, inner, source)
    for (const route of expanded.routes) {
      await yieldIfDue()
      const path = this.#freePaths(route, inner, written, isTaken)
      if (path.length === 0) continue
      const entry: Entry = { source, at: [], value: { name: route.name, path, methods: [route.method] } }
      const outer = { ...security.levelFor(route), paths: [''] }
      const own = enterLevel(this.#draft, entry, outer, { isRoute: true })
      this.#scopes.push(own.scope)
      this.#builder.add(entry, target, own)
    }
    this.#draft.warnings.push(
      ...security
        .warnings()
        .map((message) => findingAt(publicOperation(message, []), locate(written.source, written.path)))
    )
  }

  /** Returns the whole paths of a route without those that can't be requested, and those of written routes. */
  #freePaths(
    { paths, method, origin }: AddedRoute,
    { paths: prefixes, hosts }: Level,
    written: Written,
    isTaken: IsTaken
  ): string[] {
    const { warnings, notes } = this.#draft
    const told = (message: string): Fault => faultIn(written, { path: [], message })
    const skipped = (message: string): Finding =>
      findingAt(skippedOperation(message, []), locate(written.source, written.path))
    if (!ROUTABLE.includes(method)) {
      warnings.push(skipped(`${origin()} is no route, since the gateway does not take the method ${method}`))
      return []
    }
    return prefixes
      .flatMap((prefix) => paths.map((path) => joinPaths(prefix, path)))
      .filter((path) => {
        const shape = shapeOf(path)
        if (typeof shape !== 'string') {
          warnings.push(skipped(`${origin()} is no route: ${shape.message}`))
          return false
        }
        const others = (hosts.length === 0 ? [''] : hosts).map((host) => isTaken(`${host} ${shape}`, method))
        if (!others.every((other) => other !== undefined)) return true
        const names = [...new Set(others.map(({ name }) => name))].join(', ')
        // The place in the document takes time to find.
        notes.push(() => told(`The route ${names} takes the place of ${origin()}`))
        return false
      })
  }
}

/** Finds the written route at a host and a shape of paths for a method. */
type IsTaken = (place: string, method: string) => DraftRoute | undefined

function takenBy(routes: readonly DraftRoute[]): IsTaken {
  const byPlace = new Map<string, DraftRoute[]>()
  for (const route of routes)
    for (const host of route.hosts.length === 0 ? [''] : route.hosts)
      for (const { shape } of route.paths) {
        const place = `${host} ${shape}`
        const known = byPlace.get(place)
        if (known === undefined) byPlace.set(place, [route])
        else known.push(route)
      }
  return (place, method) => byPlace.get(place)?.find(({ methods }) => methods?.includes(method) ?? true)
}

function shapeOf(path: string): string | Error {
  try {
    return readPath(path).shape
  } catch (error) {
    if (error instanceof PathError) return error
    throw error
  }
}

/** Returns the source of what an option adds: every place in it is that of the option. */
const addedBy = ({ source, path }: Written): InterpolatedSource => ({
  ...source,
  at: () => source.at(path),
  addedBy: path,
  templates: new Map(),
  interpolated: new Set()
})

const targetsOf = (targets: PlanDraft['catalog']['targets']): string =>
  targets
    .filter(({ groupDefaults }) => groupDefaults === true)
    .map(({ key }) => `"${key}"`)
    .join(' or ')
