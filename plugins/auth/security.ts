import type { FromSecurity, SecurityAlternatives } from '../../src/kit/concern.ts'
import type { DescribedCredential } from '../../src/kit/index.ts'
import { acceptedStrategies } from './alternatives.ts'
import { type AuthOptions, STRATEGIES, type StrategyName } from './options.ts'

const PATH = ['openapi']

/** Returns the options of a route that stand for the security of an operation; undefined without `openapi`. */
export function fromSecurity(options: AuthOptions, security: SecurityAlternatives): FromSecurity | undefined {
  if (!options.openapi) return undefined
  const wanted = security.filter((each) => each.length > 0)
  if (wanted.length === 0) return { path: PATH, faults: [], options: false }
  const faults: string[] = []
  const by = new Set<string>()
  for (const credentials of wanted) {
    const found = credentials.map((credential) => {
      const strategy = strategyOf(credential)
      return { credential, strategy, fault: strategyFault(options, credential, strategy) }
    })
    const own = found.flatMap(({ fault }) => fault ?? [])
    const together = own.length > 0 ? undefined : togetherFault(found)
    if (together !== undefined) own.push(together)
    if (own.length === 0) by.add(inOrder(found).join('+'))
    faults.push(...own)
  }
  const isOptional = wanted.length < security.length
  const [scopes = [], ...otherScopes] = scopeSets(wanted)
  if (!isOptional && otherScopes.length > 0)
    faults.push(
      `expected the same scopes in all alternatives, got others for ${namesOf(wanted.flat()).join(' or ')}, which is not supported yet; write the route`
    )
  const own = options.require?.scopes ?? []
  return {
    path: PATH,
    faults,
    options: {
      openapi: false,
      by: [...by].toSorted((one, other) => rankOf(one) - rankOf(other)),
      optional: isOptional,
      // An anonymous caller has no scopes.
      ...(isOptional || scopes.length === 0 ? {} : { require: { scopes: [...new Set([...own, ...scopes])] } })
    }
  }
}

/** A scheme of an alternative, and its strategy. */
interface Mapped {
  readonly credential: DescribedCredential
  readonly strategy: StrategyName | undefined
}

// The last strategy of a pair is the caller: whom a token names, not the application that a key or a certificate names.
const OF_APPLICATIONS: readonly (StrategyName | undefined)[] = ['apiKeys', 'clientCertificate']

const isOfApplication = ({ strategy }: Mapped): boolean => OF_APPLICATIONS.includes(strategy)

/** Returns the strategies of an alternative, that of its caller last. */
const inOrder = (found: readonly Mapped[]): (StrategyName | undefined)[] =>
  found
    .toSorted((one, other) => Number(isOfApplication(other)) - Number(isOfApplication(one)))
    .map(({ strategy }) => strategy)

/** Returns why schemes can't be needed together. */
function togetherFault(found: readonly Mapped[]): string | undefined {
  if (found.length < 2) return undefined
  const names = namesOf(found.map(({ credential }) => credential)).join(' and ')
  if (new Set(found.map(({ strategy }) => strategy)).size < found.length)
    return `expected security schemes of different kinds together, got ${names}; write the route`
  const caller = inOrder(found).at(-1)
  const other = found.find(
    ({ strategy, credential }) => strategy !== caller && (credential.scopes ?? []).length > 0
  )
  return other === undefined
    ? undefined
    : `expected scopes for the scheme of the caller alone, got some for "${other.credential.name}"; write the route, with "require"`
}

// Pairs are preferred, then the order of the strategies.
const rankOf = (alternative: string): number =>
  alternative.includes('+') ? -1 : STRATEGIES.indexOf(alternative as StrategyName)

const namesOf = (credentials: readonly DescribedCredential[]): string[] => [
  ...new Set(credentials.map(({ name }) => name))
]

/** Returns the distinct lists of scopes of some alternatives. */
function scopeSets(wanted: SecurityAlternatives): string[][] {
  const lists = wanted.map((each) => each.flatMap(({ scopes = [] }) => scopes).toSorted())
  return [...new Map(lists.map((list) => [JSON.stringify(list), list])).values()]
}

const HTTP: Readonly<Record<string, StrategyName>> = { bearer: 'jwt', basic: 'basic' }

const TYPES: Readonly<Record<string, StrategyName>> = {
  oauth2: 'jwt',
  openIdConnect: 'jwt',
  apiKey: 'apiKeys',
  mutualTLS: 'clientCertificate'
}

/** Returns the strategy of a security scheme; undefined where there is none. */
function strategyOf({ scheme: { type, scheme } }: DescribedCredential): StrategyName | undefined {
  const [table, key] = type === 'http' ? [HTTP, String(scheme).toLowerCase()] : [TYPES, String(type)]
  return Object.hasOwn(table, key) ? table[key] : undefined
}

/** Returns why some options do not accept a security scheme. */
function strategyFault(
  options: AuthOptions,
  { name, scheme }: DescribedCredential,
  strategy: StrategyName | undefined
): string | undefined {
  if (strategy === undefined)
    return `expected security schemes that the gateway knows (bearer, basic, oauth2, openIdConnect, apiKey, mutualTLS), got "${name}"`
  const accepted = acceptedStrategies(options)
  if (!accepted.includes(strategy))
    return `expected "${strategy}" here for the security scheme "${name}", got ${accepted.join(', ') || 'no strategy'}`
  if (strategy !== 'apiKeys') return undefined
  if (scheme['in'] === 'cookie')
    return `expected an API key in a header or in the query, got the security scheme "${name}" with one in a cookie, which browsers send by themselves; write the route, with a session`
  const place = `${String(scheme['in'])}:${String(scheme['name'])}`
  const from = options.apiKeys?.from ?? []
  return from.some((each) => samePlace(each, place))
    ? undefined
    : `expected "${place}" in "apiKeys.from" for the security scheme "${name}", got ${from.join(', ')}`
}

// Names of headers are case-insensitive.
const samePlace = (one: string, other: string): boolean =>
  one === other || (one.startsWith('header:') && one.toLowerCase() === other.toLowerCase())
