import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse, populate } from 'dotenv'
import { findConfig } from '../config/find-config.ts'
import { CommandError } from './outcome.ts'

/** Adds the variables of the `.env` files in the working directory and beside the config to an environment, which wins, and returns the config file: that of `-c`, else GATEWAY_CONFIG, else the one in the working directory. */
export function loadEnvFiles(env: NodeJS.ProcessEnv, configOption: unknown): string {
  const here = readEnvFile('.env')
  const config =
    typeof configOption === 'string'
      ? configOption
      : env['GATEWAY_CONFIG'] || here['GATEWAY_CONFIG'] || findConfig('.')
  const file = join(dirname(config), '.env')
  // The config is found already, and a worker has to find the same one.
  const { GATEWAY_CONFIG: _, ...beside } = resolve(file) === resolve('.env') ? {} : readEnvFile(file)
  populate(env, { ...here, ...beside })
  return config
}

/** Returns the `.env` files for a config, which may not exist. */
export const envFilesFor = (config: string): string[] => ['.env', join(dirname(config), '.env')]

function readEnvFile(file: string): Record<string, string> {
  try {
    return parse(readFileSync(file))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return {}
    throw new CommandError(`${file} can't be read (${code})`)
  }
}
