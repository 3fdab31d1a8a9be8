import type { Caller } from '../../src/lib/caller.ts'
import { type AuthOptions, definedStrategies, STRATEGIES, type StrategyName } from './options.ts'

/** Strategies that accept a request together; the last one sets the caller. */
export type Alternative = readonly StrategyName[]

/** Reads one entry of `by`, such as "jwt" or "apiKeys+jwt". */
export const readAlternative = (written: string): Alternative => written.split('+') as StrategyName[]

/** Lists the alternatives of some options in the order in which they are preferred: those of several strategies, then the others in the order of the strategies. */
export function alternativesOf(options: AuthOptions): Alternative[] {
  const { by } = options
  if (by === undefined) return definedStrategies(options).map((name) => [name])
  const alternatives = by.map(readAlternative)
  const singles = STRATEGIES.filter((name) => by.includes(name)).map((name) => [name])
  return [...alternatives.filter(({ length }) => length > 1), ...singles]
}

/** Lists the strategies that are accepted, alone or beside others, in the order in which a request tries them. */
export function acceptedStrategies(options: AuthOptions): StrategyName[] {
  const accepted = new Set(alternativesOf(options).flat())
  return STRATEGIES.filter((name) => accepted.has(name))
}

/** The callers that the strategies have found so far, in the order of the strategies. */
export type Callers = readonly Caller[]

const hasFound = (callers: Callers, name: string): boolean => callers.some(({ by }) => by === name)

/** Returns the caller of the first alternative whose strategies have all succeeded; null for none. */
export function callerOfAlternative(alternatives: readonly Alternative[], callers: Callers): Caller | null {
  if (callers.length === 0) return null
  const found = alternatives.find((names) => names.every((name) => hasFound(callers, name)))
  return callers.find(({ by }) => by === found?.at(-1)) ?? null
}

/** Returns whether a strategy would complete an alternative, where no other one is complete. */
export const isNeeded = (alternatives: readonly Alternative[], callers: Callers, strategy: string): boolean =>
  callerOfAlternative(alternatives, callers) === null &&
  alternatives.some((names) => names.every((name) => name === strategy || hasFound(callers, name)))

/** What the credentials of a request have shown when it is refused. */
export interface Shown {
  readonly callers: Callers
  /** The strategy whose credential is wrong; undefined for none. */
  readonly wrong: string | undefined
}

/** Builds the `WWW-Authenticate` of a 401: for each alternative the scheme of the wrong credential, else the first that is missing. */
export function challengeOf(
  alternatives: readonly Alternative[],
  schemes: ReadonlyMap<string, string>,
  { callers, wrong }: Shown
): Readonly<Record<string, string>> {
  const asked = new Set(
    alternatives.flatMap(
      (names) =>
        names.find((name) => name === wrong) ??
        names.find((name) => schemes.has(name) && !hasFound(callers, name)) ??
        names.find((name) => schemes.has(name)) ??
        []
    )
  )
  const named = STRATEGIES.filter((name) => asked.has(name)).flatMap((name) => schemes.get(name) ?? [])
  return named.length === 0 ? {} : { 'www-authenticate': named.join(', ') }
}
