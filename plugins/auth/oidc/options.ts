import { type OptionFault, SAYS, type Static, Type } from '../../../src/kit/index.ts'
import { claimNames } from '../claims.ts'

const endpoint = (description: string) => Type.Optional(Type.String({ pattern: '^https?://', description }))

export const oidc = Type.Object(
  {
    issuer: Type.String({
      pattern: '^https?://[^?#\\s]+$',
      [SAYS]: 'a URL such as "https://accounts.example.com"',
      description: 'The provider, as its tokens name it; what it can do is discovered there.'
    }),
    clientId: Type.String({ minLength: 1, description: 'What the provider calls this gateway.' }),
    clientSecret: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The secret that goes with it; a public client has none and is known by PKCE alone.'
      })
    ),
    scopes: Type.Array(Type.String({ minLength: 1 }), {
      default: ['openid', 'email', 'profile'],
      description: 'What is asked for; "openid" is always among it, "offline_access" brings renewal.'
    }),
    ...claimNames,
    endpoints: Type.Object(
      {
        authorization: endpoint('Where people log in.'),
        token: endpoint('Where codes become tokens.'),
        userinfo: endpoint('Where more is told about a user.'),
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
const OURS = [
  'client_id',
  'redirect_uri',
  'response_type',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'scope'
]

/** Tells what is wrong that the schema can't say. */
export function oidcFaults({ issuer, params, endpoints }: OidcOptions): OptionFault[] {
  const found: OptionFault[] = []
  for (const [name, url] of Object.entries({ issuer, ...endpoints })) {
    if (url === undefined) continue
    const path = name === 'issuer' ? ['issuer'] : ['endpoints', name]
    const parsed = URL.parse(url)
    if (parsed === null) found.push({ path, message: `"${url}" is no URL` })
    else if (parsed.protocol === 'http:' && !isLoopback(parsed.hostname))
      found.push({
        path,
        message: `"${url}" is plain http; tokens travel over https, but for a provider on this machine`
      })
  }
  for (const name of Object.keys(params))
    if (OURS.includes(name))
      found.push({
        path: ['params', name],
        message: `"${name}" is what the gateway says itself; take it out`
      })
  return found
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '[::1]' || /^127\./.test(host)
