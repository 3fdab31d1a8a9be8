import { readSettings, type Settings, SettingsError } from '../process/settings.ts'
import { loadEnvFiles } from './env-files.ts'
import { CommandError } from './outcome.ts'

/** Reads the settings of the process from its environment and from `.env` files. */
export function settingsFor(env: NodeJS.ProcessEnv, configOption: unknown): Settings {
  const config = loadEnvFiles(env, configOption)
  return { ...readProcessSettings(env), config }
}

/** Reads the settings of the process from its environment alone; throws a CommandError. */
export function readProcessSettings(env: NodeJS.ProcessEnv): Settings {
  try {
    return readSettings(env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    throw new CommandError(error.message)
  }
}
