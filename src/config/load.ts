import { isObject } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import { loadExtensions } from './extensions.ts'
import { ConfigError, type Fault, sortFaults } from './fault.ts'
import { interpolate } from './interpolate.ts'
import { makePlan } from './plan.ts'
import type { Environment } from './plan-draft.ts'
import type { Plan } from './plan-types.ts'
import { readSource } from './read-source.ts'
import type { Source } from './source.ts'
import type { StandIns } from './stand-ins.ts'

/** Reads a config file into a plan; throws a ConfigError with all errors. With `standIns`, variables that are not set are none. */
export async function loadPlan(
  file: string,
  catalog: Catalog,
  env: Environment,
  standIns?: StandIns
): Promise<Plan> {
  return planOf(await readSource(file), catalog, env, standIns)
}

/** Turns a source into a plan; loads extensions first, so that their options are known when the rest is checked. */
export async function planOf(
  source: Source,
  catalog: Catalog,
  env: Environment,
  standIns?: StandIns
): Promise<Plan> {
  const faults: Fault[] = []
  const extended = await loadExtensions(
    catalog,
    interpolate(extensionsOf(source), { env, standIns }, undefined, []),
    faults
  )
  try {
    const plan = await makePlan(source, extended, env, standIns)
    if (faults.length > 0) throw new ConfigError(faults)
    return plan
  } catch (error) {
    if (!(error instanceof ConfigError) || faults.length === 0) throw error
    const all = sortFaults([...new Set([...faults, ...error.faults])], [source.file])
    throw new ConfigError(all, { files: error.files })
  }
}

/** Returns a source with nothing but `extensions`. */
const extensionsOf = (source: Source): Source => ({
  ...source,
  value: isObject(source.value) ? { extensions: source.value['extensions'] } : undefined
})
