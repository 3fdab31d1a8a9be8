import { type LintContext, type LintResult, lint } from '../src/config/lint.ts'
import { buildGateway, loadConfig } from '../src/index.ts'
import { SECRET } from './helpers.ts'

/** What `check` is told of the process. */
export interface Audit extends Partial<Omit<LintContext, 'pairs'>> {
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** Checks a config as `check` does. */
export async function audit(
  config: object | string,
  { env = { SESSION_SECRET: SECRET }, workers = 1, ...context }: Audit = {}
): Promise<LintResult> {
  const plan = await loadConfig(config, env)
  const app = await buildGateway(plan)
  const result = lint(plan, app.routeInfos, { workers, pairs: app.ambiguousPairs(), ...context })
  await app.close()
  return result
}

/** Returns the codes of the warnings of a config, in the order of their names. */
export const codesOf = ({ warnings }: LintResult): string[] => warnings.map(({ code }) => code).toSorted()
