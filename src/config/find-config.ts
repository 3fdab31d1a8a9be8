import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The default names of a config; the first one that exists wins. */
const CONFIG_NAMES = [
  'gateway.json',
  'gateway.yaml',
  'gateway.yml',
  'gateway.ts',
  'gateway.mts',
  'gateway.mjs',
  'gateway.js'
] as const

/** Returns the name of the config in a folder; `gateway.json` if there is none. */
export const findConfig = (folder: string): string =>
  CONFIG_NAMES.find((name) => existsSync(join(folder, name))) ?? CONFIG_NAMES[0]
