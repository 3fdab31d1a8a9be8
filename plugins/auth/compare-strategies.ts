import { createHash } from 'node:crypto'
import type { AboutComparison, OptionChange } from '../../src/kit/concern.ts'
import type { Caller } from '../../src/lib/caller.ts'
import { isSame, notIn } from '../../src/lib/compare-options.ts'
import { duration } from '../../src/lib/units.ts'
import { alternativesOf } from './alternatives.ts'
import { compileRequirements } from './authorize.ts'
import { type ApiKey, apiKey, readEntries, readUsers } from './credential-files.ts'
import { issuersOf } from './jwt/issuers.ts'
import type { JwtOptions } from './jwt/options.ts'
import type { AuthOptions, StrategyName } from './options.ts'

type Path = OptionChange['path']

const trustsOthers = (path: Path, what: string): OptionChange => ({
  class: 'widened-access',
  path,
  message: `trusts others: ${what}`
})

const narrowed = (path: Path, message: string): OptionChange => ({ class: 'narrowed-access', path, message })

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

/** A credential with what its caller has. */
interface Credential {
  readonly id: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** When it stops to be accepted; Infinity for never. */
  readonly expires: number
  /** What else requirements may look at. */
  readonly rest: unknown
  /** Its caller, for requirements that decide about it here. */
  readonly caller?: Caller
}

type Credentials = ReadonlyMap<string, Credential>

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')

function usersOf({ users }: AuthOptions): Credentials {
  const { entries } = readUsers((users ?? {}) as Parameters<typeof readUsers>[0])
  return new Map(
    entries.map(({ name, password, secret, email, roles = [] }) => [
      `${name} ${password ?? hashOf(secret ?? '')}`,
      { id: name, roles, scopes: [], expires: Infinity, rest: email }
    ])
  )
}

function keysOf({ apiKeys }: AuthOptions): Credentials {
  const { entries } = readEntries<ApiKey>(
    (apiKeys ?? {}) as Parameters<typeof readEntries<ApiKey>>[0],
    apiKey,
    () => undefined
  )
  return new Map(
    entries.map(({ id, key, secret, roles = [], scopes = [], claims, expires }) => [
      key ?? `sha256:${hashOf(secret ?? '')}`,
      {
        id,
        roles,
        scopes,
        expires: expires === undefined ? Infinity : Date.parse(expires),
        rest: [id, claims],
        caller: { id, roles, scopes, claims: claims ?? {}, by: 'apiKeys' }
      }
    ])
  )
}

/** Lists the keys that requests may pass with: all, unless a request has one key alone and that lacks what is required. */
function admittedKeys(before: AuthOptions, after: AuthOptions): Credentials {
  const keys = keysOf(after)
  const { from = [] } = after.apiKeys ?? {}
  const isAlone = [before, after].every((options) => isSame(alternativesOf(options), [['apiKeys']]))
  const isOnePlace = from.length === 1 && from[0]?.startsWith('header:') === true
  if (!isAlone || !isOnePlace || !isSame(from, before.apiKeys?.from) || after.require === undefined)
    return keys
  // The value of a variable that is not set may be any role.
  if (JSON.stringify([after.require, [...keys.values()]]).includes('unset-')) return keys
  const missing = compileRequirements(after.require)
  return new Map(
    [...keys].filter(([, { caller }]) => caller === undefined || missing(caller, [caller]) === undefined)
  )
}

/** Compares lists of credentials: new ones, and those whose callers have more. */
function credentialChanges(
  before: Credentials,
  known: Credentials,
  path: Path,
  admitted: Credentials = known
): OptionChange[] {
  const more: string[] = []
  const less: string[] = []
  for (const [credential, { id, roles, scopes, expires, rest }] of known) {
    const old = before.get(credential)
    const hasMore =
      old === undefined ||
      !isSame(rest, old.rest) ||
      expires > old.expires ||
      notIn(roles, old.roles).length + notIn(scopes, old.scopes).length > 0
    if (hasMore && admitted.has(credential)) more.push(id)
    if (old === undefined) continue
    if (expires < old.expires || notIn(old.roles, roles).length + notIn(old.scopes, scopes).length > 0)
      less.push(id)
  }
  for (const [credential, { id }] of before) if (!known.has(credential)) less.push(id)
  return [
    ...(more.length === 0
      ? []
      : [trustsOthers(path, `credentials that are new or have more rights, of ${more.join(', ')}`)]),
    ...(less.length === 0
      ? []
      : [narrowed(path, `no longer accepts credentials or some of their rights, of ${less.join(', ')}`)])
  ]
}

