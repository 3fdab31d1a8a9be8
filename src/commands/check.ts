import { pino } from 'pino'
import { showFault } from '../config/fault.ts'
import { lint } from '../config/lint.ts'
import { loadPlan } from '../config/load.ts'
import { buildGateway } from '../gateway/build.ts'
import { catalog } from '../gateway/catalog.ts'
import { Resources } from '../gateway/resources.ts'
import { descriptorLimit } from '../lib/descriptors.ts'
import type { Command } from '../main.ts'
import { orBroken, orFaults } from './outcome.ts'
import { settingsOf } from './run.ts'

export const command: Command = {
  summary: 'checks a config and shows every route with its gates',
  usage: 'sallyport check [-c FILE] [--strict]',
  options: { config: { type: 'string', short: 'c' }, strict: { type: 'boolean' } },
  words: 0,
  async run({ values }) {
    const { config, workers } = settingsOf(process.env, values['config'])
    const plan = await loadPlan(config, catalog, process.env).catch(orFaults)
    // Built as it would run, without a socket: what is shown is what is there.
    const app = await buildGateway(plan, new Resources(), pino({ level: 'silent' })).catch(orBroken)
    const descriptors = descriptorLimit()
    const pairs = await app.ambiguousPairs()
    const { routes, notes, warnings } = lint(plan, app.routeInfos, { workers, pairs, descriptors })
    await app.close()
    const width = Math.max(0, ...routes.map(({ what }) => what.length))
    const lines = routes.map(
      ({ what, gates, target }) => `${what.padEnd(width)}  ${[...gates, target].join(' > ')}`
    )
    for (const note of notes) lines.push(`note: ${showFault(note)}`)
    for (const warning of warnings) lines.push(`warning: ${showFault(warning)}`)
    if (descriptors !== undefined)
      lines.push(`note: a process has ${descriptors} file descriptors here (ulimit -n)`)
    const count = plan.routes.length
    lines.push(
      `${config} is sound: ${count === 1 ? 'one route' : `${count} routes`}${warnings.length === 0 ? '' : `, ${warnings.length === 1 ? 'one warning' : `${warnings.length} warnings`}`}`
    )
    process.stdout.write(`${lines.join('\n')}\n`)
    return warnings.length > 0 && values['strict'] === true ? 1 : 0
  }
}
