import { resolve } from 'node:path'
import type { Concern, Target } from '../kit/index.ts'
import { mapFiles } from '../lib/schema.ts'
import { type Acceptance, readAcceptances } from './acceptances.ts'
import type { Catalog } from './catalog.ts'
import type { Fault, Place } from './fault.ts'
import { FaultList } from './fault-list.ts'
import type { Finding } from './finding.ts'
import { type InterpolatedSource, interpolate, type Variables } from './interpolate.ts'
import { type MergePlace, mergeOptions, type OptionsState } from './merge-options.ts'
import { type CheckedConfig, ModuleChecks } from './module-checks.ts'
import type { Origin } from './origins.ts'
import type { PlannedRoute } from './plan-types.ts'
import { OptionsResolver } from './resolve-options.ts'
import type { Scope } from './scope.ts'
import { placeLater, type Source } from './source.ts'
import type { Where } from './where.ts'
import type { Written } from './written.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** A route that gets its id, and the options that its target implies, later. */
export interface DraftRoute extends PlannedRoute {
  id: string
  options: Readonly<Record<string, unknown>>
  readonly scope: Scope
}

/** A plan under construction, which every step reads and adds to. */
export class PlanDraft implements CheckedConfig {
  readonly catalog: Catalog
  readonly env: Environment
  readonly #variables: Variables
  /** The schema of the whole config, with our own keywords. */
  readonly schema: Readonly<Record<string, unknown>>
  readonly faults = new FaultList()
  readonly warnings: Finding[] = []
  readonly acceptances: Acceptance[] = []
  /** The entries that are not enabled; nothing in them is warned of. */
  readonly disabled: Where[] = []
  readonly disabledOptions: unknown[] = []
  readonly notes: (() => Fault)[] = []
  readonly resolver: OptionsResolver
  readonly checks: ModuleChecks
  readonly routes: DraftRoute[] = []
  /** The state of each concern on a route; not in the route, since it refers to the whole source. */
  readonly states = new Map<DraftRoute, ReadonlyMap<string, OptionsState>>()
  /** The config files that were read, the main file first. */
  readonly files: string[] = []
  readonly interpolated = new Set<string>()
  /** The first place of each module in the config. */
  readonly firstMentions = new Map<string, () => Place>()
  /** The keys of modules that are configured anywhere, other than with `false`. */
  readonly enabled = new Set<string>()
  /** Where root options come from; upstreams have one for each file that adds some. */
  readonly origins = new Map<string, readonly Origin[]>()
  publicUrl: string | undefined
  trustedProxies: readonly string[] | undefined
  upstreams: Readonly<Record<string, unknown>> = {}
  root: Readonly<Record<string, unknown>> = {}

  constructor(
    catalog: Catalog,
    variables: Variables,
    { schema, file }: { schema: PlanDraft['schema']; file: string }
  ) {
    this.catalog = catalog
    this.env = variables.env
    this.#variables = variables
    this.schema = schema
    this.resolver = new OptionsResolver(this.faults, file)
    this.checks = new ModuleChecks(this, this.resolver, this.faults)
  }

  /** Fills in the `${…}` of a file, and reads which warnings it accepts. */
  interpolate(source: Source, includedBy?: Where): InterpolatedSource {
    const filled = {
      ...interpolate(source, this.#variables, this.schema, this.faults.missingValues),
      ...(includedBy === undefined ? {} : { includedBy })
    }
    for (const text of filled.interpolated) this.interpolated.add(text)
    for (const text of filled.templates.values())
      for (const [, name = ''] of text.matchAll(/\$\{file:([^{}]*)\}/g))
        this.checks.files.add(resolve(source.folder, name))
    this.acceptances.push(...readAcceptances(filled, this.faults))
    return filled
  }

  /** Makes the names of files in the address lists of an option absolute, and has the files watched. */
  resolveAddresses(schema: unknown, value: unknown, { folder }: Source): unknown {
    return mapFiles(schema, value, (name) => {
      const file = resolve(folder, name)
      this.checks.files.add(file)
      return file
    })
  }

  /** Merges the options of a module at one place over the outer ones. */
  merge(module: Concern | Target, outer: OptionsState, written: Written, place: MergePlace): OptionsState {
    if (written.value !== false) this.enabled.add(module.key)
    if (!this.firstMentions.has(module.key))
      this.firstMentions.set(module.key, placeLater(written.source, written.path))
    return mergeOptions(module, outer, written, { ...place, faults: this.faults })
  }
}
