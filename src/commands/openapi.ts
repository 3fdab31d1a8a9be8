import { loadPlan } from '../config/load.ts'
import type { Plan } from '../config/plan-types.ts'
import { catalog } from '../gateway/catalog.ts'
import { printJson, printYaml } from '../lib/openapi/print.ts'
import { describeGateway, type GatewayDescription } from '../openapi/document.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { CommandError, throwConfigErrors, UsageError } from './outcome.ts'
import { settingsFor } from './settings.ts'

export const command: Command = {
  summary: 'prints an OpenAPI 3.1 description of the routes; with --host, of those of a host',
  usage: 'sallyport openapi [-c FILE] [--host NAME] [--json|--yaml]',
  options: {
    config: CONFIG_OPTION,
    host: { type: 'string', value: 'NAME', about: 'describes the routes of this host alone' },
    json: { type: 'boolean', about: 'prints JSON, the default' },
    yaml: { type: 'boolean', about: 'prints YAML' }
  },
  positionals: [],
  async run({ values }) {
    if (values['json'] === true && values['yaml'] === true)
      throw new UsageError(`expected --json or --yaml, got both; usage: ${command.usage}`)
    const { config } = settingsFor(process.env, values['config'])
    const plan = await loadPlan(config, catalog, process.env).catch(throwConfigErrors)
    const host = typeof values['host'] === 'string' ? values['host'].toLowerCase() : undefined
    const { document, omitted } = describe(plan, host)
    process.stdout.write(values['yaml'] === true ? printYaml(document) : printJson(document))
    for (const message of omitted) process.stderr.write(`warning: ${message}\n`)
    return 0
  }
}

/** Describes a gateway; files that the config names are read only here, and may be malformed. */
function describe(plan: Plan, host: string | undefined): GatewayDescription {
  try {
    return describeGateway(plan, host)
  } catch (error) {
    throw new CommandError(
      `The gateway can't be described: ${error instanceof Error ? error.message.split('\n', 1)[0] : String(error)}`
    )
  }
}
