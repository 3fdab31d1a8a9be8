import { basename, resolve } from 'node:path'
import { defineWarning } from '../kit/warning.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, nearest } from '../lib/schema.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import { expansionsOf } from './catalog.ts'
import { addUpstreams } from './core.ts'
import { GroupExpander } from './expansions.ts'
import { ConfigError, type Fault, type Path, type Place, showPlace } from './fault.ts'
import { type Finding, findingAt } from './finding.ts'
import type { InterpolatedSource } from './interpolate.ts'
import { type Entry, enterLevel, groupTarget, type Level } from './levels.ts'
import { expectation } from './messages.ts'
import type { PlanDraft } from './plan-draft.ts'
import { readSource } from './read-source.ts'
import { RouteBuilder } from './routes.ts'
import { rootOnlyKeys, routeOptions } from './schema.ts'
import { nameScopes, type Scope } from './scope.ts'
import { faultAt, type Source } from './source.ts'
import { type Located, locate, whereOf } from './where.ts'

const namelessGroup = defineWarning(
  'SP_WARN_GROUP_NAMELESS',
  'low',
  'Two groups that only their routes tell apart'
)

/** Walks the routes, groups and included files of a config. */
export class EntryReader {
  readonly #draft: PlanDraft
  readonly #builder: RouteBuilder
  readonly #expander: GroupExpander
  readonly #targetKeys: readonly string[]
  /** The options of a route or a group. */
  readonly #entryKeys: readonly string[]
  readonly #scopes: Scope[] = []
  /** The groups with a concern that keeps state, such as a rate limit. */
  readonly #countingGroups: { readonly scope: Scope; readonly located: Located }[] = []

