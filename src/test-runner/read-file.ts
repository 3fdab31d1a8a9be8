import { isIP } from 'node:net'
import { ConfigError, type Fault, type Path, sortFaults } from '../config/fault.ts'
import { readSource } from '../config/read-source.ts'
import { faultAt, type Source } from '../config/source.ts'
import { validate } from '../config/validate.ts'
import { compilePattern } from '../lib/body/json-schema/pattern.ts'
import { STRATEGIES } from '../lib/caller.ts'
import { isObject, nearest } from '../lib/schema.ts'
import { duration } from '../lib/units.ts'
import { isPattern } from './match-text.ts'
import { type TestFile, testFileOptions } from './schema.ts'

/** A file of tests, checked. */
export interface ReadTests {
  readonly source: Source
  readonly content: TestFile
}

/** Reads and checks a file of tests: JSON with comments, YAML or a module; throws a ConfigError with all errors. */
export async function readTests(file: string): Promise<ReadTests> {
  const source = await readSource(file, file)
  const faults: Fault[] = []
  const add = (path: Path, message: string): void => {
    faults.push(faultAt(source, path, message))
  }
  if (isObject(source.value) && source.value['routes'] !== undefined && source.value['tests'] === undefined) {
    add([], `expected a file of tests, got a config; "-c ${file}" names the config`)
    throw new ConfigError(faults)
  }
  for (const { path, message } of schemaFaults(testFileOptions, source.value)) add(path, message)
  if (faults.length > 0) throw new ConfigError(sortFaults(faults))
  // The schema has proved it.
  const content = source.value as TestFile
  checkTests(content, add)
  checkValues(content, [], add)
  if (faults.length > 0) throw new ConfigError(sortFaults(faults))
  return { source, content }
}

/** Lists the errors of a value by a schema, except unknown keys with "x-", which are the user's own. */
export const schemaFaults = (schema: object, value: unknown): { path: Path; message: string }[] =>
  validate(schema, value, () => undefined).filter(
    ({ path, known }) => known === undefined || !String(path.at(-1)).startsWith('x-')
  )

// A hundred years, after which dates are still valid.
const MAX_WAIT_MS = 36_500 * 86_400_000

type Add = (path: Path, message: string) => void

/** Checks what the schema cannot express. */
function checkTests({ tests, callers = {}, clock }: TestFile, add: Add): void {
  if (clock !== undefined && Number.isNaN(Date.parse(clock)))
    add(['clock'], `expected a date such as "2026-01-01T00:00:00Z", got "${clock}"`)
  const names = Object.keys(callers)
  for (const [i, test] of tests.entries()) {
    const { steps, request } = test
    if ((steps === undefined) === (request === undefined))
      add(
        ['tests', i],
        `expected one of "request" and "steps", got ${steps === undefined ? 'neither' : 'both'}`
      )
    if (steps !== undefined)
      for (const key of ['as', 'sign', 'expect'] as const)
        if (test[key] !== undefined)
          add(['tests', i, key], `expected "${key}" in the steps, got it beside "steps"`)
    checkCallers(test, ['tests', i], { names, add })
    for (const [j, step] of (steps ?? []).entries()) {
      const path = ['tests', i, 'steps', j]
      const kinds = (['request', 'wait', 'purge', 'reload'] as const).filter((key) => step[key] !== undefined)
      if (kinds.length !== 1)
        add(
          path,
          `expected one of "request", "wait", "purge" and "reload", got ${kinds.length === 0 ? 'none' : kinds.map((kind) => `"${kind}"`).join(' and ')}`
        )
      if (step.wait !== undefined && duration(step.wait) > MAX_WAIT_MS)
        add([...path, 'wait'], `expected 36500d at most, got ${step.wait}`)
      checkCallers(step, path, { names, add })
    }
  }
}

type WithCallers = Pick<TestFile['tests'][number], 'as' | 'sign'>

/** Checks the names of callers, and those of strategies. */
function checkCallers(
  { as, sign }: WithCallers,
  path: Path,
  { names, add }: { names: readonly string[]; add: Add }
): void {
  const check = (at: Path, name: string, known: readonly string[], what: string): void => {
    if (known.includes(name)) return
    const near = nearest(name, known)
    const list = known.length === 0 ? 'there are none' : `known: ${known.join(', ')}`
    add(
      [...path, ...at],
      `There is no ${what} "${name}"; ${near === undefined ? list : `did you mean "${near}"?`}`
    )
  }
  const caller = (at: Path, name: string): void => check(at, name, names, 'caller in "callers" called')
  if (typeof as === 'string') caller(['as'], as)
  else
    for (const [strategy, name] of Object.entries(as ?? {})) {
      check(['as', strategy], strategy, STRATEGIES, 'strategy of "auth" called')
      caller(['as', strategy], name)
    }
  if (sign !== undefined)
    caller(
      typeof sign === 'string' ? ['sign'] : ['sign', 'caller'],
      typeof sign === 'string' ? sign : sign.caller
    )
}

/** Checks addresses, patterns, and what goes into requests as bytes. */
function checkValues(value: unknown, path: Path, add: Add): void {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) checkValues(item, [...path, i], add)
    return
  }
  if (!isObject(value)) return
  if (isPattern(value)) checkPattern(value.match, [...path, 'match'], add)
  const from = path.at(-1) === 'request' ? value['from'] : undefined
  if (typeof from === 'string' && isIP(from) === 0)
    add([...path, 'from'], `expected an IP address, got "${from}"`)
  for (const [key, inner] of Object.entries(value)) {
    const at = [...path, key]
    const isWritten = key === 'request' || path.at(-1) === 'request' || path.at(-1) === 'headers'
    if (isWritten && key !== 'body' && typeof inner === 'string' && /[\r\n]/.test(inner))
      add(at, 'expected no line break, got one')
    if (!isData(at)) checkValues(inner, at, add)
  }
}

/** Returns whether a path is that of the user's own data, in which nothing has a meaning. */
const isData = (path: Path): boolean =>
  ['claims', 'env', 'purge'].includes(String(path.at(-1))) ||
  (path.at(-1) === 'body' && !path.includes('expect') && !path.includes('when'))

function checkPattern(pattern: string, path: Path, add: Add): void {
  try {
    compilePattern(pattern)
  } catch (error) {
    add(path, `expected a regular expression, got ${JSON.stringify(pattern)}: ${(error as Error).message}`)
  }
}
