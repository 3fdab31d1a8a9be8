import { basename, resolve } from 'node:path'
import type { About, Concern, OptionFault, Target } from '../kit/index.ts'
import { expandRanges, isRange, originOf, RANGE_SAYS } from '../lib/http/networks.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { deepFreeze, isObject, mapFiles, nearest, prune, schemaOf } from '../lib/schema.ts'
import { forEachSliced, yieldIfDue } from '../lib/time-slicing.ts'
import type { Catalog } from './catalog.ts'
import { sameRoutes } from './conflicts.ts'
import { Elsewhere } from './elsewhere.ts'
import {
  ConfigError,
  type Fault,
  type Path,
  type Place,
  showPlace,
  sortFaults,
  type Unknown
} from './fault.ts'
import { type Filled, interpolate } from './interpolate.ts'
import { joinPaths, PathError, type PathPattern, readPath } from './paths.ts'
import { coreWords, markedSchema, ORIGIN_SAYS, ROOT_ONLY, routeWords } from './schema.ts'
import { nameScopes, type Scope } from './scope.ts'
import { faultAt, readSource, type Source } from './source.ts'
import { check, expectation, unknownOption, withDefaults } from './validate.ts'
import {
  faultIn,
  NOT_MENTIONED,
  Resolver,
  ROOT_SCOPE,
  resolveOptions,
  shownIn,
  type WordState,
  type Written
} from './words.ts'

/** A config, read, checked, settled and frozen: all that `buildGateway` needs. */
export interface Plan {
  readonly file: string
  /** Every file it was read from, and those that its concerns read, for watching. */
  readonly files: readonly string[]
  readonly catalog: Catalog
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[]
  /** The root options of each word that is installed, whole; what is not here is not registered. */
  readonly words: Readonly<Record<string, unknown>>
  readonly routes: readonly PlannedRoute[]
  /** The texts in it that came from the environment or a file by `${…}`. */
  readonly outside: ReadonlySet<string>
  /** Where each option of the catalog is written first. */
  readonly mentions: ReadonlyMap<string, Place>
  /** What is worth a second look, for `check`. */
  readonly warnings: readonly Fault[]
}

/** One route of the config, with all that holds for it. */
export interface PlannedRoute {
  readonly name: string
  readonly hosts: readonly string[]
  readonly paths: readonly PathPattern[]
  /** The methods it takes, with HEAD where GET is; undefined for all. */
  readonly methods: readonly string[] | undefined
  readonly target: string
  readonly options: unknown
  readonly words: Readonly<Record<string, unknown>>
  /** What it is known by in what reloads, workers and gateways share: never its place in the file. */
  readonly id: string
  /** For each word, the id of the root, group or route where it was last written: a limit counts there. */
  readonly scopes: Readonly<Record<string, string>>
  /** The keys of the concerns that the config mentions for it, on the route itself, a group or the root. */
  readonly mentioned: ReadonlySet<string>
  /** The words that it and its groups say, be it only `false`. */
  readonly said: readonly string[]
  readonly place: Place
}

interface SettledWords extends Pick<PlannedRoute, 'words' | 'said' | 'mentioned'> {
  readonly scopes: Record<string, string>
}

/** A route whose ids, and what follows from its target, are not known yet. */
interface NewRoute extends PlannedRoute {
  id: string
  words: Readonly<Record<string, unknown>>
  readonly scope: Scope
}

/** Where a route stands. */
type Where = Pick<PlannedRoute, 'paths' | 'hosts'>

const NOWHERE: Where = { paths: [], hosts: [] }

interface Level {
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  readonly words: ReadonlyMap<string, WordState>
  readonly targets: ReadonlyMap<string, WordState>
  readonly upstreams: ReadonlySet<string>
  readonly files: readonly string[]
  /** What held where the file was included; absent in the main file. */
  readonly given?: ReadonlyMap<string, WordState>
  /** Whether its paths, hosts and methods are known; where they are wrong, only the words inside are checked. */
  readonly sound: boolean
  readonly scope: Scope
}

