import type { AboutComparison, OptionChange } from '../../src/kit/concern.ts'
import { isSame } from '../../src/lib/compare-options.ts'
import { narrowed, trustsOthers } from './access-changes.ts'
import type { AuthOptions } from './options.ts'

/** Compares the provider at which users log in. */
export function oidcChanges(
  before: AuthOptions,
  after: AuthOptions,
  { destination }: AboutComparison
): OptionChange[] {
  const [old, next] = [before.oidc, after.oidc]
  if (old === undefined && next === undefined) return []
  if (next === undefined) return [narrowed(['oidc'], 'no longer accepts users of a provider')]
  if (old === undefined) return [trustsOthers(['oidc'], 'the users of a provider')]
  const names = ['issuer', 'clientId', 'endpoints', 'rolesClaim', 'scopesClaim'] as const
  const found = names
    .filter((name) => !isSame(old[name], next[name]))
    .map((name): OptionChange => trustsOthers(['oidc', name], 'another provider, client, or claims of users'))
  if (!isSame(old.params, next.params))
    found.push(trustsOthers(['oidc', 'params'], 'users whom the provider is asked for otherwise'))
  if (!isSame(old.scopes, next.scopes))
    found.push({
      class: 'exposure',
      path: ['oidc', 'scopes'],
      message: 'asks the provider for something else of users'
    })
  const isSamePlace =
    [old.upstream, next.upstream].every((name) => name === undefined) ||
    (old.upstream !== undefined &&
      next.upstream !== undefined &&
      destination('before', old.upstream) === destination('after', next.upstream))
  return isSamePlace ? found : [...found, trustsOthers(['oidc', 'upstream'], 'a provider at another place')]
}

/** Compares the service that decides about requests. */
export function forwardChanges(
  before: AuthOptions,
  after: AuthOptions,
  { destination }: AboutComparison
): OptionChange[] {
  const [old, next] = [before.forward, after.forward]
  if (old === undefined || next === undefined) return []
  const found: OptionChange[] = []
  if (destination('before', old.upstream) !== destination('after', next.upstream))
    found.push(trustsOthers(['forward', 'upstream'], 'another service decides'))
  for (const name of ['path', 'headers', 'caller'] as const)
    if (!isSame(old[name], next[name]))
      found.push(trustsOthers(['forward', name], 'the service is asked otherwise'))
  if (old.timeout !== next.timeout)
    found.push({
      class: 'timing',
      path: ['forward', 'timeout'],
      message: 'waits another time for the service'
    })
  for (const name of ['copy', 'copyBack'] as const)
    if (!isSame(old[name], next[name]))
      found.push({
        class: 'exposure',
        path: ['forward', name],
        message: 'copies other headers of the service'
      })
  if (old.signIn !== next.signIn)
    found.push({
      class: 'exposure',
      path: ['forward', 'signIn'],
      message: 'sends browsers elsewhere to sign in'
    })
  return found
}
