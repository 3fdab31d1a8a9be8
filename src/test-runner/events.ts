import { inspect } from 'node:util'
import { type Place, showPlace } from '../config/fault.ts'
import type { CoverageReport } from './coverage.ts'
import type { TestResult } from './run-file.ts'

/** An event of the test runner of Node.js, as far as its reporters read it. */
export interface ReporterEvent {
  readonly type: 'test:start' | 'test:pass' | 'test:fail' | 'test:plan' | 'test:diagnostic'
  readonly data: object
}

/** The results of one file. */
export interface FileResults {
  readonly file: string
  readonly results: AsyncIterable<TestResult> | Iterable<TestResult>
}

/** How many tests there were, and how many of them failed. */
export interface Totals {
  readonly tests: number
  readonly failed: number
}

/** Turns results into events: a suite for each file, with its tests, and at the end what `summary` says. */
export async function* eventsOf(
  files: Iterable<FileResults>,
  summary: (totals: Totals) => readonly string[]
): AsyncGenerator<ReporterEvent> {
  let suites = 0
  let tests = 0
  let failed = 0
  for (const { file, results } of files) {
    const place = { file, line: 1, column: 1 }
    yield start(file, 0, place)
    let count = 0
    let ms = 0
    let failedHere = 0
    for await (const result of results) {
      yield start(result.name, 1, result.place)
      yield resultEvent(result, ++count)
      ms += result.ms
      if (result.failures.length > 0) failedHere++
    }
    yield { type: 'test:plan', data: { nesting: 1, count } }
    const error = failedHere === 0 ? undefined : new SubtestsFailed(failedHere)
    yield end({ name: file, nesting: 0, testNumber: ++suites, place, type: 'suite', ms, error })
    tests += count
    failed += failedHere
  }
  yield { type: 'test:plan', data: { nesting: 0, count: suites } }
  for (const message of summary({ tests, failed }))
    yield { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } }
}

/** Returns what a run says of its coverage; the first `max` gaps are named. */
export function coverageLines({ routes, gates, percent, gaps }: CoverageReport, max: number): string[] {
  const lines = [
    `coverage: ${percent.toFixed(0)} % (${routes.covered} of ${routes.of} routes answered, ${gates.covered} of ${gates.of} gates both passed and refused)`,
    ...gaps.slice(0, max).map((gap) => `not covered: ${gap}`)
  ]
  return gaps.length > max ? [...lines, `not covered: ${gaps.length - max} more`] : lines
}

const start = (name: string, nesting: number, place: Place): ReporterEvent => ({
  type: 'test:start',
  data: { name: printable(name), nesting, ...place }
})

function resultEvent({ name, place, ms, failures }: TestResult, testNumber: number): ReporterEvent {
  const lines = failures.map((failure) => `${showPlace(failure.place)} ${printable(failure.message)}`)
  const error = lines.length === 0 ? undefined : new TestFailed(lines.join('\n'))
  return end({ name, nesting: 1, testNumber, place, type: 'test', ms, error })
}

interface Ended {
  readonly name: string
  readonly nesting: number
  readonly testNumber: number
  readonly place: Place
  readonly type: 'suite' | 'test'
  readonly ms: number
  readonly error: Error | undefined
}

const end = ({ name, nesting, testNumber, place, type, ms, error }: Ended): ReporterEvent => ({
  type: error === undefined ? 'test:pass' : 'test:fail',
  data: {
    name: printable(name),
    nesting,
    testNumber,
    ...place,
    details: { duration_ms: Math.round(ms * 1000) / 1000, type, ...(error === undefined ? {} : { error }) }
  }
})

/** The error of a test; it has no stack, which would be that of the test runner. */
class TestFailed extends Error {
  readonly code = 'ERR_TEST_FAILURE'
  readonly failureType: string = 'testCodeFailure'
  override readonly cause: unknown

  constructor(message: string) {
    super(message.split('\n', 1)[0])
    this.stack = ''
    this.cause = { message, stack: '', [inspect.custom]: () => message }
  }

  [inspect.custom](): string {
    return (this.cause as Error).message
  }
}

class SubtestsFailed extends TestFailed {
  override readonly failureType = 'subtestsFailed'

  constructor(count: number) {
    super(count === 1 ? '1 test failed' : `${count} tests failed`)
  }
}

/** Escapes control characters, which would reach the terminal and are no XML. */
const printable = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\ufffe\uffff]/gu, (char) =>
      char === '\n' ? ' ' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
    )
