import { isObject } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import { extend } from './extensions.ts'
import { ConfigError, type Fault, sortFaults } from './fault.ts'
import { interpolate } from './interpolate.ts'
import { makePlan, type Plan } from './plan.ts'
import { readSource, type Source } from './source.ts'

type Env = Readonly<Record<string, string | undefined>>

/** Reads a config file into a plan; throws a ConfigError with all faults at once. */
export async function loadPlan(file: string, catalog: Catalog, env: Env): Promise<Plan> {
  return planOf(await readSource(file), catalog, env)
}

/** Turns a source into a plan, its extensions first, so that their words exist when the rest is checked. */
export async function planOf(source: Source, catalog: Catalog, env: Env): Promise<Plan> {
  const faults: Fault[] = []
  const whole = await extend(catalog, await interpolate(extensionsOf(source), env, undefined, []), faults)
  try {
    const plan = await makePlan(source, whole, env)
    if (faults.length > 0) throw new ConfigError(faults)
    return plan
  } catch (error) {
    if (!(error instanceof ConfigError) || faults.length === 0) throw error
    throw new ConfigError(sortFaults([...new Set([...faults, ...error.faults])], [source.file]))
  }
}

/** Takes what a source says of extensions, and nothing else. */
const extensionsOf = (source: Source): Source => ({
  ...source,
  value: isObject(source.value) ? { extensions: source.value['extensions'] } : undefined
})
