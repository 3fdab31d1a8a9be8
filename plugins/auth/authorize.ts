import type { Caller } from '../../src/lib/caller.ts'
import { claimOf } from '../../src/lib/values.ts'
import { type AuthOptions, STRATEGIES } from './options.ts'

type Requirements = NonNullable<AuthOptions['require']>

/** Compiles `require` into a function that returns the requirement that a caller, or the caller of a strategy that it names, does not meet; undefined if all are met. */
export function compileRequirements(
  require: AuthOptions['require']
): (caller: Caller, callers: readonly Caller[]) => string | undefined {
  if (require === undefined) return () => undefined
  const ofCaller = compileFor(require)
  const ofStrategies = STRATEGIES.flatMap((name) => {
    const required = require[name]
    return required === undefined ? [] : [{ name, missing: compileFor(required) }]
  })
  return (caller, callers) => {
    const missing = ofCaller(caller)
    if (missing !== undefined) return missing
    for (const { name, missing: missingOf } of ofStrategies) {
      const found = callers.find(({ by }) => by === name)
      if (found === undefined) return `a credential of ${name}`
      const lacking = missingOf(found)
      if (lacking !== undefined) return `${lacking}, of ${name}`
    }
    return undefined
  }
}

function compileFor({
  roles,
  scopes = [],
  claims = {}
}: Pick<Requirements, 'roles' | 'scopes' | 'claims'>): (caller: Caller) => string | undefined {
  const patterns = Object.entries(claims).map(([name, value]) => [name, compilePatterns(value)] as const)
  return (caller) => {
    if (roles !== undefined && !roles.some((role) => caller.roles.includes(role)))
      return `one of the roles ${roles.join(', ')}`
    const scope = scopes.find((each) => !caller.scopes.includes(each))
    if (scope !== undefined) return `the scope ${scope}`
    const claim = patterns.find(
      ([name, matches]) =>
        // An unverified address may belong to another person.
        (name === 'email' && caller.claims['email_verified'] === false) ||
        ![claimOf(caller.claims, name)].flat().some((value) => value !== undefined && matches(String(value)))
    )
    return claim === undefined ? undefined : `the claim ${claim[0]}`
  }
}

/** Compiles a pattern, or a list of them of which one has to match. */
function compilePatterns(texts: string | readonly string[]): (value: string) => boolean {
  const patterns = [texts].flat().map(compilePattern)
  return (value) => patterns.some((matches) => matches(value))
}

// In a mail address "*" does not match "@": "a@evil.com@example.com" is not at example.com (GHSA-c5c4-8r6x-56w3).
function compilePattern(text: string): (value: string) => boolean {
  if (!text.includes('*')) return (value) => value === text
  const anything = text.includes('@') ? '[^@]*' : '.*'
  const expression = new RegExp(
    `^${text
      .split('*')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join(anything)}$`,
    's'
  )
  return (value) => expression.test(value)
}
