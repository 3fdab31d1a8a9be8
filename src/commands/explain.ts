import { loadPlan } from '../config/load.ts'
import { explainOffline, NoResponse } from '../explain/offline.ts'
import { explanationText } from '../explain/text.ts'
import { catalog } from '../gateway/catalog.ts'
import { standIn } from '../simulation/callers.ts'
import type { SimulatedOutcome } from '../simulation/simulation.ts'
import type { Expectation } from '../test-runner/expectation-schema.ts'
import { matchExpectation } from '../test-runner/match.ts'
import { outcomeOf } from '../test-runner/outcome.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import {
  addressOf,
  callerOf,
  expectationOf,
  headersOf,
  methodOf,
  readFile,
  statusOf,
  urlOf
} from './explain-arguments.ts'
import { throwBuildError, throwConfigErrors, UsageError } from './outcome.ts'
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
      about:
        'who calls, in place of credentials: a JSON file with an id, roles, scopes and claims, or a name of "callers" in the tests beside the config'
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
      about: 'exits with 3 where this does not hold: a status, or an "expect" of a test as JSON'
    },
    json: JSON_OPTION
  },
  positionals: ['METHOD', 'URL'],
  async run({ values, positionals }) {
    const [method, url] = positionals
    if (method === undefined || url === undefined)
      throw new UsageError(`expected a method and a URL; usage: ${command.usage}`)
    const { config } = settingsFor(process.env, values['config'])
    const caller = await callerOf(values['as'], config)
    const expected = expectationOf(values['expect'])
    const question = {
      method: methodOf(method),
      url: urlOf(url),
      headers: headersOf(values['header']),
      body: typeof values['body'] === 'string' ? readFile(values['body']) : undefined,
      from: addressOf(String(values['from'])),
      callerFor: caller === undefined ? undefined : standIn(caller),
      forward: statusOf(values['forward'], '--forward')
    }
    const plan = await loadPlan(config, catalog, process.env).catch(throwConfigErrors)
    const { explanation, outcome } = await explainOffline(plan, question).catch((error: unknown) => {
      if (error instanceof NoResponse) throw new UsageError(error.message)
      throwBuildError(error)
    })
    process.stdout.write(
      values['json'] === true ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation)
    )
    return expected === undefined ? 0 : compared(expected, outcome)
  }
}

// 3 is the exit code of a config that does something else than what was expected.
function compared(expected: Expectation, outcome: SimulatedOutcome): number {
  const mismatches = matchExpectation(expected, outcomeOf(outcome))
  process.stderr.write(mismatches.map((message) => `${message}\n`).join(''))
  return mismatches.length === 0 ? 0 : 3
}
