import type { AboutComparison, Comparison, OptionChange } from '../../src/kit/concern.ts'
import { addressOutside, isSame, matchesMore, notIn } from '../../src/lib/compare-options.ts'
import { readAddresses } from '../../src/lib/http/address-lists.ts'
import { rangeMatcher } from '../../src/lib/http/networks.ts'
import { globSet } from '../../src/lib/read-regular-set.ts'
import { complement, type RegularSet } from '../../src/lib/regular-set.ts'
import { narrowed, widened } from './access-changes.ts'
import { type Alternative, acceptedStrategies, alternativesOf } from './alternatives.ts'
import { strategyChanges } from './compare-strategies.ts'
import { issuersOf } from './jwt/issuers.ts'
import { type AuthOptions, STRATEGIES, type StrategyName } from './options.ts'

/** How `diff` compares two resolved options of "auth". */
export const comparison: Comparison = {
  // A wrong credential is refused all the same.
  protects: ({ optional }: AuthOptions) => !optional,
  changes: (before: AuthOptions, after: AuthOptions, about) => [
    ...optionalChanges(before, after),
    ...alternativeChanges(before, after),
    ...acceptedStrategies(after)
      .filter((name) => acceptedStrategies(before).includes(name))
      .flatMap((name) => {
        const found = strategyChanges(name, before, after, about)
        return [...found, ...ignoredPlaces(found, before, after)]
      }),
    ...exemptChanges(before, after),
    ...requirementChanges(before.require, after.require),
    ...passOnChanges(before, after),
    ...identityChanges(before, after, about)
  ],
  options: {
    challenge: { class: 'exposure', message: 'answers requests without a credential otherwise' },
    'oidc.clientSecret': 'the client is the same one',
    'oidc.clientAuth': 'the client is the same one',
    openapi: 'the routes that it adds are compared with their own "auth"'
  },
  admits({ optional, require, exempt }: AuthOptions, { ip, isAnonymous, code }) {
    // A wrong credential may be another one of a caller whom the log does not name.
    if (!isAnonymous || (code !== undefined && code !== 'SP_ERR_AUTH_MISSING')) return undefined
    if (optional) return true
    return require === undefined && exempt.length > 0 && ip !== ''
      ? rangeMatcher(readAddresses(exempt))(ip)
      : false
  },
  asks: ({ forward, oidc, jwt }: AuthOptions) =>
    [
      forward?.upstream,
      oidc?.upstream,
      ...issuersOf(jwt).map(({ jwks }) => (typeof jwks === 'object' ? jwks.upstream : undefined))
    ].filter((name) => name !== undefined)
}

function optionalChanges(before: AuthOptions, after: AuthOptions): OptionChange[] {
  if (before.optional === after.optional) return []
  return after.optional
    ? [widened(['optional'], 'lets anonymous requests through')]
    : [narrowed(['optional'], 'refuses anonymous requests')]
}

/** Compares the strategies that are accepted, alone or together. */
function alternativeChanges(before: AuthOptions, after: AuthOptions): OptionChange[] {
  const [old, next] = [alternativesOf(before), alternativesOf(after)]
  const showOf = (names: Alternative): string => names.join('+')
  // A requirement is one of the caller, whom the last strategy of a pair sets.
  const isCovered = (one: Alternative, others: readonly Alternative[]): boolean =>
    others.some(
      (other) =>
        other.every((name) => one.includes(name)) &&
        (before.require === undefined || other.at(-1) === one.at(-1))
    )
  const more = next.filter((one) => !isCovered(one, old)).map(showOf)
  const less = old.filter((one) => !isCovered(one, next)).map(showOf)
  // A wrong one was refused. Where a caller is required, it now passes only beside a right one, which passes alone as well.
  const ignored = notIn(acceptedStrategies(before), acceptedStrategies(after))
  const beside = ignored.length === 0 ? '' : `ignores credentials of ${ignored.join(', ')}, also wrong ones`
  const lost = less.length === 0 ? '' : `no longer accepts ${less.join(', ')}`
  const told = [lost, beside].filter((text) => text !== '').join(', and ')
  return [
    ...(more.length === 0 ? [] : [widened(['by'], `accepts more credentials: ${more.join(', ')}`)]),
    ...(more.length === 0 && takesAnother(old, next, before)
      ? [widened(['by'], 'takes another one of several callers of a request')]
      : []),
    ...(told === '' ? [] : [narrowed(['by'], told)]),
    ...(ignored.length > 0 && before.optional && after.optional
      ? [
          widened(
            ['by'],
            `lets requests with wrong credentials of ${ignored.join(', ')} through, as anonymous`
          )
        ]
      : [])
  ]
}

/** Returns whether the requirements are those of another caller where a request has several. */
function takesAnother(
  old: readonly Alternative[],
  next: readonly Alternative[],
  { require }: AuthOptions
): boolean {
  if (require === undefined) return false
  const names = STRATEGIES.filter((name) => old.flat().includes(name) && next.flat().includes(name))
  const sets = names.reduce<StrategyName[][]>(
    (found, name) => found.concat(found.map((set) => [...set, name])),
    [[]]
  )
  const callerOf = (list: readonly Alternative[], set: readonly StrategyName[]): StrategyName | undefined =>
    list.find((each) => each.every((name) => set.includes(name)))?.at(-1)
  return sets.some((set) => {
    const caller = callerOf(next, set)
    return caller !== undefined && caller !== callerOf(old, set)
  })
}

/** Returns what follows for anonymous requests from places of credentials that are gone: wrong ones there were refused. */
const ignoredPlaces = (
  found: readonly OptionChange[],
  before: AuthOptions,
  after: AuthOptions
): OptionChange[] =>
  before.optional && after.optional
    ? found
        .filter(({ class: kind, path }) => kind === 'narrowed-access' && path.at(-1) === 'from')
        .map(({ path }) => widened(path, 'lets requests with wrong credentials there through, as anonymous'))
    : []

