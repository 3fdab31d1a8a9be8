import { loadExtensions } from '../config/extensions.ts'
import { ConfigError, type Fault } from '../config/fault.ts'
import { readSource } from '../config/read-source.ts'
import { composeSchema, composeStandardSchema } from '../config/schema.ts'
import { catalog } from '../gateway/catalog.ts'
import { composeTestSchema } from '../test-runner/published-schema.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { loadEnvFiles } from './env-files.ts'
import { throwConfigErrors } from './outcome.ts'

export const command: Command = {
  summary:
    'prints the JSON Schema of the config; with -c, with the options of its extensions; with --standard, without what only editors know; with --tests, that of gateway.test.json',
  usage: 'sallyport schema [-c FILE] [--standard] [--tests]',
  options: {
    config: { ...CONFIG_OPTION, about: 'a config; the options of its extensions are included' },
    standard: { type: 'boolean', about: 'leaves out what only editors know' },
    tests: { type: 'boolean', about: 'prints the schema of gateway.test.json' }
  },
  positionals: [],
  async run({ values }) {
    if (values['tests'] === true) return printSchema(composeTestSchema())
    const extended =
      typeof values['config'] === 'string'
        ? await catalogWithExtensions(loadEnvFiles(process.env, values['config'])).catch(throwConfigErrors)
        : catalog
    const compose = values['standard'] === true ? composeStandardSchema : composeSchema
    return printSchema(compose(extended))
  }
}

function printSchema(schema: object): number {
  process.stdout.write(`${JSON.stringify(schema, null, 2)}\n`)
  return 0
}

async function catalogWithExtensions(file: string): Promise<typeof catalog> {
  const faults: Fault[] = []
  const extended = await loadExtensions(catalog, await readSource(file), faults)
  if (faults.length > 0) throw new ConfigError(faults)
  return extended
}
