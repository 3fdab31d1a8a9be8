import {
  type AboutDescription,
  type DescribedCredential,
  type DescribedRefusal,
  type Description,
  describeRefusal,
  RETRY_AFTER
} from '../../src/kit/index.ts'
import { StoreUnavailable } from '../../src/lib/contracts/store.ts'
import { acceptedStrategies, alternativesOf } from './alternatives.ts'
import { AuthenticationRequired, Forbidden, InvalidCredentials } from './gate.ts'
import { issuersOf, placesOf } from './jwt/issuers.ts'
import { type AuthOptions, STRATEGIES, type StrategyName } from './options.ts'
import { LoginRedirect } from './sign-in.ts'
import { isAuthorization } from './strategies/credential-places.ts'
import { RefusedByService } from './strategies/forward.ts'
import { LoginThrottled } from './throttle.ts'
import { AuthUnavailable } from './unavailable.ts'

/** Describes the credentials that a route accepts, and how a request without them is refused. */
export function describes(options: AuthOptions, about: AboutDescription): Description {
  const strategies = acceptedStrategies(options)
  const roles = options.require?.roles ?? []
  return {
    security: [
      ...alternativesOf(options).flatMap((names) => {
        const ways = combinations(names.map((name) => CREDENTIALS[name](options, about)))
        const own = (name: StrategyName): readonly string[] => requiredOf(options, name, names.at(-1))
        // All of the scopes, and one of the roles: an alternative for each role.
        return ways.flatMap((way) =>
          (roles.length === 0 ? [undefined] : roles).map((role) =>
            way.map((credential, i) => ({
              ...credential,
              scopes: [
                ...own(names[i] as StrategyName),
                ...(role !== undefined && i === way.length - 1 ? [role] : [])
              ]
            }))
          )
        )
      }),
      ...(options.optional ? [[]] : [])
    ],
    refusals: refusalsOf(options, strategies),
    notes: [...notesOf(options), ...(strategies.includes('session') ? redirectNotes(options) : [])]
  }
}

/** Lists the scopes that the credential of a strategy needs, as that of the caller or on its own. */
const requiredOf = ({ require }: AuthOptions, name: StrategyName, last: string | undefined): string[] => [
  ...(name === last ? (require?.scopes ?? []) : []),
  ...(require?.[name]?.scopes ?? [])
]

/** Lists every way to choose one item of each list. */
const combinations = <T>(lists: readonly (readonly T[])[]): T[][] =>
  lists.reduce<T[][]>((chosen, list) => chosen.flatMap((each) => list.map((item) => [...each, item])), [[]])

type Credential = Omit<DescribedCredential, 'scopes'>

const CREDENTIALS: Readonly<
  Record<StrategyName, (options: AuthOptions, about: AboutDescription) => readonly Credential[]>
> = {
  session: (_options, about) => [
    {
      name: 'session',
      scheme: {
        type: 'apiKey',
        in: 'cookie',
        name: sessionCookie(about),
        description: `The session of a user who has logged in at ${loginPath(about)}.`
      }
    }
  ],
  jwt: ({ jwt, oidc }) =>
    placesOf(jwt).map((place) => ({
      name: schemeName('jwt', place, 'header:authorization'),
      scheme: !isAuthorization(place)
        ? keyScheme(place, 'A JSON Web Token.')
        : oidc !== undefined && issuersOf(jwt).every(({ issuer }) => issuer === oidc.issuer)
          ? { type: 'openIdConnect', openIdConnectUrl: discoveryUrl(oidc.issuer) }
          : { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }
    })),
  apiKeys: ({ apiKeys }) =>
    (apiKeys?.from ?? []).map((place) => ({
      name: schemeName('apiKey', place, 'header:x-api-key'),
      scheme: keyScheme(place, isAuthorization(place) ? 'An API key, after "ApiKey" or "Bearer".' : undefined)
    })),
  basic: () => [{ name: 'basic', scheme: { type: 'http', scheme: 'basic' } }],
  clientCertificate: () => [
    {
      name: 'clientCertificate',
      scheme: { type: 'mutualTLS', description: 'The client certificate of the connection.' }
    }
  ],
  forward: () => [
    {
      name: 'forward',
      scheme: {
        type: 'apiKey',
        in: 'header',
        name: 'Authorization',
        description:
          'An authentication service decides by the headers of the request, such as Authorization and Cookie.'
      }
    }
  ]
}