/** Turns a source into a plan; throws a ConfigError with every fault it has. */
export async function makePlan(
  source: Source,
  catalog: Catalog,
  env: Readonly<Record<string, string | undefined>>
): Promise<Plan> {
  const planner = new Planner(catalog, env, source.file)
  return planner.plan(source)
}

const schemas = new WeakMap<Catalog, Readonly<Record<string, unknown>>>()
const ROUTE_WORDS = Object.entries(routeWords)

class Planner {
  readonly #faults: Fault[] = []
  /** What has no value, as its variable or file is missing; that it will not do where it stands goes without saying. */
  readonly #unfilled: Fault[] = []
  readonly #catalog: Catalog
  readonly #env: Readonly<Record<string, string | undefined>>
  readonly #schema: Readonly<Record<string, unknown>>
  readonly #file: string
  readonly #resolver: Resolver
  readonly #targetKeys: readonly string[]
  /** The words of a route or a group. */
  readonly #entryKeys: readonly string[]
  readonly #routes: NewRoute[] = []
  readonly #scopes: Scope[] = []
  /** What holds of each concern on the route at the same index. */
  readonly #held: ReadonlyMap<string, WordState>[] = []
  /** The groups that say a word by whose place something is counted. */
  readonly #counted: { readonly scope: Scope; readonly place: Place }[] = []
  readonly #checks: (() => void)[] = []
  readonly #files: string[] = []
  /** The files that concerns read: a list of users, a page. */
  readonly #named = new Set<string>()
  readonly #looked = new WeakSet<object>()
  readonly #mentioned = new Set<string>()
  readonly #outside = new Set<string>()
  readonly #mentions = new Map<string, Place>()
  #root: Readonly<Record<string, unknown>> = {}
  #upstreams: Record<string, unknown> = {}
  #publicUrl: string | undefined

