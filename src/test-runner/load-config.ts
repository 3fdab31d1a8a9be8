import { ConfigError, isMissingVariable } from '../config/fault.ts'
import { loadPlan } from '../config/load.ts'
import type { Environment } from '../config/plan-draft.ts'
import type { Plan } from '../config/plan-types.ts'
import { catalog } from '../gateway/catalog.ts'

// Long enough for every secret of a config.
const NO_SECRET = 'no secret: this value is for tests alone and stands in for one that is not set'

const SECRET_NAME = /(?:SECRET|PASSWORD|TOKEN|KEY)$/i

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