function keyScheme(place: string, description: string | undefined): DescribedCredential['scheme'] {
  const [where = '', ...name] = place.split(':')
  return {
    type: 'apiKey',
    in: where,
    name: name.join(':'),
    ...(description === undefined ? {} : { description })
  }
}

const schemeName = (strategy: string, place: string, usual: string): string =>
  place.toLowerCase() === usual ? strategy : `${strategy}-${place.replace(':', '-')}`

const discoveryUrl = (issuer: string): string =>
  `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

interface SessionDetails {
  readonly cookie?: { readonly name?: string }
  readonly routes?: { readonly login?: string }
}

const sessionDetails = ({ optionsOf }: AboutDescription): SessionDetails =>
  (optionsOf('session') || {}) as SessionDetails

const loginPath = (about: AboutDescription): string => sessionDetails(about).routes?.login ?? '/login'

function sessionCookie(about: AboutDescription): string {
  const isHttps = Boolean(about.optionsOf('tls')) || about.publicUrl?.startsWith('https://') === true
  return sessionDetails(about).cookie?.name ?? (isHttps ? '__Host-sid' : 'sid')
}

function refusalsOf(
  { optional, require, challenge, jwt }: AuthOptions,
  strategies: readonly StrategyName[]
): DescribedRefusal[] {
  const asksService =
    strategies.includes('forward') ||
    (strategies.includes('jwt') &&
      issuersOf(jwt).some(({ keys, secret }) => keys === undefined && secret === undefined))
  return [
    ...(challenge === 'login' && !optional
      ? [
          describeRefusal(LoginRedirect, {
            headers: { Location: { description: 'The log-in page.', schema: { type: 'string' } } }
          })
        ]
      : []),
    ...(optional ? [] : [describeRefusal(AuthenticationRequired, { headers: CHALLENGE })]),
    describeRefusal(InvalidCredentials, { headers: CHALLENGE }),
    ...(require === undefined ? [] : [describeRefusal(Forbidden)]),
    ...(strategies.includes('forward') ? [describeRefusal(RefusedByService)] : []),
    ...(strategies.includes('basic') ? [describeRefusal(LoginThrottled, { headers: RETRY_AFTER })] : []),
    ...(asksService ? [describeRefusal(AuthUnavailable, { headers: RETRY_AFTER })] : []),
    ...(strategies.includes('session') ? [describeRefusal(StoreUnavailable, { headers: RETRY_AFTER })] : [])
  ]
}

const CHALLENGE = {
  'WWW-Authenticate': {
    description: 'The authentication schemes that are accepted.',
    schema: { type: 'string' }
  }
}

const notesOf = ({ require = {} }: AuthOptions): string[] => [
  ...requirementNotes(require, ''),
  ...STRATEGIES.flatMap((name) => requirementNotes(require[name] ?? {}, ` in the credential of \`${name}\``))
]

/** Describes requirements; `where` says of which credential. */
function requirementNotes(
  {
    roles = [],
    scopes = [],
    claims = {}
  }: Pick<NonNullable<AuthOptions['require']>, 'roles' | 'scopes' | 'claims'>,
  where: string
): string[] {
  return [
    ...(roles.length === 0
      ? []
      : [`Requires ${roles.length === 1 ? 'the role' : 'one of the roles'} ${quoted(roles)}${where}.`]),
    ...(scopes.length === 0
      ? []
      : [`Requires the ${scopes.length === 1 ? 'scope' : 'scopes'} ${quoted(scopes)}${where}.`]),
    // The expected values may say who the customers are.
    ...(Object.keys(claims).length === 0
      ? []
      : [`Requires certain values of ${quoted(Object.keys(claims))}${where}.`])
  ]
}

const redirectNotes = ({ challenge, optional }: AuthOptions): string[] =>
  challenge === 'auto' && !optional ? ['Browsers that load a page are redirected to the log-in.'] : []

const quoted = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ')
