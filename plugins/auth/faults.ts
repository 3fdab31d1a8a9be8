import type { AboutPlan, PlanWarning } from '../../src/kit/concern.ts'
import { type About, defineWarning, type OptionFault, type Warning } from '../../src/kit/index.ts'
import { acceptsProviderSession, isCallerToken } from '../../src/lib/caller-tokens.ts'
import { exemptFaults } from '../../src/lib/http/exempt-addresses.ts'
import { TemplateError, template, WITH_TOKENS } from '../../src/lib/values.ts'
import { type Alternative, acceptedStrategies, alternativesOf, readAlternative } from './alternatives.ts'
import { assertionFaults } from './assertion.ts'
import {
  apiKey,
  apiKeyFault,
  type Listed,
  readEntries,
  readUsers,
  type User,
  userWarnings
} from './credential-files.ts'
import { issuerFaults, issuersOf, placesOf } from './jwt/issuers.ts'
import { jwtWarnings } from './jwt/options.ts'
import { oidcFaults, oidcWarnings } from './oidc/options.ts'
import { type AuthOptions, definedStrategies, STRATEGIES, type StrategyName } from './options.ts'
import { isAuthorization } from './strategies/credential-places.ts'
import { forwardFaults } from './strategies/forward-options.ts'

/** Lists the errors of some options that their schema cannot express. */
export function faults(options: AuthOptions, about: About): OptionFault[] {
  const { jwt, forward, assertion } = options
  return [
    ...openApiFaults(options),
    ...sessionFaults(options, about),
    ...strategyFaults(options, about),
    ...(jwt === undefined ? [] : below('jwt', issuerFaults(jwt, about))),
    ...(forward === undefined ? [] : below('forward', forwardFaults(forward, about))),
    ...(assertion === undefined ? [] : below('assertion', assertionFaults(assertion))),
    ...userFaults(options.users),
    ...(options.apiKeys === undefined
      ? []
      : below('apiKeys', readEntries(options.apiKeys, apiKey, apiKeyFault).faults)),
    ...emptyListFaults(options),
    ...exemptFaults(options.exempt, about.trustedProxies),
    ...identityFaults(options)
  ]
}

const everyUser = defineWarning('SP_WARN_AUTH_EVERY_USER', 'medium', 'Every user of a provider is accepted')
const publicBeside = defineWarning(
  'SP_WARN_PUBLIC_BESIDE_PROTECTED',
  'medium',
  'A public route in a config that protects others'
)

/** Lists warnings: routes that accept every user of a provider, or every token that it issues. */
export function warnings(options: AuthOptions): Warning[] {
  const { oidc, jwt, require, optional } = options
  const alternatives = alternativesOf(options)
  const isSessionEnough = alternatives.some((names) => names.every((name) => name === 'session'))
  return [
    ...(oidc !== undefined && require === undefined && !optional && isSessionEnough
      ? [everyUser(`accepts every user of ${oidc.issuer}; add "require" to restrict it`, ['oidc'])]
      : []),
    ...(oidc === undefined ? [] : oidcWarnings(oidc)),
    ...userWarnings(options.users as Listed<User> | undefined),
    ...(alternatives.flat().includes('jwt') ? issuersOf(jwt).flatMap(jwtWarnings) : [])
  ]
}

// The routes of operations have it no more: what they want stands in its place.
const openApiFaults = ({ openapi }: AuthOptions): OptionFault[] =>
  openapi
    ? [
        {
          path: ['openapi'],
          message:
            'expected only routes that "operations" adds, got another one, whose security is not known; set it on a group with "operations", and "auth": { "openapi": false } on the routes that you write there'
        }
      ]
    : []

function sessionFaults(
  { session, users, oidc, challenge, passOn }: AuthOptions,
  about: About
): OptionFault[] {
  const { optionsOf } = about
  const found: OptionFault[] = []
  if (oidc === undefined && passOn.includes('oidc'))
    found.push({
      path: ['passOn', passOn.indexOf('oidc')],
      message: 'expected "oidc" beside "passOn": ["oidc"], got none; only a provider gives access tokens'
    })
  if (session && users === undefined && oidc === undefined)
    found.push({
      path: ['session'],
      message: 'expected "users" or "oidc" beside "session", got neither; a session needs users who log in'
    })
  if (challenge === 'login' && !session)
    found.push({
      path: ['challenge'],
      message:
        'expected "session": true beside "challenge": "login"; add it with "users" or "oidc", or use "challenge": "status"'
    })
  if (oidc !== undefined) {
    if (!session)
      found.push({
        path: ['oidc'],
        message: 'expected "session": true beside "oidc"; a log-in at a provider needs a session'
      })
    found.push(...below('oidc', oidcFaults(oidc, about)))
  }
  if (session && (optionsOf('session') as { secrets?: unknown } | undefined)?.secrets === undefined)
    found.push({
      path: ['session'],
      message:
        'expected a session secret of 32 characters or more, got none; set SESSION_SECRET in the environment, or "session": { "secrets": [...] } at the root'
    })
  return found
}

