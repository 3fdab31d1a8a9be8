import { type About, defineWarning, type OptionFault, Type, type Warning } from '../../../src/kit/index.ts'
import { isLoopbackHost } from '../../../src/lib/http/networks.ts'
import { upstreamFault } from '../../../src/lib/http/upstream-names.ts'
import { isObject, type Static } from '../../../src/lib/schema.ts'
import { EXPECTED } from '../../../src/lib/units.ts'
import { claimNames } from '../claims.ts'

const endpoint = (description: string, example: string) =>
  Type.Optional(Type.String({ pattern: '^https?://', description, examples: [example] }))

export const oidc = Type.Object(
  {
    issuer: Type.String({
      pattern: '^https?://[^?#\\s]+$',
      [EXPECTED]: 'a URL such as "https://accounts.example.com"',
      description: 'The issuer URL of the provider, as in its tokens; its discovery document is read there.',
      examples: ['https://login.example.com']
    }),
    upstream: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'Gets the requests of the gateway to the provider: a name from "upstreams", or a URL; browsers still go to the URLs of the issuer.',
        examples: ['keycloak']
      })
    ),
    clientId: Type.String({ minLength: 1, description: 'The client id of this gateway at the provider.' }),
    clientSecret: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The client secret; a public client has none and uses PKCE alone.'
      })
    ),
    clientAuth: Type.Unsafe<
      'auto' | 'client_secret_basic' | 'client_secret_post' | 'client_secret_jwt' | 'none'
    >({
      type: 'string',
      enum: ['auto', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'none'],
      default: 'auto',
      description:
        'The client authentication at the token endpoint; auto uses a method of the discovery document, client_secret_basic first.'
    }),
    scopes: Type.Array(Type.String({ minLength: 1 }), {
      default: ['openid', 'email', 'profile'],
      description:
        'The requested scopes; "openid" is always added, "offline_access" requests a refresh token.'
    }),
    ...claimNames,
    endpoints: Type.Object(
      {
        authorization: endpoint('The authorization endpoint.', 'https://login.example.com/authorize'),
        token: endpoint('The token endpoint.', 'https://login.example.com/token'),
        userinfo: Type.Optional(
          Type.Union([Type.String({ pattern: '^https?://' }), Type.Literal(false)], {
            description: 'The userinfo endpoint; false to use the ID token only.',
            examples: ['https://login.example.com/userinfo']
          })
        ),
        jwks: endpoint('The JSON Web Key Set.', 'https://login.example.com/jwks.json'),
        endSession: endpoint('The end-session endpoint.', 'https://login.example.com/logout')
      },
      {
        additionalProperties: false,
        default: {},
        description:
          'Endpoints that replace the discovered ones; with authorization, token and jwks the discovery document is not read.',
        examples: [{ token: 'http://login.internal/token' }]
      }
    ),
    params: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: 'Additional parameters of the authorization request, such as "prompt".',
      examples: [{ prompt: 'login' }]
    })
  },
  {
    additionalProperties: false,
    description: 'Log-in at an OpenID Connect provider; needs "session": true.',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
    examples: [{ issuer: 'https://login.example.com', clientId: 'gateway', clientSecret: '${OIDC_SECRET}' }]
  }
)

export type OidcOptions = Static<typeof oidc>

// Set by the gateway in every authorization request.
const RESERVED_PARAMS: readonly string[] = [
  'client_id',
  'redirect_uri',
  'response_type',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'scope'
]

// Parameters that do not work with the code flow, and why.
const UNSUPPORTED_PARAMS: Readonly<Record<string, string>> = {
  request: 'the gateway signs no request objects',
  request_uri: 'the gateway makes no request objects',
  registration: 'the client is registered at the provider',
  code: 'it belongs to the token endpoint',
  code_verifier: 'it belongs to the token endpoint',
  grant_type: 'it belongs to the token endpoint',
  dpop_jkt: 'the gateway binds no tokens to keys'
}

const secretInUrl = defineWarning(
  'SP_WARN_AUTH_SECRET_IN_URL',
  'high',
  'A secret in the URL of a log-in page'
)

const SECRET_NAME = /secret|passw|^pass$|assertion$|token$|api[-_]?key/i

/** Lists warnings about secrets in parameters: browsers and logs keep the URL of the log-in page. */
export const oidcWarnings = ({ params }: OidcOptions): Warning[] =>
  Object.keys(params)
    .filter((name) => SECRET_NAME.test(name))
    .map((name) =>
      secretInUrl(
        `sends "${name}" of "auth.oidc.params" in the URL of the provider's log-in page, which browsers and logs keep; use "clientSecret" and "clientAuth" to authenticate the gateway`,
        ['oidc', 'params', name]
      )
    )

/** Returns why a parameter does not work; undefined if it does. */
function paramFault(name: string, value: string): string | undefined {
  if (RESERVED_PARAMS.includes(name)) return `"${name}" is set by the gateway; remove it`
  if (Object.hasOwn(UNSUPPORTED_PARAMS, name))
    return `"${name}" is not supported: ${UNSUPPORTED_PARAMS[name]}; remove it`
  if (name === 'response_mode' && value !== 'query')
    return `expected "query", the default, got "${value}"; remove it`
  if (name === 'prompt' && value.split(' ').includes('none'))
    return `expected a prompt other than "none", got "${value}"; with it only users with a session at the provider could log in`
  if (name === 'max_age' && !/^\d+$/.test(value)) return `expected a number of seconds, got "${value}"`
  if (name === 'claims' && !isJsonObject(value)) return `expected a JSON object, got "${value}"`
  return undefined
}

function isJsonObject(text: string): boolean {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}

/** Lists the errors that the schema cannot express. */
export function oidcFaults(options: OidcOptions, { upstreams }: About): OptionFault[] {
  const { upstream, params, clientSecret, clientAuth } = options
  const found: OptionFault[] = endpointFaults(options)
  const unknown = upstream === undefined ? undefined : upstreamFault(upstream, upstreams)
  if (unknown !== undefined) found.push({ path: ['upstream'], message: unknown })
  if (clientSecret === undefined && clientAuth.startsWith('client_secret_'))
    found.push({
      path: ['clientAuth'],
      message: `expected "clientSecret" beside "${clientAuth}", got none`
    })
  if (clientSecret !== undefined && clientAuth === 'none')
    found.push({
      path: ['clientAuth'],
      message: 'expected no "clientSecret" beside "none"; remove one of them'
    })
  for (const [name, value] of Object.entries(params)) {
    const message = paramFault(name, value)
    if (message !== undefined) found.push({ path: ['params', name], message })
  }
  return found
}

// Browsers go to these; the other URLs are the gateway's own requests.
const FOR_BROWSERS = new Set(['authorization', 'endSession'])

function endpointFaults({ issuer, upstream, endpoints }: OidcOptions): OptionFault[] {
  const found: OptionFault[] = []
  for (const [name, url] of Object.entries({ issuer, ...endpoints })) {
    if (url === undefined || url === false) continue
    const path = name === 'issuer' ? ['issuer'] : ['endpoints', name]
    const parsed = URL.parse(url)
    if (parsed === null) found.push({ path, message: `expected a URL, got "${url}"` })
    else if (
      parsed.protocol === 'http:' &&
      !isLoopbackHost(parsed.hostname) &&
      (upstream === undefined || FOR_BROWSERS.has(name))
    )
      found.push({
        path,
        message: `expected https, got "${url}"; plain http is for a provider on this machine, or for requests through "upstream"`
      })
  }
  return found
}
