import { loadExtensions } from '../config/extensions.ts'
import { ConfigError, type Fault } from '../config/fault.ts'
import { readSource } from '../config/read-source.ts'
import { composeSchema } from '../config/schema.ts'
import { catalog } from '../gateway/catalog.ts'
import type { Command } from '../main.ts'
import { orFaults } from './outcome.ts'

export const command: Command = {
  summary: 'prints the JSON Schema of the config; with -c, the words of its extensions included',
  usage: 'sallyport schema [-c FILE]',
  options: { config: { type: 'string', short: 'c' } },
  words: 0,
  async run({ values }) {
    const file = values['config']
    const whole = typeof file === 'string' ? await extended(file).catch(orFaults) : catalog
    process.stdout.write(`${JSON.stringify(composeSchema(whole), null, 2)}\n`)
    return 0
  }
}

async function extended(file: string): Promise<typeof catalog> {
  const faults: Fault[] = []
  const whole = await loadExtensions(catalog, await readSource(file), faults)
  if (faults.length > 0) throw new ConfigError(faults)
  return whole
}
