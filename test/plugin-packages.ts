import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { clean, type Ended } from './helpers.ts'

/** The source of the gateway. */
export const SOURCE: string = fileURLToPath(new URL('../src', import.meta.url))

/** Makes a folder in which "sallyport" is installed: a link to its source, so that no build is needed. */
export function withSallyport(t: Pick<Test, 'testdir'>): string {
  const folder = t.testdir({})
  const installed = join(folder, 'installed')
  mkdirSync(installed)
  symlinkSync(SOURCE, join(installed, 'src'))
  const exports = {
    '.': './src/index.ts',
    './kit': './src/kit/index.ts',
    './testing': './src/testing/index.ts'
  }
  writeFileSync(
    join(installed, 'package.json'),
    JSON.stringify({ name: 'sallyport', type: 'module', exports })
  )
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync('../installed', join(folder, 'node_modules/sallyport'))
  return folder
}

/** Runs the tests of a package by node:test, as "npm test" does. */
export async function npmTest(cwd: string): Promise<Pick<Ended, 'code' | 'stdout'>> {
  // Inside of tap, node --test would expect to be a child of its own runner.
  const { NODE_TEST_CONTEXT: _context, TAP: _tap, NODE_OPTIONS: _options, ...env } = clean
  const child = spawn(process.execPath, ['--test', '--test-reporter=tap'], { cwd, env })
  let stdout = ''
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout }
}