/** Compares the addresses that need no credential; with a requirement there are none. */
function exemptChanges(before: AuthOptions, after: AuthOptions): OptionChange[] {
  const exemptOf = ({ require, exempt }: AuthOptions): readonly string[] =>
    require === undefined ? exempt : []
  if (before.optional && after.optional) return []
  const more = addressOutside(exemptOf(after), exemptOf(before))
  const less = addressOutside(exemptOf(before), exemptOf(after))
  return [
    ...(more === undefined
      ? []
      : [widened(['exempt'], `lets more addresses pass without a credential, such as ${more}`)]),
    ...(less === undefined
      ? []
      : [narrowed(['exempt'], `wants a credential of more addresses, such as ${less}`)])
  ]
}

type Requirements = NonNullable<AuthOptions['require']>
type CallerRequirements = Pick<Requirements, 'roles' | 'scopes' | 'claims'>

function requirementChanges(before: Requirements = {}, after: Requirements = {}): OptionChange[] {
  return [
    ...callerChanges(before, after, ['require']),
    ...STRATEGIES.flatMap((name) => {
      const [old, next] = [before[name], after[name]]
      const path = ['require', name]
      if (old !== undefined && next === undefined)
        return [widened(path, `no longer requires a credential of ${name}`)]
      const own = callerChanges(old ?? {}, next ?? {}, path)
      return old === undefined && next !== undefined
        ? [narrowed(path, `requires a credential of ${name}`)]
        : own
    })
  ]
}

function callerChanges(
  before: CallerRequirements,
  after: CallerRequirements,
  path: string[]
): OptionChange[] {
  return [
    ...roleChanges(before.roles, after.roles, [...path, 'roles']),
    ...scopeChanges(before.scopes, after.scopes, [...path, 'scopes']),
    ...claimChanges(before.claims, after.claims, [...path, 'claims'])
  ]
}

/** Compares roles, of which a caller needs any one. */
function roleChanges(
  before: readonly string[] | undefined,
  after: readonly string[] | undefined,
  path: string[]
): OptionChange[] {
  if (before === undefined) return after === undefined ? [] : [narrowed(path, 'requires a role')]
  if (after === undefined) return [widened(path, 'no longer requires a role')]
  const [more, less] = [notIn(after, before), notIn(before, after)]
  return [
    ...(more.length === 0 ? [] : [widened(path, `accepts callers with another role: ${more.join(', ')}`)]),
    ...(less.length === 0 ? [] : [narrowed(path, `no longer accepts a role: ${less.join(', ')}`)])
  ]
}

/** Compares scopes, of which a caller needs all. */
function scopeChanges(
  before: readonly string[] = [],
  after: readonly string[] = [],
  path: string[]
): OptionChange[] {
  const [less, more] = [notIn(before, after), notIn(after, before)]
  return [
    ...(less.length === 0 ? [] : [widened(path, `no longer requires a scope: ${less.join(', ')}`)]),
    ...(more.length === 0 ? [] : [narrowed(path, `requires another scope: ${more.join(', ')}`)])
  ]
}

/** Compares claims, of which a caller needs all; each is a pattern, or several of which one has to match. */
function claimChanges(
  before: NonNullable<Requirements['claims']> = {},
  after: NonNullable<Requirements['claims']> = {},
  path: string[]
): OptionChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((name) => {
    const at = [...path, name]
    const [old, next] = [before[name], after[name]]
    if (isSame(old, next)) return []
    if (next === undefined) return [widened(at, 'is no longer required')]
    if (old === undefined) return [narrowed(at, 'is required')]
    const [values, others] = [[old].flat().map(claimSet), [next].flat().map(claimSet)]
    return [
      ...(matchesMore(others, values) ? [widened(at, 'accepts other values')] : []),
      ...(matchesMore(values, others) ? [narrowed(at, 'no longer accepts some values')] : [])
    ]
  })
}

const AT_SIGN = 64

// As in `compileRequirements`: in a mail address "*" does not match "@".
const claimSet = (pattern: string): RegularSet =>
  pattern.includes('@') ? globSet(pattern, complement([[AT_SIGN, AT_SIGN]])) : globSet(pattern)

function passOnChanges({ passOn: old }: AuthOptions, { passOn: next }: AuthOptions): OptionChange[] {
  const [more, less] = [notIn<string>(next, old), notIn<string>(old, next)]
  return [
    ...(more.length === 0
      ? []
      : [widened(['passOn'], `lets upstreams see more credentials: ${more.join(', ')}`)]),
    ...(less.length === 0
      ? []
      : [narrowed(['passOn'], `hides more credentials from upstreams: ${less.join(', ')}`)])
  ]
}

/** Compares the identity headers that upstreams get; a header that is no longer removed is reported once for all routes. */
function identityChanges(
  before: AuthOptions,
  after: AuthOptions,
  { isSameFile }: AboutComparison
): OptionChange[] {
  const found: OptionChange[] = []
  if (!isSame(before.identity, after.identity))
    found.push({
      class: 'exposure',
      path: ['identity'],
      message: 'tells upstreams something else of callers'
    })
  const [old, next] = [before.assertion, after.assertion]
  if (
    !isSame({ ...old, key: '' }, { ...next, key: '' }) ||
    (old === undefined) !== (next === undefined) ||
    !isSameFile(old?.key, next?.key)
  )
    found.push({ class: 'exposure', path: ['assertion'], message: 'signs another assertion for upstreams' })
  return found
}
