import { existsSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'

const ENDINGS = ['.json', '.jsonc', '.yaml', '.yml', '.ts', '.mts', '.mjs', '.js']

/** Returns the files of tests beside a config: for gateway.json, gateway.test.json and its like. */
export function testsBeside(config: string): string[] {
  const stem = basename(config, extname(config))
  return existing(dirname(config), `${stem}.test`)
}

/** Returns the config beside a file of tests: for gateway.test.json, gateway.json and its like. */
export function configBeside(tests: string): string | undefined {
  const stem = basename(tests, extname(tests)).replace(/\.test$/, '')
  return existing(dirname(tests), stem).find((file) => file !== tests)
}

const existing = (folder: string, stem: string): string[] =>
  ENDINGS.map((ending) => join(folder, stem + ending)).filter((file) => existsSync(file))
