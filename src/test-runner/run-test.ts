import type { Path, Place } from '../config/fault.ts'
import { StillWaiting } from '../simulation/clock.ts'
import type { SimulatedOutcome } from '../simulation/simulation.ts'
import { callerFor } from './callers.ts'
import { mismatchesOf } from './match.ts'
import { outcomeOf } from './outcome.ts'
import type { TestRequest } from './request-schema.ts'
import type { TestStep, WrittenTest } from './schema.ts'
import { signRequest } from './sign.ts'
import type { TestedGateway } from './tested-gateway.ts'
import { requestOf, showRequest } from './written-request.ts'

/** One thing that failed. */
export interface Failure {
  readonly message: string
  readonly place: Place
}

// How long a client waits for a response, by the simulated clock.
const CLIENT_TIMEOUT_MS = 3_600_000

/** Returns the names of tests in their order; the second of one name has a "(2)", since a report in JUnit tells tests apart by their names. */
export function namesOf(tests: readonly WrittenTest[]): string[] {
  const names = tests.map(nameOf)
  const taken = new Set(names)
  const seen = new Set<string>()
  return names.map((name) => {
    let unique = name
    for (let i = 2; seen.has(unique) || (unique !== name && taken.has(unique)); i++) unique = `${name} (${i})`
    seen.add(unique)
    return unique
  })
}

/** Returns the name of a test: as written, or else its request. */
function nameOf({ name, request, as, sign, steps }: WrittenTest): string {
  if (name !== undefined) return name
  const first = request ?? steps?.find((step) => step.request !== undefined)?.request
  if (first === undefined) return 'a test without a request'
  const caller = as === undefined ? sign : as
  const who =
    caller === undefined ? '' : ` as ${typeof caller === 'string' ? caller : JSON.stringify(caller)}`
  return `${showRequest(first)}${who}${steps === undefined ? '' : `, ${steps.length} step${steps.length === 1 ? '' : 's'}`}`
}

/** Runs one test on a gateway that is as new; returns what failed. */
export async function runTest(gateway: TestedGateway, test: WrittenTest, index: number): Promise<Failure[]> {
  gateway.begin(test.upstreams)
  if (test.steps === undefined) return runStep(gateway, test, ['tests', index])
  const failures: Failure[] = []
  for (const [i, step] of test.steps.entries())
    for (const { message, place } of await runStep(gateway, step, ['tests', index, 'steps', i]))
      failures.push({ message: `step ${i + 1}: ${message}`, place })
  return failures
}

/** Runs one step; returns what failed. */
async function runStep(gateway: TestedGateway, step: TestStep, path: Path): Promise<Failure[]> {
  const { at } = gateway.context.source
  try {
    if (step.wait !== undefined) await gateway.wait(step.wait)
    if (step.purge !== undefined) await gateway.purge(step.purge)
    if (step.reload !== undefined) await gateway.reload(step.reload)
  } catch (error) {
    return [{ message: error instanceof Error ? error.message : String(error), place: at(path) }]
  }
  if (step.request === undefined) return []
  const times = step.times ?? 1
  for (let i = 1; i <= times; i++) {
    const failures = await sendRequest(gateway, { ...step, request: step.request }, path)
    // Those that follow mostly fail for the same reason.
    if (failures.length > 0)
      return times === 1
        ? failures
        : failures.map(({ message, place }) => ({ message: `request ${i} of ${times}: ${message}`, place }))
  }
  return []
}

const waitsFor = ({ unanswered }: TestedGateway): string =>
  unanswered === undefined
    ? 'the request may promise a body that it does not have'
    : `it waits for ${unanswered}`

/** Sends a request once; returns what was not as expected. */
async function sendRequest(
  gateway: TestedGateway,
  { request, as, sign, expect = {} }: TestStep & { readonly request: TestRequest },
  path: Path
): Promise<Failure[]> {
  const { context, clock } = gateway
  const { source, content } = context
  const { callers = {} } = content
  const written = requestOf(request)
  let outcome: SimulatedOutcome
  try {
    const { issuers } = gateway
    const sent = sign === undefined ? written : await signRequest(written, sign, { callers, issuers })
    const handled = gateway.send({ ...sent, callerFor: callerFor(as, callers) })
    outcome = await clock.whileWaiting(handled, CLIENT_TIMEOUT_MS)
    // A copy for a mirror, or a refresh of the cache, may still be under way.
    await clock.settle()
  } catch (error) {
    const message =
      error instanceof StillWaiting
        ? `expected a response, got none within ${CLIENT_TIMEOUT_MS / 60_000} minutes of the simulated time; ${waitsFor(gateway)}`
        : (error as Error).message
    return [{ message, place: source.at(path) }]
  }
  context.coverage.record(outcome)
  return [
    ...gateway.takeUnlisted().map((message) => ({ message, place: source.at(path) })),
    ...mismatchesOf(expect, outcomeOf(outcome)).map((mismatch) => ({
      message: mismatch.message,
      place: source.at([...path, 'expect', ...mismatch.path])
    }))
  ]
}
