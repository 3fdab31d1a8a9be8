import { pino } from 'pino'
import { showFault } from '../config/fault.ts'
import { type LintResult, lint } from '../config/lint.ts'
import { loadPlan } from '../config/load.ts'
import { buildGateway } from '../gateway/build.ts'
import { catalog } from '../gateway/catalog.ts'
import { Resources } from '../gateway/resources.ts'
import { descriptorLimit } from '../lib/descriptors.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { throwBuildError, throwConfigErrors } from './outcome.ts'
import { settingsFor } from './settings.ts'

export const command: Command = {
  summary: 'checks a config and shows every route with its gates',
  usage: 'sallyport check [-c FILE] [--strict]',
  options: {
    config: CONFIG_OPTION,
    strict: { type: 'boolean', about: 'exits with 1 if there are warnings' }
  },
  positionals: [],
  async run({ values }) {
    const { config, workers } = settingsFor(process.env, values['config'])
    const plan = await loadPlan(config, catalog, process.env).catch(throwConfigErrors)
    // Built as it would run, without a socket, so that the output shows what is there.
    const app = await buildGateway(plan, new Resources(), pino({ level: 'silent' })).catch(throwBuildError)
    const descriptors = descriptorLimit()
    const pairs = app.ambiguousPairs()
    const result = lint(plan, app.routeInfos, { workers, pairs, descriptors })
    await app.close()
    const lines = [...routeLines(result), ...noteLines(result, descriptors)]
    const { length: warnings } = result.warnings
    lines.push(
      `${config} is valid: ${counted(plan.routes.length, 'route')}${warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`}`
    )
    process.stdout.write(`${lines.join('\n')}\n`)
    return warnings > 0 && values['strict'] === true ? 1 : 0
  }
}

function routeLines({ routes }: LintResult): string[] {
  const width = Math.max(0, ...routes.map(({ what }) => what.length))
  return routes.map(({ what, gates, target }) => `${what.padEnd(width)}  ${[...gates, target].join(' > ')}`)
}

function noteLines({ notes, warnings }: LintResult, descriptors: number | undefined): string[] {
  const lines = [
    ...notes.map((note) => `note: ${showFault(note)}`),
    ...warnings.map((warning) => `warning: ${showFault(warning)}`)
  ]
  if (descriptors !== undefined)
    lines.push(`note: each process may open ${descriptors} file descriptors (ulimit -n)`)
  return lines
}

const counted = (count: number, noun: string): string => (count === 1 ? `one ${noun}` : `${count} ${noun}s`)
