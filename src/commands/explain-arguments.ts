import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { showPath } from '../config/fault.ts'
import { unreadable } from '../lib/unreadable.ts'
import { type CallerStandIn, readCaller } from '../simulation/callers.ts'
import { type Expectation, expectOptions } from '../test-runner/expectation-schema.ts'
import { readTests, schemaFaults } from '../test-runner/read-file.ts'
import { throwConfigErrors, UsageError } from './outcome.ts'

/** Returns a method; throws a UsageError for what no request line can have. */
export function methodOf(text: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text))
    throw new UsageError(`expected a method such as GET, got "${text}"`)
  const upper = text.toUpperCase()
  // Methods are case-sensitive (RFC 9110 section 9.1), and the parser takes none in small letters.
  if (text !== upper)
    throw new UsageError(`expected a method in capital letters, got "${text}"; "${upper}" would work`)
  return text
}

/** Returns a URL as it is sent, without changing it. */
export function urlOf(text: string): string {
  if (/[\r\n]/.test(text)) throw new UsageError('expected a URL on one line')
  if (text.startsWith('/') || /^https?:\/\//i.test(text)) return text
  throw new UsageError(`expected a path such as /orders/1 or a URL with http(s)://, got "${text}"`)
}

/** Returns an IP address. */
export function addressOf(text: string): string {
  if (isIP(text) === 0) throw new UsageError(`expected an IP address after --from, got "${text}"`)
  return text
}

/** Returns the headers of `-H "NAME: VALUE"`, as curl takes them. */
export const headersOf = (written: unknown): [string, string][] =>
  ((written ?? []) as string[]).map((text) => {
    const found = /^([^:\s]+):[ \t]*([^\r\n]*)$/.exec(text)
    if (found === null) throw new UsageError(`expected -H "NAME: VALUE", got "${text}"`)
    return [found[1] ?? '', found[2] ?? '']
  })

/** Returns the status after an option; undefined without the option. */
export function statusOf(written: unknown, option: string): number | undefined {
  if (written === undefined) return undefined
  const status = Number(written)
  if (!Number.isInteger(status) || status < 100 || status > 599)
    throw new UsageError(`expected a status such as 403 after ${option}, got "${String(written)}"`)
  return status
}

/** Returns what `--expect` says: a status, or an `expect` of a test as JSON. */
export function expectationOf(written: unknown): Expectation | undefined {
  if (typeof written !== 'string') return undefined
  if (!written.trimStart().startsWith('{')) return { status: statusOf(written, '--expect') ?? 0 }
  let value: unknown
  try {
    value = JSON.parse(written)
  } catch (error) {
    throw new UsageError(`expected a status or JSON after --expect: ${(error as Error).message}`)
  }
  const [fault] = schemaFaults(expectOptions, value)
  if (fault !== undefined) throw new UsageError(`--expect ${showPath(fault.path)}: ${fault.message}`)
  return value as Expectation
}

const TEST_FILES = ['.test.json', '.test.yaml', '.test.yml', '.test.ts', '.test.js'] as const

/** Finds the caller of `--as`: in a JSON file, or by its name in the file of tests beside the config. */
export async function callerOf(written: unknown, config: string): Promise<CallerStandIn | undefined> {
  if (typeof written !== 'string') return undefined
  if (existsSync(written)) return callerIn(written)
  const base = config.replace(/\.[^./]+$/, '')
  const file = TEST_FILES.map((ending) => base + ending).find(existsSync)
  if (file === undefined)
    throw new UsageError(
      `There is no file ${written}, and no ${base}.test.json with a caller of this name; expected a JSON file such as {"id": "ada", "roles": ["staff"]}`
    )
  const { callers = {} } = (await readTests(file).catch(throwConfigErrors)).content
  const entry = Object.hasOwn(callers, written) ? callers[written] : undefined
  if (entry === undefined)
    throw new UsageError(
      `${file} has no caller "${written}"; it has ${Object.keys(callers).join(', ') || 'none'}`
    )
  return readCaller({ id: written, ...entry })
}

function callerIn(file: string): CallerStandIn {
  let value: unknown
  try {
    value = JSON.parse(
      readFile(file)
        .toString('utf8')
        .replace(/^\uFEFF/, '')
    )
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${file} is not JSON: ${(error as Error).message}`)
  }
  const caller = readCaller(value)
  if (caller === undefined)
    throw new UsageError(
      `${file}: expected an object such as {"id": "ada", "roles": ["staff"]}, got none with an "id" or "sub"`
    )
  return caller
}

/** Returns the bytes of a file. */
export function readFile(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new UsageError(unreadable(file, error))
  }
}