/** Compares the places of a request in which a credential is read. */
function placeChanges(
  before: readonly string[] = [],
  after: readonly string[] = [],
  path: Path
): OptionChange[] {
  const [more, less] = [notIn(after, before), notIn(before, after)]
  return [
    ...(more.length === 0
      ? []
      : [{ class: 'widened-access' as const, path, message: `accepts credentials in ${more.join(', ')}` }]),
    ...(less.length === 0
      ? []
      : [
          narrowed(path, `no longer accepts credentials in ${less.join(', ')}, and ignores wrong ones there`)
        ]),
    ...(more.length + less.length === 0 && !isSame(before, after)
      ? [{ class: 'widened-access' as const, path, message: 'takes another one of several credentials' }]
      : [])
  ]
}

function jwtChanges(before: AuthOptions, after: AuthOptions, about: AboutComparison): OptionChange[] {
  const [old, next] = [issuersOf(before.jwt), issuersOf(after.jwt)]
  const [only, onlyNext] = [old[0], next[0]]
  if (old.length === 1 && next.length === 1 && only !== undefined && onlyNext !== undefined)
    return issuerChanges(only, onlyNext, ['jwt'], about)
  const found = next.flatMap((options, i): OptionChange[] => {
    const path = Array.isArray(after.jwt) ? ['jwt', i] : ['jwt']
    const former = old.find(({ issuer }) => issuer === options.issuer)
    return former === undefined
      ? [trustsOthers(path, 'the tokens of another issuer')]
      : issuerChanges(former, options, path, about)
  })
  const gone = old.filter(({ issuer }) => !next.some((options) => options.issuer === issuer))
  return gone.length === 0
    ? found
    : [...found, narrowed(['jwt'], 'no longer accepts the tokens of an issuer')]
}

const listOf = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : [value].flat()

function issuerChanges(
  old: JwtOptions,
  next: JwtOptions,
  path: Path,
  about: AboutComparison
): OptionChange[] {
  const at = (name: string): Path => [...path, name]
  const found: OptionChange[] = []
  if (old.issuer !== next.issuer)
    found.push(
      old.issuer === undefined
        ? narrowed(at('issuer'), 'wants an issuer')
        : trustsOthers(at('issuer'), 'another issuer of tokens')
    )
  const [audience, nextAudience] = [listOf(old.audience), listOf(next.audience)]
  if (old.audience !== undefined && (next.audience === undefined || notIn(nextAudience, audience).length > 0))
    found.push(trustsOthers(at('audience'), 'tokens for another audience'))
  else if (!isSame(audience.toSorted(), nextAudience.toSorted()))
    found.push(narrowed(at('audience'), 'no longer accepts tokens for some audiences'))
  if (notIn(next.algorithms, old.algorithms).length > 0)
    found.push(trustsOthers(at('algorithms'), 'tokens that are signed by another algorithm'))
  else if (notIn(old.algorithms, next.algorithms).length > 0)
    found.push(narrowed(at('algorithms'), 'no longer accepts some algorithms'))
  const source = keySource(old, next, about)
  if (source !== undefined) found.push(trustsOthers(at(source), 'tokens that are signed by other keys'))
  for (const name of ['rolesClaim', 'scopesClaim'] as const)
    if (old[name] !== next[name]) found.push(trustsOthers(at(name), 'rights in another claim'))
  if (duration(next.leeway) > duration(old.leeway))
    found.push({
      class: 'widened-access',
      path: at('leeway'),
      message: 'accepts tokens longer after they expire'
    })
  else if (duration(next.leeway) < duration(old.leeway))
    found.push(narrowed(at('leeway'), 'accepts tokens less long after they expire'))
  if (old.resource !== next.resource)
    found.push({
      class: 'exposure',
      path: at('resource'),
      message: 'tells clients where to get tokens, or no longer'
    })
  return [...found, ...placeChanges(old.from, next.from, at('from'))]
}

/** Returns the option with which the keys of an issuer have changed. */
function keySource(
  old: JwtOptions,
  next: JwtOptions,
  { destination, isSameFile }: AboutComparison
): string | undefined {
  const placeOf = (side: 'before' | 'after', { jwks }: JwtOptions): unknown =>
    typeof jwks === 'object' ? [destination(side, jwks.upstream), jwks.path] : jwks
  if (!isSame(placeOf('before', old), placeOf('after', next))) return 'jwks'
  if (!isSameFile(old.keys, next.keys)) return 'keys'
  return old.secret === next.secret ? undefined : 'secret'
}

function oidcChanges(
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

function forwardChanges(
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
