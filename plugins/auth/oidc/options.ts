import { type OptionFault, Type } from '../../../src/kit/index.ts'
import { isObject, type Static } from '../../../src/lib/schema.ts'
import { EXPECTED } from '../../../src/lib/units.ts'
import { claimNames } from '../claims.ts'

const endpoint = (description: string) => Type.Optional(Type.String({ pattern: '^https?://', description }))

export const oidc = Type.Object(
  {
    issuer: Type.String({
      pattern: '^https?://[^?#\\s]+$',
      [EXPECTED]: 'a URL such as "https://accounts.example.com"',
      description: 'The provider, as its tokens name it; what it can do is discovered there.'
    }),
    clientId: Type.String({ minLength: 1, description: 'What the provider calls this gateway.' }),
    clientSecret: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The secret that goes with it; a public client has none and is known by PKCE alone.'
      })
    ),
    clientAuth: Type.Unsafe<
      'auto' | 'client_secret_basic' | 'client_secret_post' | 'client_secret_jwt' | 'none'
    >({
      type: 'string',
      enum: ['auto', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'none'],
      default: 'auto',
      description:
        'How the gateway proves itself at the token endpoint; auto takes what the discovery document lists, client_secret_basic first.'
    }),
    scopes: Type.Array(Type.String({ minLength: 1 }), {
      default: ['openid', 'email', 'profile'],
      description: 'What is asked for; "openid" is always among it, "offline_access" brings renewal.'
    }),
    ...claimNames,
    endpoints: Type.Object(
      {
        authorization: endpoint('Where people log in.'),
        token: endpoint('Where codes become tokens.'),
        userinfo: Type.Optional(
          Type.Union([Type.String({ pattern: '^https?://' }), Type.Literal(false)], {
            description: 'Where more is told about a user; false where the ID token is to suffice.'
          })
        ),
        jwks: endpoint("Where the provider's keys are."),
        endSession: endpoint('Where people log out.')
      },
      {
        additionalProperties: false,
        default: {},
        description:
          'Where the provider answers, in place of what is discovered; with the first, second and fourth nothing is.'
      }
    ),
    params: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: 'More parameters for the log-in page of the provider, such as "prompt".'
    })
  },
  {
    additionalProperties: false,
    description: 'People log in at an OpenID Connect provider; it needs a session.'
  }
)

export type OidcOptions = Static<typeof oidc>

// What the flow itself says; a config that said it too would break it.
const OURS: readonly string[] = [
  'client_id',
  'redirect_uri',
  'response_type',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'scope'
]

// What can't work with this flow, and why.
const UNFIT: Readonly<Record<string, string>> = {
  request: 'the gateway signs no request objects',
  request_uri: 'the gateway makes no request objects',
  registration: 'the client is registered at the provider',
  code: 'it belongs to the token endpoint',
  code_verifier: 'it belongs to the token endpoint',
  grant_type: 'it belongs to the token endpoint',
  dpop_jkt: 'the gateway binds no tokens to keys'
}

// Names of parameters whose values are secrets.
const SECRET = /secret|passw|^pass$|assertion$|token$|api[-_]?key/i

/** Lists warnings about parameters that are secrets: browsers and logs keep the address that they stand in. */
export const oidcWarnings = ({ params }: OidcOptions): string[] =>
  Object.keys(params)
    .filter((name) => SECRET.test(name))
    .map(
      (name) =>
        `sends "${name}" of "auth.oidc.params" in the address of the provider's log-in page, which browsers and logs keep; "clientSecret" and "clientAuth" say how the gateway proves itself`
    )

/** Tells why a parameter can't work; undefined where it can. */
function unfit(name: string, value: string): string | undefined {
  if (OURS.includes(name)) return `"${name}" is set by the gateway itself; take it out`
  if (Object.hasOwn(UNFIT, name)) return `"${name}" can't work: ${UNFIT[name]}; take it out`
  if (name === 'response_mode' && value !== 'query')
    return `"${value}" can't work: expected "query", by which the code comes back in the address; take it out`
  if (name === 'prompt' && value.split(' ').includes('none'))
    return `"${value}" can't work: with "none" nobody can log in who is not logged in at the provider already; take it out`
  if (name === 'max_age' && !/^\d+$/.test(value)) return `expected a number of seconds, got "${value}"`
  if (name === 'claims' && !isJsonObject(value)) return `expected an object in JSON, got "${value}"`
  return undefined
}

function isJsonObject(text: string): boolean {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}

/** Tells what is wrong that the schema can't say. */
export function oidcFaults({
  issuer,
  params,
  endpoints,
  clientSecret,
  clientAuth
}: OidcOptions): OptionFault[] {
  const found: OptionFault[] = []
  if (clientSecret === undefined && clientAuth.startsWith('client_secret_'))
    found.push({
      path: ['clientAuth'],
      message: `"${clientAuth}" needs a secret; say "clientSecret" beside it`
    })
  if (clientSecret !== undefined && clientAuth === 'none')
    found.push({
      path: ['clientAuth'],
      message: '"none" is for clients without a secret; take out "clientSecret", or "clientAuth"'
    })
  for (const [name, url] of Object.entries({ issuer, ...endpoints })) {
    if (url === undefined || url === false) continue
    const path = name === 'issuer' ? ['issuer'] : ['endpoints', name]
    const parsed = URL.parse(url)
    if (parsed === null) found.push({ path, message: `"${url}" is no URL` })
    else if (parsed.protocol === 'http:' && !isLoopback(parsed.hostname))
      found.push({
        path,
        message: `"${url}" is plain http; tokens travel over https, but for a provider on this machine`
      })
  }
  for (const [name, value] of Object.entries(params)) {
    const message = unfit(name, value)
    if (message !== undefined) found.push({ path: ['params', name], message })
  }
  return found
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '[::1]' || /^127\./.test(host)
