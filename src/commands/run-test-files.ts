import { ConfigError, type Fault } from '../config/fault.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { Coverage } from '../test-runner/coverage.ts'
import { coverageLines, eventsOf } from '../test-runner/events.ts'
import { type ReporterName, report } from '../test-runner/reporters.ts'
import { type PreparedTests, prepareTests, runTests } from '../test-runner/run-file.ts'
import { envFilesFor, loadEnvFiles } from './env-files.ts'
import { throwBuildError, throwConfigErrors } from './outcome.ts'

const EXIT_FAILED = 3
// A run names this many gaps of its coverage, and counts the others.
const MAX_GAPS = 20

/** What `sallyport test` runs, and how it reports. */
export interface TestRun {
  readonly files: readonly string[]
  /** The config to test; undefined for the one that each file names. */
  readonly config: string | undefined
  readonly reporter: ReporterName
  /** In percent. */
  readonly minCoverage: number
  readonly output: NodeJS.WritableStream
  /** Called with the files that are read. */
  readonly onFiles: (files: readonly string[]) => void
}

/** Runs files of tests, prints the results and returns the exit code; throws a CommandError with the errors of all files and configs. */
export async function runTestFiles(run: TestRun): Promise<number> {
  run.onFiles(run.files)
  return runAll(await prepareAll(run), run)
}

async function prepareAll({ files, config, onFiles }: TestRun): Promise<PreparedTests[]> {
  const prepared: PreparedTests[] = []
  const faults: Fault[] = []
  for (const file of files)
    try {
      const tests = await prepareTests(file, config, (tested) => {
        onFiles([tested, ...envFilesFor(tested)])
        return variablesBeside(tested)
      })
      onFiles(tests.files)
      prepared.push(tests)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      onFiles([...error.files, ...error.faults.map((fault) => fault.file)])
      faults.push(...error.faults)
    }
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
  { reporter, minCoverage, output }: TestRun
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
  await report(events, reporter, output).catch(throwBuildError)
  return exitCode
}
