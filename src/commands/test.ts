import { ConfigError, type Fault } from '../config/fault.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { Coverage } from '../test-runner/coverage.ts'
import { coverageLines, eventsOf } from '../test-runner/events.ts'
import { testsBeside } from '../test-runner/file-names.ts'
import { REPORTERS, type ReporterName, report } from '../test-runner/reporters.ts'
import { type PreparedTests, prepareTests, runTests } from '../test-runner/run-file.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { loadEnvFiles } from './env-files.ts'
import { throwBuildError, throwConfigErrors, UsageError } from './outcome.ts'
import { reportFiles, rerunOnChanges } from './rerun.ts'

const EXIT_FAILED = 3
// A run names this many gaps of its coverage, and counts the others.
const MAX_GAPS = 20

export const command: Command = {
  summary: 'runs the tests of a config: requests, and what has to become of them',
  usage: `sallyport test [FILE...] [-c FILE] [--reporter ${REPORTERS.join('|')}] [--min-coverage PERCENT] [--watch]`,
  options: {
    config: { ...CONFIG_OPTION, about: 'the config to test; by default the one that each file names' },
    reporter: { type: 'string', value: REPORTERS, default: 'spec', about: 'the format of the results' },
    'min-coverage': {
      type: 'string',
      value: 'PERCENT',
      about: 'exits with 3 if less of the routes and gates is covered'
    },
    watch: { type: 'boolean', short: 'w', about: 'runs again whenever a file has changed' }
  },
  positionals: [],
  variadic: 'FILE',
  async run({ positionals, values }) {
    const reporter = reporterIn(values['reporter'])
    const minCoverage = percentIn(values['min-coverage'])
    const config = values['config'] === undefined ? undefined : String(values['config'])
    const files = positionals.length > 0 ? positionals : findTests(config)
    if (values['watch'] === true) return rerunOnChanges()
    const prepared = await prepareAll(files, config)
    return runAll(prepared, reporter, minCoverage)
  }
}

function reporterIn(value: unknown): ReporterName {
  const found = REPORTERS.find((name) => name === value)
  if (found === undefined)
    throw new UsageError(`--reporter: expected ${REPORTERS.join(', ')}, got "${String(value)}"`)
  return found
}

function percentIn(value: unknown): number {
  if (value === undefined) return 0
  const percent = /^\d{1,3}(?:\.\d+)?%?$/.test(String(value)) ? Number.parseFloat(String(value)) : Number.NaN
  if (!(percent <= 100))
    throw new UsageError(`--min-coverage: expected a number from 0 to 100, got "${String(value)}"`)
  return percent
}

/** Returns the files of tests beside the config; throws a UsageError if there are none. */
function findTests(config: string | undefined): string[] {
  const file = loadEnvFiles(process.env, config)
  const found = testsBeside(file)
  if (found.length > 0) return found
  throw new UsageError(
    `There are no tests beside ${file}; name their file: sallyport test FILE. "sallyport init" writes a gateway.test.json in a new folder`
  )
}

/** Reads all files and their configs; throws a CommandError with the errors of all. */
async function prepareAll(files: readonly string[], config: string | undefined): Promise<PreparedTests[]> {
  const prepared: PreparedTests[] = []
  const faults: Fault[] = []
  for (const file of files)
    try {
      prepared.push(await prepareTests(file, config, variablesBeside))
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      faults.push(...error.faults)
    }
  reportFiles([...files, ...faults.map(({ file }) => file), ...prepared.flatMap(({ plan }) => plan.files)])
  if (faults.length > 0) throwConfigErrors(new ConfigError(faults))
  return prepared
}

/** Returns the variables of the process and of the .env files for a config. */
function variablesBeside(config: string): NodeJS.ProcessEnv {
  const env = { ...process.env }
  loadEnvFiles(env, config)
  return env
}

/** Runs all tests and prints the results; returns the exit code. */
async function runAll(
  prepared: readonly PreparedTests[],
  reporter: ReporterName,
  minCoverage: number
): Promise<number> {
  // Several files may test one config.
  const coverages = new Map<string, Coverage>()
  const files = prepared.map((tests) => ({
    file: tests.source.file,
    results: runTests(
      tests,
      getOrCreate(coverages, tests.plan.file, () => new Coverage(tests.plan))
    )
  }))
  let exitCode = 0
  const events = eventsOf(files, ({ tests, failed }) => {
    const lines = [`tests ${tests}`, `failed ${failed}`]
    if (failed > 0) exitCode = EXIT_FAILED
    for (const [config, coverage] of coverages) {
      const covered = coverage.report()
      const [first = '', ...gaps] = coverageLines(covered, MAX_GAPS)
      lines.push(coverages.size === 1 ? first : `${config}: ${first}`, ...gaps)
      if (covered.percent >= minCoverage) continue
      exitCode = EXIT_FAILED
      lines.push(
        `coverage is below --min-coverage: expected ${minCoverage} %, got ${covered.percent.toFixed(1)} %`
      )
    }
    return lines
  })
  await report(events, reporter, process.stdout).catch(throwBuildError)
  return exitCode
}