  constructor(catalog: Catalog, env: Readonly<Record<string, string | undefined>>, file: string) {
    this.#catalog = catalog
    this.#file = file
    this.#env = env
    this.#schema = getOrCreate(schemas, catalog, () => markedSchema(catalog))
    this.#resolver = new Resolver(this.#faults, file)
    const concerns = catalog.concerns.filter(({ override }) => override !== false)
    this.#targetKeys = catalog.targets.map(({ key }) => key)
    this.#entryKeys = [
      ...Object.keys(routeWords),
      'routes',
      ...concerns.map(({ key }) => key),
      ...this.#targetKeys
    ]
  }

  async plan(written: Source): Promise<Plan> {
    const source = await this.#fill(written)
    const main = resolve(source.folder, source.file.split('/').at(-1) ?? source.file)
    this.#files.push(main)
    if (!isObject(source.value))
      throw new ConfigError([
        faultAt(source, [], 'A config is an object; {"routes": []} is the least it can be')
      ])
    const value = source.value
    this.#knownKeys(source, [], value, [...Object.keys(coreWords), 'routes', ...this.#rootWords()])
    this.#core(source, value)
    this.#publicUrl = originOf(value['publicUrl'])
    this.#collectUpstreams(source, value)
    const words = new Map<string, WordState>()
    for (const concern of this.#catalog.concerns) {
      if (concern.key === 'upstreams') continue
      const said: Written = { source, path: [concern.key], value: value[concern.key] }
      const first: WordState = {
        ...NOT_MENTIONED,
        on: concern.always !== undefined,
        merged: concern.given?.(this.#env)
      }
      words.set(
        concern.key,
        said.value === undefined ? first : this.#settle(concern, first, said, ROOT_SCOPE, false)
      )
    }
    const targets = new Map<string, WordState>()
    for (const target of this.#catalog.targets) {
      const said: Written = { source, path: [target.key], value: value[target.key] }
      if (said.value !== undefined && target.rootDefaults === true)
        targets.set(target.key, this.#settle(target, NOT_MENTIONED, said, ROOT_SCOPE, false))
    }
    const level: Level = {
      paths: [''],
      hosts: [],
      words,
      targets,
      upstreams: new Set(Object.keys(this.#upstreams)),
      files: [main],
      sound: true,
      scope: ROOT_SCOPE
    }
    await this.#routesOf(source, [], value['routes'], level)
    await this.#nameScopes()
    await this.#addImplied()
    this.#resolveRoot(words, source.folder)
    await forEachSliced(this.#checks, (run) => run())
    const { ignoreCase } = (this.#root['paths'] ?? {}) as { ignoreCase?: boolean }
    this.#faults.push(...(await sameRoutes(this.#routes, ignoreCase === true)))
    const faults = this.#allFaults()
    if (faults.length > 0) throw new ConfigError(faults)
    return deepFreezePlan({
      file: source.file,
      files: [...new Set([...this.#files, ...this.#named])],
      catalog: this.#catalog,
      publicUrl: this.#publicUrl,
      trustedProxies: expandRanges(list(value['trustedProxies'])),
      words: this.#root,
      routes: this.#routes,
      outside: this.#outside,
      mentions: this.#mentions,
      warnings: [...this.#lifted, ...this.#sameGroups()]
    })
  }

  /** Fills in what a file has from outside, and notes it. */
  async #fill(written: Source): Promise<Filled> {
    const filled = await interpolate(written, this.#env, this.#schema, this.#unfilled)
    for (const text of filled.outside) this.#outside.add(text)
    return filled
  }

  #allFaults(): Fault[] {
    const empty = new Set(this.#unfilled.map(placeKey))
    const all = unique([...this.#unfilled, ...this.#faults.filter((fault) => !empty.has(placeKey(fault)))])
    let elsewhere: Elsewhere | undefined
    const told = all.map((fault) => {
      if (!isUnknown(fault)) return fault
      const { key, known, ...rest } = fault
      elsewhere ??= new Elsewhere(this.#schema)
      return {
        ...rest,
        message: unknownOption(
          String(key.at(-1)),
          known,
          elsewhere.hint(key, nearest(String(key.at(-1)), known) !== undefined)
        )
      }
    })
    return sortFaults(told, [this.#file])
  }

  #rootWords(): string[] {
    return [
      ...this.#catalog.concerns.map(({ key }) => key),
      ...this.#catalog.targets.filter((t) => t.rootDefaults === true).map(({ key }) => key)
    ]
  }

  /** Asks for a name where groups have the same hosts and paths, so that only their routes tell them apart. */
  #sameGroups(): Fault[] {
    const known = new Map<Scope, Map<string, Place>>()
    return this.#counted.flatMap(({ scope, place }) => {
      const siblings = getOrCreate(known, scope.parent ?? scope, () => new Map<string, Place>())
      const other = siblings.get(scope.own)
      siblings.set(scope.own, other ?? place)
      return other === undefined
        ? []
        : [
            {
              ...place,
              path: '',
              message: `This group has the same host and path as the one at ${showPlace(other)}, and only their routes tell apart what is counted in them; give it a "name"`
            }
          ]
    })
  }

  #settle(word: Concern | Target, outer: WordState, said: Written, scope: Scope, leaf: boolean): WordState {
    if (said.value !== false) this.#mentioned.add(word.key)
    if (!this.#mentions.has(word.key)) this.#mentions.set(word.key, { ...said.source.at(said.path) })
    return resolveOptions(word, outer, said, scope, leaf, this.#faults)
  }

  #core(source: Filled, value: Readonly<Record<string, unknown>>): void {
    for (const [key, schema] of Object.entries(coreWords)) {
      if (value[key] === undefined) continue
      const said: Written = { source, path: [key], value: prune(schema, value[key]) }
      const wrongs = check(schema, said.value, shownIn(said))
      for (const wrong of wrongs) this.#faults.push(faultIn(said, wrong))
      // A pattern does not tell a port that is none, or a host.
      if (key === 'publicUrl' && wrongs.length === 0 && originOf(said.value) === undefined)
        this.#faults.push(
          faultAt(source, ['publicUrl'], expectation(ORIGIN_SAYS, said.value, undefined, shownIn(said)([])))
        )
    }
    if (Array.isArray(value['trustedProxies']))
      for (const [i, range] of value['trustedProxies'].entries())
        if (typeof range === 'string' && !isRange(range))
          this.#faults.push(
            faultAt(source, ['trustedProxies', i], `"${range}" is no address; ${RANGE_SAYS} would do`)
          )
  }

  /** Gathers the upstreams of a file; their names are known to all files. */
  #collectUpstreams(source: Filled, value: Readonly<Record<string, unknown>>): void {
    const concern = this.#catalog.concerns.find(({ key }) => key === 'upstreams')
    const upstreams = value['upstreams']
    if (concern === undefined || upstreams === undefined) return
    const said: Written = { source, path: ['upstreams'], value: upstreams }
    const state = resolveOptions(concern, NOT_MENTIONED, said, ROOT_SCOPE, false, this.#faults)
    if (!isObject(upstreams)) return
    for (const name of Object.keys(upstreams))
      if (Object.hasOwn(this.#upstreams, name))
        this.#faults.push(
          faultAt(
            source,
            ['upstreams', name],
            `There is an upstream "${name}" already; its name is for the whole gateway, give this one another`
          )
        )
    const whole = this.#resolver.whole(concern, state)
    if (isObject(whole)) this.#noteFiles(concern, whole)
    this.#judge(concern, whole, state, source.folder, NOWHERE)
    this.#upstreams = { ...this.#upstreams, ...(isObject(whole) ? whole : {}) }
  }

  async #routesOf(source: Filled, path: Path, routes: unknown, level: Level): Promise<void> {
    if (routes === undefined) {
      if (path.length === 0 && level.files.length === 1)
        this.#faults.push(
          faultAt(source, [], 'The config has no "routes"; a list of routes, or [], would do')
        )
      return
    }
    if (!Array.isArray(routes)) {
      this.#faults.push(faultAt(source, [...path, 'routes'], expectation('a list of routes', routes)))
      return
    }
    const names = new Map<string, Path>()
    for (const [i, entry] of routes.entries()) {
      await yieldIfDue()
      const at = [...path, 'routes', i]
      if (isObject(entry)) this.#nameOnce(source, at, entry['name'], names)
      if (isObject(entry)) await this.#entry(source, at, entry, level)
      else
        this.#faults.push(
          faultAt(
            source,
            at,
            `${JSON.stringify(entry)} is no route; an object with a path and a target would do`
          )
        )
    }
  }

  /** Refuses a name that a sibling has, since what is counted is known by it. */
  #nameOnce(source: Filled, at: Path, name: unknown, names: Map<string, Path>): void {
    if (typeof name !== 'string') return
    const other = names.get(name)
    if (other === undefined) names.set(name, at)
    else
      this.#faults.push(
        faultAt(
          source,
          [...at, 'name'],
          `"${name}" is the name of its sibling at ${showPlace(source.at(other))}, too; give one of them another`
        )
      )
  }

  async #entry(
    source: Filled,
    at: Path,
    entry: Readonly<Record<string, unknown>>,
    level: Level
  ): Promise<void> {
    const targetKeys = this.#targetKeys
    this.#knownKeys(source, at, entry, this.#entryKeys)
    const said = targetKeys.filter((key) => entry[key] !== undefined)
    const group = entry['routes'] !== undefined || entry['include'] !== undefined
    if (group && said.length > 0)
      this.#faults.push(
        faultAt(
          source,
          [...at, said[0] ?? ''],
          `A group has routes and no target of its own; "${said[0]}" belongs on a route`
        )
      )
    if (entry['routes'] !== undefined && entry['include'] !== undefined)
      this.#faults.push(faultAt(source, [...at, 'include'], 'A group has either "routes" or "include"'))
    const inner = this.#level(source, at, entry, level, !group)
    const file = entry['include']
    if (typeof file === 'string' && file !== '') return this.#include(source, at, file, inner)
    if (group) return this.#routesOf(source, at, entry['routes'], inner)
    const [key] = said
    if (key === undefined) {
      const near = Object.keys(entry)
        .map((word) => nearest(word, targetKeys))
        .find((word) => word !== undefined)
      this.#faults.push(
        faultAt(
          source,
          at,
          `The route has no target; one of ${targetKeys.join(', ')} says what it does, or "routes" makes it a group${near === undefined ? '' : `; did you mean "${near}"?`}`
        )
      )
      return
    }
    if (said.length > 1)
      this.#faults.push(
        faultAt(
          source,
          [...at, said[1] ?? ''],
          `The route has ${said.length} targets, ${said.join(' and ')}; it can have one`
        )
      )
    this.#route(source, at, entry, key, inner)
  }

  /** What holds inside of a group or for a route: its paths, hosts and words. */
  #level(
    source: Filled,
    at: Path,
    entry: Readonly<Record<string, unknown>>,
    outer: Level,
    leaf: boolean
  ): Level {
    const wrongs = new Set<string>()
    for (const [key, schema] of ROUTE_WORDS) {
      if (entry[key] === undefined) continue
      const said: Written = { source, path: [...at, key], value: entry[key] }
      for (const wrong of check(schema, said.value, shownIn(said))) {
        this.#faults.push(faultIn(said, wrong))
        wrongs.add(key)
      }
    }
    const hosts = wrongs.has('host') ? [] : list(entry['host'])
    for (const host of hosts)
      if (!within(host, outer.hosts))
        this.#faults.push(
          faultAt(
            source,
            [...at, 'host'],
            `"${host}" is outside of the group's ${outer.hosts.join(', ')}; a host inside a group can only be one of its own`
          )
        )
    const paths = wrongs.has('path') ? [] : list(entry['path'])
    const scope = outer.scope.inside(entry)
    this.#scopes.push(scope)
    const words = this.#wordsAt(source, at, entry, { ...outer, scope }, leaf)
    if (!leaf && this.#catalog.concerns.some(({ key, counts }) => counts === true && isObject(entry[key])))
      this.#counted.push({ scope, place: source.at(at) })
    return {
      ...outer,
      scope,
      paths:
        paths.length === 0
          ? outer.paths
          : outer.paths.flatMap((prefix) => paths.map((path) => joinPaths(prefix, path))),
      hosts: hosts.length === 0 ? outer.hosts : hosts,
      words,
      sound: outer.sound && wrongs.size === 0
    }
  }

  /** What holds of each concern inside of a group or for a route; where nothing is said of any, what holds outside. */
  #wordsAt(
    source: Filled,
    at: Path,
    entry: Readonly<Record<string, unknown>>,
    outer: Level,
    leaf: boolean
  ): ReadonlyMap<string, WordState> {
    let words: Map<string, WordState> | undefined
    for (const concern of this.#catalog.concerns) {
      const value = entry[concern.key]
      const state = outer.words.get(concern.key)
      if (value === undefined || state === undefined || concern.override === false) continue
      words ??= new Map(outer.words)
      const said: Written = { source, path: [...at, concern.key], value }
      const given = outer.given?.get(concern.key)
      if (given !== undefined) this.#noteLifted(concern, given, said)
      words.set(concern.key, this.#settle(concern, state, said, outer.scope, leaf))
    }
    return words ?? outer.words
  }

  readonly #lifted: Fault[] = []

  /** Notes where an included file lifts a gate: it switches off what holds where it is included, or only reports. */
  #noteLifted({ key, options }: Concern, given: WordState, { source, path, value }: Written): void {
    if (schemaOf(options, 'mode') === undefined || schemaOf(options, 'global') === undefined) return
    const off = value === false || (isObject(value) && value['global'] === false && path.length === 1)
    if (given.on && off)
      this.#lifted.push(
        faultAt(
          source,
          path,
          `This included file switches "${key}" off, which is on where the file is included`
        )
      )
    if (isObject(value) && value['mode'] === 'report')
      this.#lifted.push(
        faultAt(
          source,
          [...path, 'mode'],
          `This included file lets "${key}" only report what it would refuse ("mode": "report")`
        )
      )
  }

  async #include(source: Filled, at: Path, name: string, level: Level): Promise<void> {
    const file = resolve(source.folder, name)
    if (level.files.includes(file)) {
      this.#faults.push(
        faultAt(source, [...at, 'include'], `"${name}" includes itself by way of ${level.files.length} files`)
      )
      return
    }
    let read: Source
    try {
      read = await readSource(file, source.file)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.#files.push(file)
      for (const fault of error.faults)
        this.#faults.push(
          fault.line === undefined
            ? faultAt(source, [...at, 'include'], includeMessage(name, source.file, fault))
            : fault
        )
      return
    }
    const again = this.#files.includes(file)
    this.#files.push(file)
    const filled = await this.#fill(read)
    if (!isObject(filled.value)) {
      this.#faults.push(faultAt(filled, [], 'An included file is a group: an object with routes'))
      return
    }
    const value = filled.value
    const concerns = this.#catalog.concerns
      .filter(({ override, key }) => override !== false || key === 'upstreams')
      .map(({ key }) => key)
    for (const key of Object.keys(value))
      if (ROOT_ONLY.has(key) && key !== '$schema')
        this.#faults.push(
          faultAt(filled, [key], `"${key}" is for the root of the main file; an included file is a group`)
        )
    this.#knownKeys(filled, [], value, [
      '$schema',
      'name',
      'path',
      'host',
      'routes',
      ...concerns,
      ...[...ROOT_ONLY]
    ])
    // A file may be included at two places; its upstreams are there once.
    if (!again) this.#collectUpstreams(filled, value)
    const outer: Level = { ...level, given: level.given ?? level.words, files: [...level.files, file] }
    const inner = this.#level(filled, [], value, outer, false)
    await this.#routesOf(filled, [], value['routes'] ?? [], inner)
  }

  #route(
    source: Filled,
    at: Path,
    entry: Readonly<Record<string, unknown>>,
    key: string,
    level: Level
  ): void {
    const target = this.#catalog.targets.find((one) => one.key === key)
    if (target === undefined) return
    if (level.sound && level.paths.every((path) => path === ''))
      this.#faults.push(faultAt(source, at, 'The route has no path; "/*" takes every path'))
    const paths: PathPattern[] = []
    for (const path of level.sound ? level.paths.filter((path) => path !== '') : []) {
      try {
        paths.push(readPath(path))
      } catch (error) {
        if (!(error instanceof PathError)) throw error
        this.#faults.push(faultAt(source, [...at, 'path'], error.message))
      }
    }
    const outer = level.targets.get(key) ?? NOT_MENTIONED
    const state = this.#settle(
      target,
      { ...outer, on: false },
      { source, path: [...at, key], value: entry[key] },
      level.scope,
      true
    )
    if (entry[key] === false || (entry[key] === true && outer.said.length === 0))
      this.#faults.push(
        faultAt(source, [...at, key], `"${key}" needs an object that says what the route does`)
      )
    const options = state.on ? this.#resolver.resolve(target, state) : {}
    const where: Where = { paths, hosts: level.hosts }
    if (state.on) this.#later(target, options, state, source.folder, where)
    const said = getOrCreate(this.#settled, level.words, () => this.#resolveWords(level.words, source, where))
    if (paths.length === 0) return
    const methods = entry['methods'] === undefined ? undefined : withHead(list(entry['methods']))
    const name = typeof entry['name'] === 'string' ? entry['name'] : paths.map(({ text }) => text).join(', ')
    level.scope.note(
      level.hosts,
      paths.map(({ shape }) => shape),
      methods
    )
    this.#held.push(level.words)
    this.#routes.push({
      id: '',
      scope: level.scope,
      name,
      hosts: level.hosts,
      paths: this.#slashesLeft(target, options, where),
      methods,
      target: key,
      options,
      ...said,
      place: { ...source.at(at) }
    })
  }

  /** Gives routes and what was written of words their ids, now that all routes are known. */
  async #nameScopes(): Promise<void> {
    await nameScopes(this.#scopes)
    await forEachSliced(this.#routes, (route) => {
      route.id = route.scope.id
    })
    await forEachSliced([...this.#settled], ([held, { scopes }]) => {
      for (const word of Object.keys(scopes)) scopes[word] = held.get(word)?.scope.id ?? 'root'
    })
  }

  /** Adds the options of concerns that follow from targets, beneath what groups and routes set themselves. */
  async #addImplied(): Promise<void> {
    const implying = new Map(
      this.#catalog.targets.flatMap(({ key, implies }) => (implies === undefined ? [] : [[key, implies]]))
    )
    // Routes of which the same is said go on sharing it.
    const shared = new Map<object, Map<string, Readonly<Record<string, unknown>>>>()
    const merged = (options: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>>) =>
      getOrCreate(
        getOrCreate(shared, options, () => new Map<string, Readonly<Record<string, unknown>>>()),
        JSON.stringify(more),
        () => ({ ...options, ...more })
      )
    await forEachSliced([...this.#routes.keys()], (i) => {
      const route = this.#routes[i]
      const implied = route && implying.get(route.target)?.(route.options as never, this.#upstreams)
      for (const [key, options] of Object.entries(implied ?? {})) {
        const own = this.#held[i]?.get(key)?.inside ?? []
        const more = Object.fromEntries(Object.entries(options).filter(([name]) => !own.includes(name)))
        const current = route?.words[key]
        if (route === undefined || !isObject(current) || Object.keys(more).length === 0) continue
        const next = merged(current, more)
        const words = getOrCreate(
          getOrCreate(shared, route.words, () => new Map<string, Readonly<Record<string, unknown>>>()),
          JSON.stringify([key, more]),
          () => ({ ...route.words, [key]: next })
        )
        route.words = words
      }
    })
  }

  /** Marks the paths of which a target leaves the form with a final slash to other routes. */
  #slashesLeft(target: Target, options: unknown, { paths, hosts }: Where): readonly PathPattern[] {
    const { leavesSlash } = target
    if (leavesSlash === undefined || !isObject(options) || !this.#resolver.sound(options)) return paths
    const about = { hosts, publicUrl: this.#publicUrl }
    return paths.map((path) =>
      !path.wildcard && leavesSlash(options as never, path.text, about)
        ? { ...path, withoutSlash: true }
        : path
    )
  }

  /** What was made of the words that hold for a route, once for all routes for which the same ones hold. */
  readonly #settled = new Map<ReadonlyMap<string, WordState>, SettledWords>()

  #resolveWords(held: ReadonlyMap<string, WordState>, source: Filled, where: Where): SettledWords {
    const words: Record<string, unknown> = {}
    const scopes: Record<string, string> = {}
    for (const concern of this.#catalog.concerns) {
      const word = held.get(concern.key)
      if (word === undefined || concern.override === false) continue
      words[concern.key] = this.#resolver.resolve(concern, word)
      scopes[concern.key] = word.scope.id
      if (word.on) this.#later(concern, words[concern.key], word, source.folder, where)
    }
    return {
      words,
      scopes,
      said: [...held].filter(([, { silent }]) => !silent).map(([word]) => word),
      mentioned: new Set([...held].filter(([, { said }]) => said.length > 0).map(([word]) => word))
    }
  }

  readonly #judged = new WeakMap<object, Set<unknown>>()

  /** Asks a module about its options once everything else is known, once for each set of options. */
  #later(module: Concern | Target, options: unknown, state: WordState, folder: string, where: Where): void {
    if (!isObject(options)) return
    // What a target names may be a folder, and is read at each request.
    if (!('target' in module)) this.#noteFiles(module, options)
    if (module.faults === undefined) return
    this.#checks.push(() => this.#judge(module, options, state, folder, where))
  }

  /** Notes the files that a concern reads at boot, once for each set of options. */
  #noteFiles(concern: Concern, options: object): void {
    if (this.#looked.has(options)) return
    this.#looked.add(options)
    mapFiles(concern.options, options, (file) => {
      this.#named.add(file)
      return file
    })
  }

  #judge(module: Concern | Target, options: unknown, state: WordState, folder: string, where: Where): void {
    if (module.faults === undefined || !isObject(options)) return
    const asked = this.#resolver.askable(options)
    if (asked === undefined) return
    const judged = this.#judged.get(options) ?? new Set<unknown>()
    const texts = where.paths.map(({ text }) => text)
    const once = 'target' in module ? [...texts, '', ...where.hosts].join() : ''
    if (judged.has(once)) return
    this.#judged.set(options, judged.add(once))
    const about: About = {
      upstreams: Object.keys(this.#upstreams),
      folder,
      word: (key) => this.#root[key],
      paths: texts,
      hosts: where.hosts,
      publicUrl: this.#publicUrl,
      routes: this.#wordsOfRoutes()
    }
    const found: readonly OptionFault[] = module.faults(asked.options as never, about)
    for (const { path, message } of found) {
      // What depends on an option that is wrong itself may be wrong because of that.
      if (asked.cut.some((cut) => isWithin(path, cut) || isWithin(cut, path))) continue
      // Modules know a file by its whole path, and people by the name that they wrote.
      const near = message.replaceAll(`${folder}/`, '')
      this.#faults.push(this.#resolver.place(module, state, { path, message: near }))
    }
  }

  // Asked for once the routes are known, and the same list for all who ask.
  #routeWords: readonly Readonly<Record<string, unknown>>[] | undefined

  #wordsOfRoutes(): readonly Readonly<Record<string, unknown>>[] {
    this.#routeWords ??= this.#routes.map(({ words }) => words)
    return this.#routeWords
  }

  /** Resolves the root options of what is installed: what the root says, what is there anyway, and what only routes mention. */
  #resolveRoot(words: ReadonlyMap<string, WordState>, folder: string): void {
    const made: Record<string, unknown> = {}
    const installed = (key: string): boolean => this.#mentioned.has(key)
    for (const concern of this.#catalog.concerns) {
      const { key, always } = concern
      if (key === 'upstreams') {
        made[key] = this.#upstreams
        continue
      }
      const state = words.get(key) ?? NOT_MENTIONED
      const wanted = installed(key) || (typeof always === 'function' ? always(installed) : always === true)
      if (!wanted) continue
      made[key] = this.#rootOptions(concern, state)
      if (state.on) this.#later(concern, made[key], state, folder, NOWHERE)
    }
    this.#root = made
  }

  #rootOptions(concern: Concern, state: WordState): unknown {
    if (state.on) return this.#resolver.whole(concern, state)
    // Nobody gets these but by a route's own word, which is checked there: options may still be missing here.
    return {
      ...(withDefaults(concern.options, prune(concern.options, state.merged ?? {})) as object),
      global: false
    }
  }

  #knownKeys(
    source: Filled,
    at: Path,
    value: Readonly<Record<string, unknown>>,
    known: readonly string[]
  ): void {
    for (const key of Object.keys(value)) {
      if (known.includes(key) || key.startsWith('x-')) continue
      const path = [...at, key]
      const fault: Unknown = { ...faultAt(source, path, unknownOption(key, known)), key: path, known }
      this.#faults.push(fault)
    }
  }
}

