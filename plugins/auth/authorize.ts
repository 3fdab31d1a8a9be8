import type { Caller } from '../../src/lib/caller.ts'
import { claimOf } from '../../src/lib/values.ts'
import type { AuthOptions } from './options.ts'

/** Compiles `require` into a function that returns the requirement a caller does not meet, or undefined. */
export function compileRequirements(require: AuthOptions['require']): (caller: Caller) => string | undefined {
  if (require === undefined) return () => undefined
  const { roles, scopes = [], claims = {} } = require
  const patterns = Object.entries(claims).map(([name, value]) => [name, compilePattern(value)] as const)
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
