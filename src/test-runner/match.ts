import type { Path } from '../config/fault.ts'
import type { UpstreamCall } from '../lib/contracts/simulation.ts'
import type { Expectation, ExpectedCall } from './expectation-schema.ts'
import { bodyMismatches } from './match-body.ts'
import { callMismatches } from './match-call.ts'
import { headerMismatches } from './match-headers.ts'
import { quoted } from './match-text.ts'
import type { Outcome } from './outcome.ts'

/** One thing that is not as expected. */
export interface Mismatch {
  /** Where in the expectation it stands. */
  readonly path: Path
  readonly message: string
}

/** Compares what became of a request with what was expected; returns each mismatch in words. */
export const matchExpectation = (expect: Expectation, outcome: Outcome): string[] =>
  mismatchesOf(expect, outcome).map(({ message }) => message)

/** Compares what became of a request with what was expected. */
export function mismatchesOf(expect: Expectation, outcome: Outcome): Mismatch[] {
  const { status, headers, body, upstream, upstreams, attempts } = expect
  const found: Mismatch[] = []
  const add = (path: Path, message: string): void => void found.push({ path, message })
  if (status !== undefined && status !== outcome.status)
    add(['status'], `expected status ${status}, got ${statusText(outcome)}`)
  for (const name of ['code', 'refusedBy', 'limit', 'route'] as const)
    if (expect[name] !== undefined && expect[name] !== outcome[name])
      add([name], `expected ${name} ${quoted(expect[name])}, got ${quoted(outcome[name])}`)
  if (headers !== undefined) found.push(...within('headers', headerMismatches(headers, outcome.headers)))
  if (body !== undefined) found.push(...within('body', bodyMismatches(body, outcome.body)))
  if (attempts !== undefined && attempts !== outcome.attempts.length)
    add(['attempts'], `expected ${counted(attempts, 'attempt')}, got ${outcome.attempts.length}`)
  if (upstream !== undefined)
    found.push(...within('upstream', callMismatches(upstream, outcome.attempts.at(-1), 'upstream')))
  for (const [name, calls] of Object.entries(upstreams ?? {}))
    found.push(...within('upstreams', within(name, callsMismatches(name, calls, outcome.upstreams))))
  return found
}

const within = (key: string | number, mismatches: readonly Mismatch[]): Mismatch[] =>
  mismatches.map(({ path, message }) => ({ path: [key, ...path], message }))

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** Returns the status, and where an unexpected one comes from. */
function statusText({ status, code, route, attempts }: Outcome): string {
  if (status === undefined) return 'a closed connection'
  const call = attempts.at(-1)
  const about = [
    ...(code === null ? [] : [code]),
    route === null ? 'no route' : `route "${route}"`,
    ...(call === undefined ? [] : [`upstream request ${call.method} ${call.path}`])
  ]
  return `${status} (${about.join(', ')})`
}

/** Compares the requests that one upstream got. */
function callsMismatches(
  name: string,
  expected: ExpectedCall | readonly ExpectedCall[] | null,
  calls: readonly UpstreamCall[]
): Mismatch[] {
  const own = calls.filter(({ upstream }) => upstream === name)
  const who = `upstream "${name}"`
  if (!isList(expected)) return callMismatches(expected, own.at(-1), who)
  if (expected.length !== own.length)
    return [
      { path: [], message: `${who}: expected ${counted(expected.length, 'request')}, got ${own.length}` }
    ]
  return expected.flatMap((each, i) => within(i, callMismatches(each, own[i], who)))
}

const isList = (
  expected: ExpectedCall | readonly ExpectedCall[] | null
): expected is readonly ExpectedCall[] => Array.isArray(expected)