  constructor(draft: PlanDraft) {
    this.#draft = draft
    this.#builder = new RouteBuilder(draft)
    this.#expander = new GroupExpander(draft, this.#builder, this.#scopes)
    const concerns = draft.catalog.concerns.filter(({ override }) => override !== false)
    this.#targetKeys = draft.catalog.targets.map(({ key }) => key)
    this.#entryKeys = [
      ...Object.keys(routeOptions),
      'routes',
      ...concerns.map(({ key }) => key),
      ...expansionsOf(draft.catalog).map(({ key }) => key),
      ...this.#targetKeys
    ]
  }

  /** Reads the routes of the main file, and what they include, into the plan. */
  async read(source: InterpolatedSource, routes: unknown, level: Level): Promise<void> {
    if (routes === undefined)
      this.#draft.faults.addAt(source, [], 'The config has no "routes"; "routes": [] would work')
    else await this.#readRoutes(source, [], routes, level)
    await this.#expander.expandAll()
    nameScopes(this.#scopes)
    this.#builder.copyScopeIds()
  }

  async #readRoutes(source: InterpolatedSource, path: Path, routes: unknown, level: Level): Promise<void> {
    const { faults } = this.#draft
    if (!Array.isArray(routes)) {
      faults.addAt(source, [...path, 'routes'], expectation({ wanted: 'a list of routes', value: routes }))
      return
    }
    const names = new Map<string, Path>()
    for (const [i, value] of routes.entries()) {
      await yieldIfDue()
      const at = [...path, 'routes', i]
      if (isObject(value)) {
        this.#checkName(source, at, value['name'], names)
        await this.#readEntry({ source, at, value }, level)
      } else faults.addAt(source, at, expectation({ wanted: 'an object with a "path" and a target', value }))
    }
  }

  /** Rejects a name that a sibling has: shared counts are keyed by it. */
  #checkName(source: InterpolatedSource, at: Path, name: unknown, names: Map<string, Path>): void {
    if (typeof name !== 'string') return
    const other = names.get(name)
    if (other === undefined) names.set(name, at)
    else
      this.#draft.faults.addAt(
        source,
        [...at, 'name'],
        `expected a name that no sibling has, got "${name}", which is also the name at ${showPlace(source.at(other))}; rename one of them`
      )
  }

  async #readEntry(entry: Entry, outer: Level): Promise<void> {
    const { source, at, value } = entry
    const { faults } = this.#draft
    faults.addUnknownKeys(source, at, value, this.#entryKeys)
    const own = this.#targetKeys.filter((key) => value[key] !== undefined)
    const isGroup =
      value['routes'] !== undefined || value['include'] !== undefined || this.#expander.expands(entry)
    if (isGroup) this.#checkGroup(entry, own)
    const level = enterLevel(this.#draft, entry, outer, { isRoute: !isGroup })
    this.#addScope(entry, level, { isGroup })
    this.#expander.add(entry, level)
    const file = value['include']
    if (typeof file === 'string' && file !== '') return this.#include(entry, file, level)
    if (isGroup) {
      if (value['routes'] !== undefined) await this.#readRoutes(source, at, value['routes'], level)
      return
    }
    const inherited = groupTarget(level)
    this.#readRoute(entry, own.length > 0 || inherited === undefined ? own : [inherited], level)
  }

  #checkGroup({ source, at, value }: Entry, targets: readonly string[]): void {
    const { faults, catalog } = this.#draft
    const defaults = catalog.targets
      .filter(({ groupDefaults }) => groupDefaults === true)
      .map(({ key }) => key)
    for (const target of targets.filter((key) => !defaults.includes(key)))
      faults.addAt(source, [...at, target], `A group has no target of its own; move "${target}" to a route`)
    if (value['routes'] !== undefined && value['include'] !== undefined)
      faults.addAt(source, [...at, 'include'], 'expected either "routes" or "include", got both')
  }

  #addScope({ source, at, value }: Entry, { scope }: Level, { isGroup }: { isGroup: boolean }): void {
    this.#scopes.push(scope)
    const counts = this.#draft.catalog.concerns.some(
      ({ key, counts }) => counts === true && isObject(value[key])
    )
    if (isGroup && counts) this.#countingGroups.push({ scope, located: locate(source, at) })
  }

  #readRoute(entry: Entry, targets: readonly string[], level: Level): void {
    const { source, at, value } = entry
    const { faults, catalog } = this.#draft
    const [key, second] = targets
    const target = catalog.targets.find((each) => each.key === key)
    if (target === undefined) {
      faults.addAt(source, at, this.#missingTarget(value))
      return
    }
    if (second !== undefined)
      faults.addAt(source, [...at, second], `expected one target, got ${targets.join(' and ')}`)
    this.#builder.add(entry, target, level)
  }

  #missingTarget(value: Entry['value']): string {
    const near = Object.keys(value)
      .map((key) => nearest(key, this.#targetKeys))
      .find((key) => key !== undefined)
    const hint = near === undefined ? '' : `; did you mean "${near}"?`
    return `The route has no target; expected one of ${this.#targetKeys.join(', ')}, or "routes" for a group${hint}`
  }

  async #include({ source, at }: Entry, name: string, level: Level): Promise<void> {
    const { faults, files } = this.#draft
    const file = resolve(source.folder, name)
    if (level.files.includes(file)) {
      faults.addAt(
        source,
        [...at, 'include'],
        `"${name}" includes itself by way of ${level.files.length} files`
      )
      return
    }
    const read = await this.#readIncluded(source, at, file, name)
    const isRepeated = files.includes(file)
    files.push(file)
    if (read === undefined) return
    const filled = this.#draft.interpolate(read, whereOf(source, at))
    const { value } = filled
    if (!isObject(value)) {
      faults.addAt(filled, [], expectation({ wanted: 'a group: an object with "routes"', value }))
      return
    }
    this.#checkIncludedKeys(filled, value)
    // A file may be included twice; its upstreams are added once.
    if (!isRepeated) addUpstreams(this.#draft, filled, value)
    const outer: Level = {
      ...level,
      includedInto: level.includedInto ?? level.concerns,
      files: [...level.files, file]
    }
    const entry: Entry = { source: filled, at: [], value }
    const inner = enterLevel(this.#draft, entry, outer, { isRoute: false })
    this.#addScope(entry, inner, { isGroup: true })
    this.#expander.add(entry, inner)
    await this.#readRoutes(filled, [], value['routes'] ?? [], inner)
  }

  async #readIncluded(
    source: InterpolatedSource,
    at: Path,
    file: string,
    name: string
  ): Promise<Source | undefined> {
    try {
      return await readSource(file, source.file)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const fault of error.faults)
        this.#draft.faults.add(
          fault.line === undefined
            ? faultAt(source, [...at, 'include'], includeMessage(name, source.file, fault))
            : fault
        )
      return undefined
    }
  }

  #checkIncludedKeys(source: InterpolatedSource, value: Entry['value']): void {
    const { faults, catalog } = this.#draft
    const rootOnly = rootOnlyKeys(catalog)
    for (const key of Object.keys(value))
      if (rootOnly.has(key) && key !== '$schema')
        faults.addAt(
          source,
          [key],
          `"${key}" belongs at the root of the main file; an included file is a group`
        )
    const modules = [
      ...catalog.concerns.filter(({ override, named }) => override !== false || named === true),
      ...catalog.targets.filter(({ groupDefaults }) => groupDefaults === true),
      ...expansionsOf(catalog)
    ].map(({ key }) => key)
    const known = ['$schema', 'name', 'path', 'host', 'routes', ...modules, ...rootOnly]
    faults.addUnknownKeys(source, [], value, known)
  }

  /** Returns a warning for each group that differs from a sibling by its routes only, so that moving a route resets its counts. */
  ambiguousGroups(): Finding[] {
    const known = new Map<Scope, Map<string, () => Place>>()
    return this.#countingGroups.flatMap(({ scope, located }) => {
      const { place } = located
      const siblings = getOrCreate(known, scope.parent ?? scope, () => new Map<string, () => Place>())
      const other = siblings.get(scope.identity)
      siblings.set(scope.identity, other ?? place)
      if (other === undefined) return []
      const message = `This group has the same host and path as the one at ${showPlace(other())}, so moving a route between them resets their counts; give it a "name"`
      return [findingAt(namelessGroup(message), located)]
    })
  }
}

/** Names an included file as it is written in the file that includes it. */
const includeMessage = (name: string, includer: string, { message, file }: Fault): string =>
  message === `There is no file ${file}`
    ? `There is no file ${name}, which ${basename(includer)} includes`
    : `"${name}": ${message}`
