import type { About, Concern, OptionFault, Target } from '../kit/index.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, mapFiles } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import type { Path } from './fault.ts'
import type { FaultList } from './fault-list.ts'
import type { OptionsState } from './merge-options.ts'
import type { PlannedRoute } from './plan-types.ts'
import type { OptionsResolver, ValidOptions } from './resolve-options.ts'

/** The paths and hosts for which options apply. */
export type RouteMatch = Pick<PlannedRoute, 'paths' | 'hosts'>

/** The match of root options: every path and host. */
export const MATCH_ALL: RouteMatch = { paths: [], hosts: [] }

/** The rest of the config, as the check of a module sees it; read when the check runs. */
export interface CheckedConfig {
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[] | undefined
  readonly upstreams: Readonly<Record<string, unknown>>
  /** The root options of each installed concern. */
  readonly root: Readonly<Record<string, unknown>>
  readonly routes: readonly Pick<PlannedRoute, 'options'>[]
  readonly catalog: Pick<Catalog, 'extensionKeys'>
}

/** One set of options of a module, and where it applies. */
export interface ModuleUse {
  readonly module: Concern | Target
  readonly options: unknown
  readonly state: OptionsState
  /** The folder that names of files in the options are relative to. */
  readonly folder: string
  readonly match: RouteMatch
}

/** Runs the `faults` functions of modules, once for each set of options. */
export class ModuleChecks {
  /** The files that concerns read at boot: a list of users, a page. */
  readonly files = new Set<string>()
  readonly #deferred: ModuleUse[] = []
  readonly #pending: Promise<void>[] = []
  readonly #collected = new WeakSet<object>()
  readonly #checked = new WeakMap<object, Set<unknown>>()
  readonly #config: CheckedConfig
  readonly #resolver: OptionsResolver
  readonly #faults: FaultList
  #routeOptions: readonly Readonly<Record<string, unknown>>[] | undefined

  constructor(config: CheckedConfig, resolver: OptionsResolver, faults: FaultList) {
    this.#config = config
    this.#resolver = resolver
    this.#faults = faults
  }

  /** Adds a check that runs once the whole config is read. */
  defer(use: ModuleUse): void {
    const { module, options } = use
    if (!isObject(options)) return
    this.collectFiles(module, options)
    if (module.faults !== undefined) this.#deferred.push(use)
  }

  /** Runs all deferred checks. */
  async runDeferred(): Promise<void> {
    for (const use of this.#deferred) this.check(use)
    for (const checked of this.#pending) await checked
  }

  /** Collects the files that a module reads at boot. */
  collectFiles(module: Concern | Target, options: object): void {
    if (this.#collected.has(options)) return
    this.#collected.add(options)
    const isTarget = 'target' in module
    mapFiles(module.options, options, (file, kind) => {
      // A target may name a folder, whose files are read at each request.
      if (!isTarget || kind === 'addresses') this.files.add(file)
      return file
    })
    if (!isTarget) for (const file of module.files?.(options as never) ?? []) this.files.add(file)
  }

  /** Adds the errors that a module finds in its options. */
  check(use: ModuleUse): void {
    const { module, options, state, folder, match } = use
    if (module.faults === undefined || !isObject(options)) return
    const valid = this.#resolver.validPartOf(options)
    if (valid === undefined) return
    const paths = match.paths.map(({ text }) => text)
    const checked = getOrCreate(this.#checked, options, () => new Set<unknown>())
    // A target may depend on the paths and hosts of its route, a concern on its options alone.
    const variant = 'target' in module ? [...paths, '', ...match.hosts].join() : ''
    if (checked.has(variant)) return
    checked.add(variant)
    const found = module.faults(valid.options as never, {
      ...this.#about(),
      folder,
      paths,
      hosts: match.hosts,
      inherited: state.inherited
    })
    if (!(found instanceof Promise)) {
      this.#report(use, found, valid)
      return
    }
    const reported = found.then((faults) => this.#report(use, faults, valid))
    // A check that fails itself is told where all are waited for.
    reported.catch(() => {})
    this.#pending.push(reported)
  }

  #report({ module, state, folder }: ModuleUse, found: readonly OptionFault[], valid: ValidOptions): void {
    for (const { path, message } of found) {
      // An error at an invalid option, or inside it, may follow from that.
      if (valid.removed.some((removed) => isWithin(path, removed) || isWithin(removed, path))) continue
      // Modules get the absolute path of a file; messages name it as written.
      const relative = message.replaceAll(`${folder}/`, '')
      this.#faults.add(this.#resolver.locate(module, state, { path, message: relative }))
    }
  }

  #about(): Omit<About, 'folder' | 'paths' | 'hosts' | 'inherited'> {
    const { upstreams, root, publicUrl, trustedProxies, routes, catalog } = this.#config
    // The list is long, and does not change once all routes are read.
    if (this.#routeOptions?.length !== routes.length)
      this.#routeOptions = routes.map(({ options }) => options)
    return {
      upstreams: Object.keys(upstreams),
      extensions: [...(catalog.extensionKeys ?? [])],
      optionsOf: (key) => root[key],
      publicUrl,
      trustedProxies,
      routes: this.#routeOptions
    }
  }
}

const isWithin = (path: Path, outer: Path): boolean => outer.every((key, i) => path[i] === key)
