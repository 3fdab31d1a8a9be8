import { planOf } from '../../../src/config/load.ts'
import { objectSource } from '../../../src/config/source.ts'
import { StandIns } from '../../../src/config/stand-ins.ts'
import { type DiffedSide, diffPlans } from '../../../src/diff/diff-plans.ts'
import type { Finding } from '../../../src/diff/findings.ts'
import { catalog } from '../../../src/gateway/catalog.ts'
import { SECRET } from '../../helpers.ts'

/** The options of a config, as an object. */
export type Config = Readonly<Record<string, unknown>>

/** Reads a config as `diff` does; variables that `env` lacks are not set. */
export async function side(config: Config, env: Record<string, string> = {}): Promise<DiffedSide> {
  const standIns = new StandIns()
  const variables = { SESSION_SECRET: SECRET, ...env }
  const plan = await planOf(objectSource(config), catalog, variables, standIns)
  return { plan, folder: process.cwd(), standIns }
}

/** Compares two configs. */
export const diff = async (before: Config, after: Config): Promise<Finding[]> =>
  diffPlans(await side(before), await side(after))

/** Lists the changes of two configs as "class option", or "class message" where it is the routes. */
export const changes = async (before: Config, after: Config): Promise<string[]> =>
  (await diff(before, after)).map(({ class: kind, option, message }) => `${kind} ${option ?? message}`)
