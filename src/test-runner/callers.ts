import type { Caller } from '../lib/caller.ts'
import type { WrittenCaller } from './caller-schema.ts'
import type { TestStep } from './schema.ts'

/** The callers of a file of tests, by name. */
export type Callers = Readonly<Record<string, WrittenCaller>>

/** Returns the caller of a name, as a strategy would find it. */
export function callerNamed(callers: Callers, name: string, strategy: string): Caller {
  const { id = name, roles = [], scopes = [], claims = {}, ...rest } = callers[name] ?? {}
  return { id, roles, scopes, claims, by: strategy, ...rest }
}

/** Returns what stands in for the strategies of a request with `as`; undefined without it. */
export function callerFor(
  as: TestStep['as'],
  callers: Callers
): ((strategy: string) => Caller | undefined) | undefined {
  if (as === undefined) return undefined
  if (typeof as === 'string') return (strategy) => callerNamed(callers, as, strategy)
  return (strategy) => {
    const name = Object.hasOwn(as, strategy) ? as[strategy] : undefined
    return name === undefined ? undefined : callerNamed(callers, name, strategy)
  }
}
