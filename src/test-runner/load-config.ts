import { existsSync } from 'node:fs'
import { ConfigError, type Fault, isMissingVariable, type Path } from '../config/fault.ts'
import { loadPlan } from '../config/load.ts'
import type { Environment } from '../config/plan-draft.ts'
import type { Plan } from '../config/plan-types.ts'
import { faultAt, type Source } from '../config/source.ts'
import { catalog } from '../gateway/catalog.ts'
import { displayPath } from '../lib/display-path.ts'

// Long enough for every secret of a config.
const NO_SECRET = 'no secret: this value is for tests alone and stands in for one that is not set'

const SECRET_NAME = /(?:SECRET|PASSWORD|TOKEN|KEY)$/i

/** A config, and where a file of tests names it. */
export interface NamedConfig {
  readonly path: string
  readonly at: Path | undefined
}

/** Reads the config to test, the first one, and those that are reloaded; throws a ConfigError with the errors of all. */
export async function loadTestedConfigs(
  source: Source,
  [tested, ...reloaded]: readonly [NamedConfig, ...NamedConfig[]],
  env: Environment
): Promise<{ plans: readonly [Plan, ...Plan[]]; files: readonly string[] }> {
  const faults: Fault[] = []
  const files = new Set<string>()
  const load = async ({ path, at }: NamedConfig): Promise<Plan | undefined> => {
    files.add(path)
    try {
      if (at !== undefined && !existsSync(path))
        throw new ConfigError([faultAt(source, at, `There is no file ${displayPath(path)}`)])
      const plan = await loadTestedConfig(path, env)
      for (const file of [...plan.files, ...(plan.catalog.extensionFiles?.values() ?? [])]) files.add(file)
      return plan
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      faults.push(...error.faults)
      for (const file of error.files) files.add(file)
      return undefined
    }
  }
  const plan = await load(tested)
  const others = new Map(reloaded.map((config) => [config.path, config]))
  others.delete(tested.path)
  const next: Plan[] = []
  for (const config of others.values()) {
    const loaded = await load(config)
    if (loaded !== undefined) next.push(loaded)
  }
  if (faults.length > 0 || plan === undefined) throw new ConfigError(faults, { files: [...files] })
  return { plans: [plan, ...next], files: [...files] }
}

/** Reads a config for tests: a secret whose variable is not set gets a harmless value. */
export async function loadTestedConfig(file: string, env: Environment): Promise<Plan> {
  const variables = { SESSION_SECRET: NO_SECRET, ...env }
  try {
    return await loadPlan(file, catalog, variables)
  } catch (error) {
    const secrets = error instanceof ConfigError ? missingSecrets(error) : []
    if (secrets.length === 0) throw error
    return loadPlan(file, catalog, {
      ...variables,
      ...Object.fromEntries(secrets.map((name) => [name, NO_SECRET]))
    })
  }
}

const missingSecrets = ({ faults }: ConfigError): string[] =>
  faults.flatMap((fault) =>
    isMissingVariable(fault) && SECRET_NAME.test(fault.variable) ? [fault.variable] : []
  )
