import { findConfig } from '../config/find-config.ts'
import { readSettings, type Settings, SettingsError } from '../process/settings.ts'
import { CommandError } from './outcome.ts'

/** Reads the settings of the process; the config is that of `-c`, else GATEWAY_CONFIG, else the one in the working directory. */
export function settingsFor(env: NodeJS.ProcessEnv, configOption: unknown): Settings {
  try {
    const settings = readSettings(env)
    if (typeof configOption === 'string') return { ...settings, config: configOption }
    return env['GATEWAY_CONFIG'] ? settings : { ...settings, config: findConfig('.') }
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    throw new CommandError(error.message)
  }
}