/** Says what is wrong with an included file as a whole, by the name that its includer has for it. */
const includeMessage = (name: string, includer: string, { message, file }: Fault): string =>
  message === `There is no file ${file}`
    ? `There is no file ${name}, which ${basename(includer)} includes`
    : `"${name}": ${message}`

const isWithin = (path: Path, outer: Path): boolean => outer.every((key, i) => path[i] === key)

const isUnknown = (fault: Fault): fault is Unknown => 'known' in fault

const list = (value: unknown): string[] => (value === undefined ? [] : [value].flat().map(String))

const withHead = (methods: string[]): string[] =>
  methods.includes('GET') && !methods.includes('HEAD') ? [...methods, 'HEAD'] : methods

const within = (host: string, outer: readonly string[]): boolean =>
  outer.length === 0 ||
  outer.some(
    (one) => one === host || (one.startsWith('*.') && host.slice(host.indexOf('.')) === one.slice(1))
  )

const placeKey = (fault: Fault): string => `${showPlace(fault)} ${fault.path}`

const unique = (faults: readonly Fault[]): Fault[] => [
  ...new Map(faults.map((fault) => [`${placeKey(fault)} ${fault.message}`, fault])).values()
]

async function deepFreezePlan(plan: Plan): Promise<Plan> {
  await forEachSliced(plan.routes, ({ options, words }) => void deepFreeze([options, words]))
  deepFreeze(plan.words)
  Object.freeze(plan.routes)
  return Object.freeze(plan)
}
