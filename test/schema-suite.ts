import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A group of tests of the JSON-Schema-Test-Suite. */
export interface SuiteGroup {
  readonly file: string
  readonly description: string
  readonly schema: unknown
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[]
}

/** The folder of draft 2020-12 of the JSON-Schema-Test-Suite, with `tests` and `remotes`; undefined where there is none. */
export const suiteFolder: string | undefined = process.env['JSON_SCHEMA_SUITE']

/** Why a test that wants the suite is skipped; false where it is not. */
export const noSuite: string | false =
  suiteFolder === undefined
    ? 'JSON_SCHEMA_SUITE names no folder of the JSON-Schema-Test-Suite (tests and remotes of draft 2020-12)'
    : false

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
