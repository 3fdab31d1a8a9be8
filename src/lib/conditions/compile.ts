import type { IncomingMessage } from 'node:http'
import { matchesGlob } from '../glob.ts'
import { readAddresses } from '../http/address-lists.ts'
import { type ClientTrust, clientAddress, clientScheme } from '../http/addresses.ts'
import { cookiesIn } from '../http/cookies.ts'
import { cgiName, isForwardedHeader, requestHeader } from '../http/headers.ts'
import { rangeMatcher } from '../http/networks.ts'
import type { Condition } from './options.ts'

/** What conditions look at. */
export interface ConditionInput {
  readonly raw: IncomingMessage
  /** The canonical path. */
  readonly path: string
  /** The query without its question mark. */
  readonly query: string
  /** Whose X-Forwarded-* headers are trusted, and how clients are named. */
  readonly trust: ClientTrust
}

export type HoldsFor = (input: ConditionInput) => boolean

/** Compiles a set of conditions into a test of whether all of them hold. */
export function compileConditions(set: readonly Condition[]): HoldsFor {
  const tests = set.map(compileCondition)
  const [first, second] = tests
  if (first !== undefined && second === undefined) return first
  return (input) => tests.every((holds) => holds(input))
}

function compileCondition({ kind, name, accepts }: Condition): HoldsFor {
  if (kind === 'client.ip') {
    const includes = rangeMatcher(typeof accepts === 'boolean' ? [] : readAddresses(accepts))
    return ({ raw, trust }) => includes(clientAddress(raw, trust))
  }
  const matches = compileValues(accepts)
  if (kind === 'scheme') return ({ raw, trust }) => matches(clientScheme(raw, trust.trusts))
  if (kind === 'path') return ({ path }) => matches(path)
  const isAnyAccepted = accepts === false ? noneOf : someOf(matches)
  if (kind === 'cookie') return ({ raw }) => isAnyAccepted(cookiesIn(raw.headers.cookie, name))
  if (kind === 'query') return ({ query }) => isAnyAccepted(queryValues(query, name))
  const isForwarded = isForwardedHeader(cgiName(name))
  return ({ raw, trust }) =>
    isAnyAccepted(
      isForwarded && !trust.trusts(raw.socket.remoteAddress ?? '')
        ? []
        : headerValues(requestHeader({ headers: raw.headers, raw }, name))
    )
}

const noneOf = (values: readonly string[]): boolean => values.length === 0

const someOf =
  (matches: (value: string) => boolean) =>
  (values: readonly string[]): boolean =>
    values.some(matches)

function compileValues(accepts: boolean | readonly string[]): (value: string) => boolean {
  if (typeof accepts === 'boolean') return () => accepts
  const exact = new Set(accepts.filter((text) => !text.includes('*')))
  const globs = accepts.filter((text) => text.includes('*'))
  return (value) => exact.has(value) || globs.some((glob) => matchesGlob(glob, value))
}

/** Returns the value of a header, and where it is a list, its members (RFC 9110 section 5.3). */
function headerValues(text: string | undefined): readonly string[] {
  if (text === undefined) return []
  return text.includes(',') ? [text, ...text.split(',').map((member) => member.trim())] : [text]
}

function queryValues(query: string, name: string): readonly string[] {
  return query === '' ? [] : new URLSearchParams(query).getAll(name)
}
