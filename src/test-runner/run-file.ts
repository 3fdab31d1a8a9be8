import { resolve } from 'node:path'
import { ConfigError, type Place } from '../config/fault.ts'
import { findConfig } from '../config/find-config.ts'
import type { Environment } from '../config/plan-draft.ts'
import type { Plan } from '../config/plan-types.ts'
import { SimulatedClock } from '../simulation/clock.ts'
import { unknownUpstreams } from './check-upstreams.ts'
import type { Coverage } from './coverage.ts'
import { configBeside } from './file-names.ts'
import { loadTestedConfigs, type NamedConfig } from './load-config.ts'
import { type ReadTests, readTests } from './read-file.ts'
import { type Failure, namesOf, runTest } from './run-test.ts'
import type { TestFile } from './schema.ts'
import { TestedGateway } from './tested-gateway.ts'

/** A file of tests with its config, ready to run. */
export interface PreparedTests extends ReadTests {
  readonly plan: Plan
  readonly env: Environment
  /** The files of the config, of those to reload, and those that they read. */
  readonly files: readonly string[]
  /** The date at which tests begin, in milliseconds since 1970. */
  readonly begins: number
}

/** What became of one test. */
export interface TestResult {
  readonly name: string
  readonly place: Place
  readonly ms: number
  readonly failures: readonly Failure[]
}

const DEFAULT_DATE = '2026-01-01T00:00:00Z'

/** Reads a file of tests and its config, that of `config` or the one that the file names; throws a ConfigError with all errors. */
export async function prepareTests(
  file: string,
  config: string | undefined,
  environmentOf: (config: string) => Environment
): Promise<PreparedTests> {
  const { source, content } = await readTests(file)
  const named = content.config === undefined ? undefined : resolve(source.folder, content.config)
  const path = config ?? named ?? configBeside(file) ?? resolve(source.folder, findConfig(source.folder))
  const env = { ...environmentOf(path), ...content.env }
  const begins = Date.parse(content.clock ?? DEFAULT_DATE)
  // Certificates and keys are checked at the date of the tests.
  const clock = new SimulatedClock(begins)
  try {
    const tested = { path, at: path === named ? ['config'] : undefined }
    const { plans, files } = await loadTestedConfigs(
      source,
      [tested, ...reloadsIn(content, source.folder)],
      env
    )
    const faults = unknownUpstreams(source, content, plans)
    if (faults.length > 0) throw new ConfigError(faults, { files })
    return { source, content, env, begins, plan: plans[0], files }
  } finally {
    clock.close()
  }
}

/** Returns the configs that steps reload. */
const reloadsIn = ({ tests }: TestFile, folder: string): NamedConfig[] =>
  tests.flatMap(({ steps = [] }, i) =>
    steps.flatMap(({ reload }, j) =>
      reload === undefined ? [] : [{ path: resolve(folder, reload), at: ['tests', i, 'steps', j, 'reload'] }]
    )
  )

/** Runs the tests of a file in turn. */
export async function* runTests(prepared: PreparedTests, coverage: Coverage): AsyncGenerator<TestResult> {
  const { source, content } = prepared
  const context = { ...prepared, coverage }
  const names = namesOf(content.tests)
  let gateway: TestedGateway | undefined
  try {
    // Without a test, none of its routes is covered.
    if (content.tests.length === 0) gateway = await TestedGateway.open(context)
    for (const [i, test] of content.tests.entries()) {
      const startedAt = performance.now()
      gateway ??= await TestedGateway.open(context)
      const failures = await runTest(gateway, test, i)
      if (!gateway.end()) {
        const used = gateway
        gateway = undefined
        await used.close()
      }
      const ms = performance.now() - startedAt
      yield { name: names[i] ?? '', place: source.at(['tests', i]), ms, failures }
    }
  } finally {
    await gateway?.close()
  }
}