function strategyFaults(options: AuthOptions, { optionsOf }: About): OptionFault[] {
  const found: OptionFault[] = []
  const defined = definedStrategies(options)
  if (defined.length === 0)
    found.push({
      path: [],
      message:
        'expected an authentication strategy, got none; define one, such as "session" with "users", "jwt" or "apiKeys"'
    })
  for (const [i, written] of (options.by ?? []).entries()) {
    const message = alternativeFault(options, readAlternative(written))
    if (message !== undefined) found.push({ path: ['by', i], message })
  }
  const accepted = acceptedStrategies(options)
  for (const name of STRATEGIES)
    if (options.require?.[name] !== undefined && defined.length > 0 && !accepted.includes(name))
      found.push({
        path: ['require', name],
        message: `expected a strategy that is accepted here (${accepted.join(', ')}), got "${name}"; no request could meet the requirement`
      })
  if (options.basic && options.users === undefined)
    found.push({
      path: ['basic'],
      message: 'expected "users" beside "basic", got none; HTTP Basic checks the passwords of local users'
    })
  const tls = optionsOf('tls') as { clientCertificates?: unknown } | false | undefined
  const asksForCertificates = tls !== undefined && tls !== false && tls.clientCertificates !== undefined
  if (options.clientCertificate && !asksForCertificates)
    found.push({
      path: ['clientCertificate'],
      message: 'expected "tls" with "clientCertificates" at the root; without it clients send no certificate'
    })
  return found
}

/** Returns why the strategies of an entry in `by` can't accept a request; undefined if they can. */
function alternativeFault(options: AuthOptions, names: Alternative): string | undefined {
  const defined = definedStrategies(options)
  const unknown = names.find((name) => !defined.includes(name))
  if (unknown !== undefined)
    return `expected a strategy that is defined here (${defined.join(', ') || 'none'}), got "${unknown}"`
  if (new Set(names).size < names.length)
    return `expected different strategies in a pair, got "${names.join('+')}"`
  const inAuthorization = names.filter((name) => readsAuthorizationOnly(options, name))
  return inAuthorization.length < 2
    ? undefined
    : `expected credentials from different places in a pair, got ${inAuthorization.join(' and ')} from "header:authorization", which holds only one; set "from" of one of them`
}

const readsAuthorizationOnly = ({ jwt, apiKeys }: AuthOptions, name: StrategyName): boolean =>
  name === 'basic' ||
  (name === 'jwt' && placesOf(jwt).every(isAuthorization)) ||
  (name === 'apiKeys' && apiKeys?.from.every(isAuthorization) === true)

function userFaults(users: AuthOptions['users']): OptionFault[] {
  if (users === undefined) return []
  const { entries, faults } = readUsers(users as Listed<User>)
  const found = below('users', faults)
  const duplicate = entries.find(({ name }, i) =>
    entries.some((other, j) => j < i && isSameName(other.name, name))
  )
  if (duplicate !== undefined)
    found.push({ path: ['users'], message: `expected unique user names, got "${duplicate.name}" twice` })
  return found
}

// The name may be missing or no string, which is an error of its own.
const isSameName = (one: unknown, other: unknown): boolean =>
  typeof one === 'string' && typeof other === 'string' && one.normalize('NFC') === other.normalize('NFC')

function emptyListFaults({ users, apiKeys }: AuthOptions): OptionFault[] {
  return Object.entries({ users, apiKeys }).flatMap(([name, listed]) =>
    listed !== undefined && listed.file === undefined && listed.list === undefined
      ? [{ path: [name], message: `expected "file" or "list" in "${name}", got neither` }]
      : []
  )
}

function identityFaults(options: AuthOptions): OptionFault[] {
  return Object.entries(options.identity).flatMap(([name, value]) => {
    try {
      template(`{caller.${value}}`, WITH_TOKENS)
      if (!isCallerToken(value) || acceptsProviderSession(options)) return []
      const accepted = acceptedStrategies(options).join(', ')
      const message = `expected sessions of "oidc" to be accepted beside "${value}", got ${accepted === '' ? 'none' : `the strategies ${accepted}`}${options.oidc === undefined ? ' and no "oidc"' : ''}; only these have tokens`
      return [{ path: ['identity', name], message }]
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error
      return [{ path: ['identity', name], message: error.message }]
    }
  })
}

const below = (name: string, faults: readonly OptionFault[]): OptionFault[] =>
  faults.map((fault) => ({ ...fault, path: [name, ...fault.path] }))

/** Warns of routes that are public in a config where others are protected: often one of them was forgotten. */
export function planWarnings(_options: AuthOptions, { routes }: AboutPlan): PlanWarning[] {
  const isProtected = (auth: unknown): boolean => auth !== undefined && auth !== false
  if (!routes.some(({ options }) => isProtected(options['auth']))) return []
  const open = routes.filter(
    ({ options, overrides, exposes }) =>
      exposes && !isProtected(options['auth']) && !overrides.includes('auth')
  )
  return [
    {
      ...publicBeside('is public beside protected ones; "auth": false says that it is meant'),
      routes: open
    }
  ]
}
