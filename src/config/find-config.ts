import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The names of a config that is found without being named; the first one that exists wins. */
const CONFIG_NAMES = [
  'gateway.json',
  'gateway.yaml',
  'gateway.yml',
  'gateway.ts',
  'gateway.mts',
  'gateway.mjs',
  'gateway.js'
] as const

/** Returns the name of the config in a folder; `gateway.json` where there is none. */
export const findConfig = (folder: string): string =>
  CONFIG_NAMES.find((name) => existsSync(join(folder, name))) ?? CONFIG_NAMES[0]
