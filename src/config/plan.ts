import { resolve } from 'node:path'
import { readAddresses } from '../lib/http/address-lists.ts'
import { expandRanges } from '../lib/http/networks.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { deepFreeze, isObject } from '../lib/schema.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import { acceptancesOutside } from './acceptances.ts'
import type { Catalog } from './catalog.ts'
import { conditionFaults, conditionWarnings } from './condition-checks.ts'
import { findConflicts } from './conflicts.ts'
import { addUpstreams, readCore, readRootState, resolveRoot } from './core.ts'
import { EntryReader } from './entries.ts'
import { pathPolicyOf } from './facets.ts'
import { ConfigError } from './fault.ts'
import { addImpliedOptions } from './implied-options.ts'
import { rootLevel } from './levels.ts'
import { type Environment, PlanDraft } from './plan-draft.ts'
import type { Plan } from './plan-types.ts'
import { markedSchema } from './schema.ts'
import { faultAt, type Source } from './source.ts'
import type { StandIns } from './stand-ins.ts'
import { trustWarnings } from './trust.ts'

/** Turns a source into a plan; throws a ConfigError with all errors. */
export async function makePlan(
  source: Source,
  catalog: Catalog,
  env: Environment,
  standIns?: StandIns
): Promise<Plan> {
  const schema = getOrCreate(schemas, catalog, () => markedSchema(catalog))
  const draft = new PlanDraft(catalog, { env, standIns }, { schema, file: source.file })
  await yieldIfDue()
  const main = draft.interpolate(source)
  const { value: root, folder } = main
  if (!isObject(root))
    throw new ConfigError([
      faultAt(main, [], 'expected an object; {"routes": []} is the smallest valid config')
    ])
  const path = resolve(folder, source.file.split('/').at(-1) ?? source.file)
  draft.files.push(path)

  readCore(draft, main, root)
  addUpstreams(draft, main, root)
  const state = readRootState(draft, main, root)
  const entries = new EntryReader(draft)
  await entries.read(main, root['routes'], rootLevel(state, path))
  await yieldIfDue()
  addImpliedOptions(draft)
  resolveRoot(draft, state.concerns, folder)
  await draft.checks.runDeferred()
  await yieldIfDue()
  const ignoreCase = ignoresCase(catalog, draft.root)
  const conditional = { catalog, routes: draft.routes, root: draft.root, ignoreCase }
  draft.faults.add(...findConflicts(draft.routes, ignoreCase), ...conditionFaults(conditional))

  const faults = draft.faults.sorted(schema, source.file).filter((fault) => standIns?.causes(fault) !== true)
  const files = [...new Set([...draft.files, ...draft.checks.files])]
  if (faults.length > 0) throw new ConfigError(faults, { files })
  return freezePlan({
    file: source.file,
    files,
    catalog,
    publicUrl: draft.publicUrl,
    trustedProxies: expandRanges(readAddresses(draft.trustedProxies ?? [])),
    clientIp: clientIpHeader(root['clientIp']),
    options: draft.root,
    routes: draft.routes,
    interpolated: draft.interpolated,
    firstMentions: draft.firstMentions,
    origins: draft.origins,
    warnings: [
      ...draft.warnings,
      ...entries.ambiguousGroups(),
      ...conditionWarnings(conditional),
      ...trustWarnings(main, draft.trustedProxies ?? [])
    ],
    notes: draft.notes,
    disabledOptions: draft.disabledOptions,
    acceptances: acceptancesOutside(draft.acceptances, draft.disabled)
  })
}

const clientIpHeader = (option: unknown): string | undefined =>
  typeof option === 'string' ? option.slice('header:'.length).toLowerCase() : undefined

// Composing the schema takes longer than reading most configs, and a catalog without extensions never changes.
const schemas = new WeakMap<Catalog, Readonly<Record<string, unknown>>>()

// The options may be invalid here, so the value may have any type.
const ignoresCase = (catalog: Catalog, options: Plan['options']): boolean =>
  pathPolicyOf({ catalog, options }).ignoreCase === true

function freezePlan(plan: Plan): Plan {
  for (const { targetOptions, options } of plan.routes) deepFreeze([targetOptions, options])
  deepFreeze(plan.options)
  Object.freeze(plan.routes)
  return Object.freeze(plan)
}
