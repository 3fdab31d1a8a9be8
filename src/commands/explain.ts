import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { loadPlan } from '../config/load.ts'
import type { Explanation } from '../explain/explanation.ts'
import { explainOffline } from '../explain/offline.ts'
import { explanationText } from '../explain/text.ts'
import { catalog } from '../gateway/catalog.ts'
import { readCaller, standIn } from '../simulation/callers.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { CommandError, throwBuildError, throwConfigErrors, UsageError } from './outcome.ts'
import { JSON_OPTION } from './print-json.ts'
import { settingsFor } from './settings.ts'

export const command: Command = {
  summary: 'says what becomes of a request, and why, without opening a port',
  usage:
    'sallyport explain METHOD URL [-H "NAME: VALUE"]... [--body FILE] [--as FILE] [--from IP] [--forward STATUS] [--expect STATUS] [-c FILE] [--json]',
  options: {
    config: CONFIG_OPTION,
    header: {
      type: 'string',
      short: 'H',
      value: 'NAME: VALUE',
      multiple: true,
      about: 'adds a header to the request; may be given several times'
    },
    body: { type: 'string', value: 'FILE', about: 'the body of the request' },
    as: {
      type: 'string',
      value: 'FILE',
      about: 'who calls, in place of credentials: a JSON file with an id, roles, scopes and claims'
    },
    from: { type: 'string', value: 'IP', default: '192.0.2.1', about: 'the address of the client' },
    forward: {
      type: 'string',
      value: 'STATUS',
      about: 'the status with which a service responds that a gate asks, such as 200 or 401'
    },
    expect: {
      type: 'string',
      value: 'STATUS',
      about: 'exits with 3 where the response has another status; "200" for a request that is forwarded'
    },
    json: JSON_OPTION
  },
  positionals: ['METHOD', 'URL'],
  async run({ values, positionals }) {
    const [method, url] = positionals
    if (method === undefined || url === undefined)
      throw new UsageError(`expected a method and a URL; usage: ${command.usage}`)
    const from = String(values['from'])
    if (isIP(from) === 0) throw new UsageError(`expected an IP address after --from, got "${from}"`)
    const { config } = settingsFor(process.env, values['config'])
    const plan = await loadPlan(config, catalog, process.env).catch(throwConfigErrors)
    const caller = typeof values['as'] === 'string' ? callerIn(values['as']) : undefined
    const expected = statusOf(values['expect'], '--expect')
    const explanation = await explainOffline(plan, {
      method: methodOf(method),
      url: urlOf(url),
      headers: headersOf(values['header']),
      body: typeof values['body'] === 'string' ? readBody(values['body']) : undefined,
      from,
      callerFor: caller === undefined ? undefined : standIn(caller),
      gateStatus: statusOf(values['forward'], '--forward')
    }).catch(throwBuildError)
    process.stdout.write(
      values['json'] === true ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation)
    )
    return expected === undefined ? 0 : compared(explanation, expected)
  }
}

// 3 is the exit code of a config that does something else than what was expected.
function compared({ status }: Explanation, expected: number): number {
  if (status === expected) return 0
  process.stderr.write(`expected status ${expected}, got ${status ?? 'no response'}\n`)
  return 3
}

function methodOf(method: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method))
    throw new UsageError(`expected a method such as GET, got "${method}"`)
  return method
}

/** Returns a URL as it is sent; what the gateway would not get as a request line at all is refused here. */
function urlOf(url: string): string {
  if (/[\r\n]/.test(url)) throw new UsageError('expected a URL on one line')
  if (url.startsWith('/') || /^https?:\/\//i.test(url)) return url
  throw new UsageError(`expected a path such as /orders/1 or a URL with http(s)://, got "${url}"`)
}

function headersOf(written: unknown): [string, string][] {
  return ((written ?? []) as string[]).map((text) => {
    const found = /^([^:\s]+):[ \t]*([^\r\n]*)$/.exec(text)
    if (found === null) throw new UsageError(`expected -H "NAME: VALUE", got "${text}"`)
    return [found[1] ?? '', found[2] ?? '']
  })
}

function statusOf(written: unknown, option: string): number | undefined {
  if (written === undefined) return undefined
  const status = Number(written)
  if (!Number.isInteger(status) || status < 100 || status > 599)
    throw new UsageError(`expected a status such as 403 after ${option}, got "${String(written)}"`)
  return status
}

function callerIn(file: string): NonNullable<ReturnType<typeof readCaller>> {
  let value: unknown
  try {
    value = JSON.parse(readFile(file).toString('utf8'))
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new CommandError(`${file} is not JSON: ${(error as Error).message}`)
  }
  const caller = readCaller(value)
  if (caller === undefined)
    throw new CommandError(
      `${file}: expected an object such as {"id": "ada", "roles": ["staff"]}, got none with an "id" or "sub"`
    )
  return caller
}

const readBody = (file: string): Buffer => readFile(file)

function readFile(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new CommandError(`${file} can't be read (${(error as NodeJS.ErrnoException).code})`)
  }
}
