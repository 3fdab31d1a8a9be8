import { loadPlan } from '../config/load.ts'
import { catalog } from '../gateway/catalog.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { throwConfigErrors } from './outcome.ts'
import { serveGateway } from './serve-gateway.ts'
import { settingsFor } from './settings.ts'

export const command: Command = {
  summary: 'runs the gateway; SIGHUP or --watch reloads its config',
  usage: 'sallyport [run] [-c FILE] [--watch]',
  options: {
    config: CONFIG_OPTION,
    watch: { type: 'boolean', short: 'w', about: 'reloads when a file that the config names has changed' }
  },
  positionals: [],
  serves: true,
  async run({ values, version }) {
    const settings = settingsFor(process.env, values['config'])
    return serveGateway({
      settings,
      version,
      readPlan: () => loadPlan(settings.config, catalog, process.env),
      onConfigError: throwConfigErrors,
      watchesAll: values['watch'] === true
    })
  }
}
