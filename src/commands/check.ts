import { pino } from 'pino'
import { adminWarnings } from '../admin/audit.ts'
import { ConfigError, type Fault, showFault } from '../config/fault.ts'
import type { CheckedWarning } from '../config/finding.ts'
import { type LintResult, lint } from '../config/lint.ts'
import { loadPlan } from '../config/load.ts'
import { buildGateway } from '../gateway/build.ts'
import { catalog } from '../gateway/catalog.ts'
import { Resources } from '../gateway/resources.ts'
import { descriptorLimit } from '../lib/descriptors.ts'
import type { Settings } from '../process/settings.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { throwBuildError, throwConfigErrors, UsageError } from './outcome.ts'
import { JSON_OPTION, printJson } from './print-json.ts'
import { type SarifFindings, sarifLog } from './sarif.ts'
import { settingsFor } from './settings.ts'

export const command: Command = {
  summary: 'checks a config and shows every route with its gates',
  usage: 'sallyport check [-c FILE] [--strict] [--json|--sarif]',
  options: {
    config: CONFIG_OPTION,
    strict: { type: 'boolean', about: 'exits with 1 if there are warnings that the config does not accept' },
    json: JSON_OPTION,
    sarif: { type: 'boolean', about: 'prints SARIF, for code scanning' }
  },
  positionals: [],
  async run({ values, version }) {
    const settings = settingsFor(process.env, values['config'])
    const { config } = settings
    const format = formatOf(values)
    try {
      const checked = await checkConfig(settings)
      if (format === 'json') printJson({ config, valid: true, ...jsonOf(checked) })
      else if (format === 'sarif') printSarif({ version, errors: [], ...checked })
      else process.stdout.write(`${linesOf(config, checked).join('\n')}\n`)
      return checked.warnings.length > 0 && values['strict'] === true ? 1 : 0
    } catch (error) {
      if (format === 'text' || !(error instanceof ConfigError)) throwConfigErrors(error)
      const { faults } = error
      if (format === 'json') printJson({ config, valid: false, errors: faults.map(faultFields) })
      else printSarif({ version, errors: faults, warnings: [], accepted: [] })
      return 1
    }
  }
}

function formatOf(values: Readonly<Record<string, unknown>>): 'text' | 'json' | 'sarif' {
  const isSarif = values['sarif'] === true
  if (isSarif && values['json'] === true)
    throw new UsageError(`expected --json or --sarif, got both; usage: ${command.usage}`)
  return isSarif ? 'sarif' : values['json'] === true ? 'json' : 'text'
}

const printSarif = (findings: SarifFindings): void =>
  void process.stdout.write(`${JSON.stringify(sarifLog(findings), null, 2)}\n`)

/** What there is to know of a valid config. */
interface Checked extends LintResult {
  /** The number of routes that the config has itself. */
  readonly ownRoutes: number
  readonly descriptors: number | undefined
}

/** Builds the gateway as it would run, without a socket, so that the output shows what is there; rejects with a ConfigError. */
async function checkConfig(settings: Settings): Promise<Checked> {
  const { config, workers } = settings
  const plan = await loadPlan(config, catalog, process.env)
  const app = await buildGateway(plan, new Resources(), pino({ level: 'silent' })).catch((error: unknown) => {
    if (error instanceof ConfigError) throw error
    throwBuildError(error)
  })
  const pairs = app.ambiguousPairs()
  const descriptors = descriptorLimit()
  const result = lint(plan, app.routeInfos, {
    workers,
    pairs,
    descriptors,
    ofProcess: adminWarnings(settings)
  })
  await app.close()
  return { ...result, descriptors, ownRoutes: plan.routes.length }
}

const jsonOf = ({ routes, notes, warnings, accepted, descriptors }: Checked): object => ({
  routes: routes.map(({ what, gates, target }) => ({ route: what, gates, target })),
  warnings: warnings.map(warningFields),
  accepted: accepted.map((warning) => ({ ...warningFields(warning), reason: warning.reason })),
  notes: notes.map(faultFields),
  descriptors
})

/** Returns the fields of an error or a warning that docs/commands.md describes. */
const faultFields = ({ file, line, column, path, message }: Fault): object => ({
  file,
  line,
  column,
  path,
  message
})

const warningFields = (warning: CheckedWarning): object => ({
  code: warning.code,
  severity: warning.severity,
  ...faultFields(warning),
  places: warning.places.map(({ file, line, column }) => ({ file, line, column }))
})

function linesOf(config: string, checked: Checked): string[] {
  const { ownRoutes, warnings, accepted } = checked
  const counts = [
    counted(ownRoutes, 'route'),
    ...(warnings.length === 0 ? [] : [counted(warnings.length, 'warning')]),
    ...(accepted.length === 0 ? [] : [`${counted(accepted.length, 'warning')} accepted`])
  ]
  return [...routeLines(checked), ...noteLines(checked), `${config} is valid: ${counts.join(', ')}`]
}

function routeLines({ routes }: LintResult): string[] {
  const width = Math.max(0, ...routes.map(({ what }) => what.length))
  return routes.map(({ what, gates, target }) => `${what.padEnd(width)}  ${[...gates, target].join(' > ')}`)
}

function noteLines({ notes, warnings, descriptors }: Checked): string[] {
  const lines = [
    ...notes.map((note) => `note: ${showFault(note)}`),
    ...warnings.map((warning) => `warning: ${showFault(warning)} [${warning.code}, ${warning.severity}]`)
  ]
  if (descriptors !== undefined)
    lines.push(`note: each process may open ${descriptors} file descriptors (ulimit -n)`)
  return lines
}

const counted = (count: number, noun: string): string => (count === 1 ? `one ${noun}` : `${count} ${noun}s`)
