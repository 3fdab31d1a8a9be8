import { testsBeside } from '../test-runner/file-names.ts'
import { REPORTERS, type ReporterName } from '../test-runner/reporters.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { loadEnvFiles } from './env-files.ts'
import { UsageError } from './outcome.ts'
import { isWatchedRun, reportFiles, rerunThisCommand } from './rerun.ts'
import { runTestFiles } from './run-test-files.ts'

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
    if (values['watch'] === true && !isWatchedRun()) return rerunThisCommand()
    return runTestFiles({
      files,
      config,
      reporter,
      minCoverage,
      output: process.stdout,
      onFiles: reportFiles
    })
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
  // In a copy: a run after a change reads the files anew.
  const file = loadEnvFiles({ ...process.env }, config)
  const found = testsBeside(file)
  if (found.length > 0) return found
  throw new UsageError(
    `There are no tests beside ${file}; name their file: sallyport test FILE. "sallyport init" writes a gateway.test.json in a new folder`
  )
}
