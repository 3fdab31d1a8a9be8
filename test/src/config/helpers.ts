import { relative, sep } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '../../../src/index.ts'

export type Env = Record<string, string>
export type Files = Record<string, string>

/** An invalid config: a text is gateway.json; of several files, the first is the config. */
export interface InvalidConfig {
  readonly name: string
  readonly config: string | Files
  readonly env?: Env
  /** Every line of the message; file names as seen from the folder of the config. */
  readonly faults: readonly (string | RegExp)[]
  /** What no line may show. */
  readonly hidden?: string
}

/** Builds the folders of `testdir` from file names with slashes. */
export function nestedFiles(files: Files): Files {
  const made: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(files)) {
    const parts = name.split('/')
    let here = made
    for (const part of parts.slice(0, -1)) {
      here[part] ??= {}
      here = here[part] as Record<string, unknown>
    }
    here[parts.at(-1) ?? ''] = text
  }
  return made as Files
}

/** Loads a config from files and returns the lines of its error; none for a valid config. */
export async function faultsOf(t: Test, config: string | Files, env: Env = {}): Promise<string[]> {
  const files = typeof config === 'string' ? { 'gateway.json': config } : config
  const folder = t.testdir(nestedFiles(files))
  try {
    await loadConfig(`${folder}/${Object.keys(files)[0]}`, env)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.replaceAll(`${relative(process.cwd(), folder)}${sep}`, '').split('\n')
  }
}

/** Loads an invalid config and compares every line of the error. */
export function checkFaults(t: Test, { name, config, env, faults, hidden }: InvalidConfig): void {
  t.test(name, async (t) => {
    const found = await faultsOf(t, config, env)
    t.equal(found.length, faults.length, `one line a fault: ${found.join(' | ')}`)
    for (const [i, fault] of faults.entries())
      if (typeof fault === 'string') t.equal(found[i], fault)
      else t.match(found[i], fault)
    if (hidden !== undefined) t.notMatch(found.join('\n'), hidden, 'the secret is not shown')
  })
}

/** Checks the errors of a table of invalid configs. */
export function rejects(title: string, cases: readonly InvalidConfig[]): void {
  t.test(title, async (t) => {
    for (const each of cases) checkFaults(t, each)
  })
}

const helloRoute = '{ "path": "/hello", "respond": { "body": "hello" } }'

/** A config with options at the root. */
export const rootConfig = (text: string): string => `{ ${text}, "routes": [ ${helloRoute} ] }`

/** A config with options on its only route. */
export const routeConfig = (rest: string): string => `{ "routes": [ { "path": "/a", ${rest} } ] }`

/** Builds cases from one-line configs and their errors, without the position. */
export const oneLine = (
  cases: readonly (readonly [config: string, ...faults: string[]])[]
): InvalidConfig[] =>
  cases.map(([config, ...faults]) => ({
    name: config,
    config,
    faults: faults.map((fault) => new RegExp(`^gateway\\.json:1:\\d+ ${escaped(fault)}$`))
  }))

/** Escapes a text for a regular expression. */
export function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** A valid extension, the concern "tenant". */
export const tenant = `export const key = 'tenant'
export const options = {
  type: 'object', additionalProperties: false,
  properties: { known: { type: 'integer', description: 'How many.' } }
}
export default async function tenant () {}`

/** Loads an extension from a module text, with more members of its entry and more root options. */
export const withExtension = (entry: string, module: string, options = ''): Files => ({
  'gateway.json': `{ "extensions": [ { "module": "./tenant.js"${entry} } ],\n  ${options}"routes": [ ${helloRoute} ] }`,
  'tenant.js': module
})
