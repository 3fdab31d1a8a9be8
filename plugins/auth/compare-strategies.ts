import type { AboutComparison, OptionChange } from '../../src/kit/concern.ts'
import { admittedKeys, credentialChanges, keysOf, placeChanges, usersOf } from './compare-credentials.ts'
import { jwtChanges } from './compare-issuers.ts'
import { forwardChanges, oidcChanges } from './compare-services.ts'
import type { AuthOptions, StrategyName } from './options.ts'

/** Compares whom a strategy that is accepted before and after lets in. */
export function strategyChanges(
  name: StrategyName,
  before: AuthOptions,
  after: AuthOptions,
  about: AboutComparison
): OptionChange[] {
  if (name === 'jwt') return jwtChanges(before, after, about)
  if (name === 'apiKeys')
    return [
      ...placeChanges(before.apiKeys?.from, after.apiKeys?.from, ['apiKeys', 'from']),
      ...credentialChanges(keysOf(before), keysOf(after), ['apiKeys'], admittedKeys(before, after))
    ]
  if (name === 'basic') return credentialChanges(usersOf(before), usersOf(after), ['users'])
  if (name === 'session')
    return [
      ...credentialChanges(usersOf(before), usersOf(after), ['users']),
      ...oidcChanges(before, after, about)
    ]
  return name === 'forward' ? forwardChanges(before, after, about) : []
}
