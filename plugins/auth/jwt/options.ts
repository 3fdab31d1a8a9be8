import { readFileSync } from 'node:fs'
import { type About, defineWarning, type OptionFault, Type, type Warning } from '../../../src/kit/index.ts'
import { isLoopbackHost } from '../../../src/lib/http/networks.ts'
import { upstreamFault } from '../../../src/lib/http/upstream-names.ts'
import { isObject, type Static } from '../../../src/lib/schema.ts'
import { Duration, EXPECTED, File } from '../../../src/lib/units.ts'
import { unreadable } from '../../../src/lib/unreadable.ts'
import { claimNames } from '../claims.ts'
import { jwkFault } from './key-set.ts'

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['HS256', 'HS384', 'HS512']
]

const jwksOfUpstream = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'The provider: a name from "upstreams", or a URL.'
    }),
    path: Type.Optional(
      Type.String({
        pattern: '^/[^#\\s]*$',
        [EXPECTED]: 'a path that begins with "/"',
        description: 'The path of the JSON Web Key Set there; by default it is discovered from the issuer.',
        examples: ['/realms/shop/protocol/openid-connect/certs']
      })
    )
  },
  { additionalProperties: false }
)

export const jwt = Type.Object(
  {
    issuer: Type.Optional(
      Type.String({ minLength: 1, description: 'The issuer of the tokens: their "iss".' })
    ),
    audience: Type.Optional(
      Type.Unsafe<string | string[]>({
        anyOf: [
          { type: 'string', minLength: 1 },
          { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1 }
        ],
        description: 'The expected audience: the "aud" of a token is this, or one of these.',
        examples: ['api', ['api', 'shop']]
      })
    ),
    resource: Type.Boolean({
      default: false,
      description:
        'Serve the OAuth 2.0 Protected Resource Metadata (RFC 9728) of the route, group or origin that sets this, so that clients find the issuer; without "audience", tokens are for this resource.'
    }),
    jwks: Type.Optional(
      Type.Unsafe<string | Static<typeof jwksOfUpstream>>({
        anyOf: [
          Type.String({
            pattern: '^https?://',
            [EXPECTED]: 'a URL such as "https://accounts.example.com/jwks.json"'
          }),
          jwksOfUpstream
        ],
        description:
          'The URL of the JSON Web Key Set, or its upstream and path; by default it is discovered from the issuer. It is cached, and fetched again when a token names an unknown key.',
        examples: [
          'https://login.example.com/jwks.json',
          { upstream: 'keycloak', path: '/realms/shop/certs' }
        ]
      })
    ),
    keys: Type.Optional(
      File({ description: 'A file with the keys, as a JSON Web Key Set; in place of "jwks".' })
    ),
    secret: Type.Optional(
      Type.String({
        minLength: 32,
        [EXPECTED]: 'a secret of 32 characters or more',
        description: 'A secret shared with the issuer, for HS256, HS384 or HS512 in "algorithms".'
      })
    ),
    algorithms: Type.Array(Type.Unsafe<string>({ type: 'string', enum: ALGORITHMS }), {
      default: ['RS256', 'ES256', 'EdDSA', 'Ed25519'],
      minItems: 1,
      description: 'The accepted signature algorithms; a token with any other is refused.'
    }),
    ...claimNames,
    from: Type.Array(
      Type.String({
        pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
        [EXPECTED]: '"header:NAME" or "query:NAME"'
      }),
      {
        default: ['header:authorization'],
        minItems: 1,
        description:
          'Where a token is read from: "header:NAME" (a Bearer token in authorization) or "query:NAME".'
      }
    ),
    leeway: Duration({ default: '30s', description: 'The clock difference to the issuer that is tolerated.' })
  },
  {
    additionalProperties: false,
    description: 'Callers with a signed JSON Web Token.',
    examples: [
      { issuer: 'https://login.example.com', audience: 'api', jwks: 'https://login.example.com/jwks.json' }
    ]
  }
)

export type JwtOptions = Static<typeof jwt>

/** The option `jwt` of `auth`: one issuer or several. */
export type JwtOption = JwtOptions | JwtOptions[]

/** Describes the option `jwt` of `auth`. */
export const jwtOption = Type.Unsafe<JwtOption>({
  anyOf: [jwt, { type: 'array', items: jwt, minItems: 1 }],
  [EXPECTED]: 'the options of an issuer, or a list of them',
  description: 'Callers with a signed JSON Web Token, of one issuer or of several in a list.',
  examples: [
    { issuer: 'https://login.example.com', audience: 'api', jwks: 'https://login.example.com/jwks.json' }
  ]
})

// A secret is at least as long as the hash (RFC 7518 section 3.2).
const MIN_SECRET_BYTES = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64]
])

/** Lists the errors that the schema cannot express. */
export function jwtFaults(options: JwtOptions, { upstreams }: About): OptionFault[] {
  const found: OptionFault[] = keyPlaceFaults(options, upstreams)
  const sources = (['jwks', 'keys', 'secret'] as const).filter((name) => options[name] !== undefined)
  if (sources.length > 1)
    found.push({
      path: [sources[1] ?? ''],
      message: `expected one of "jwks", "keys" and "secret", got ${sources.map((name) => `"${name}"`).join(' and ')}`
    })
  const wrong = options.algorithms.findIndex(
    (name) => name.startsWith('HS') === (options.secret === undefined)
  )
  if (sources.length <= 1 && wrong !== -1)
    found.push({
      path: ['algorithms', wrong],
      message:
        options.secret === undefined
          ? `expected an algorithm for public keys, got "${options.algorithms[wrong]}", which needs a "secret"`
          : `expected HS256, HS384 or HS512 beside "secret", got "${options.algorithms[wrong]}", which needs "jwks" or "keys"`
    })
  for (const [i, name] of options.algorithms.entries()) {
    const minBytes = MIN_SECRET_BYTES.get(name)
    if (
      options.secret === undefined ||
      minBytes === undefined ||
      Buffer.byteLength(options.secret) >= minBytes
    )
      continue
    found.push({
      path: ['algorithms', i],
      message: `expected a secret of ${minBytes} bytes or more for "${name}", got ${Buffer.byteLength(options.secret)}; "openssl rand -hex 32" makes one`
    })
  }
  if (options.keys !== undefined) {
    const fault = keyFileFault(options.keys)
    if (fault !== undefined) found.push({ path: ['keys'], message: fault })
  }
  return found
}

/** Lists the errors of the place of the keys: a URL, an upstream, or an issuer to discover them from. */
function keyPlaceFaults(
  { issuer, jwks, keys, secret }: JwtOptions,
  upstreams: readonly string[]
): OptionFault[] {
  if (typeof jwks === 'string') return urlFaults(jwks, ['jwks'])
  const found: OptionFault[] = []
  if (jwks !== undefined) {
    const message = upstreamFault(jwks.upstream, upstreams)
    if (message !== undefined) found.push({ path: ['jwks', 'upstream'], message })
    if (jwks.path !== undefined) return found
  } else if (keys !== undefined || secret !== undefined) return found
  if (issuer === undefined)
    found.push({
      path: jwks === undefined ? [] : ['jwks'],
      message:
        jwks === undefined
          ? 'expected one of "jwks", "keys" and "secret", got none; with an "issuer" that is a URL, the keys are discovered'
          : 'expected a "path" beside "upstream", or an "issuer" to discover it from, got neither'
    })
  else if (!/^https?:/.test(issuer))
    found.push({
      path: ['issuer'],
      message: `expected a URL, from which the keys are discovered, got "${issuer}"; or set "jwks", "keys" or "secret"`
    })
  // Through an upstream, the issuer is only a name.
  else if (jwks === undefined) found.push(...urlFaults(issuer, ['issuer']))
  return found
}

function urlFaults(text: string, path: string[]): OptionFault[] {
  const url = URL.parse(text)
  if (url === null)
    return [
      { path, message: `expected a URL such as "https://accounts.example.com/jwks.json", got "${text}"` }
    ]
  if (url.protocol !== 'http:' || isLoopbackHost(url.hostname)) return []
  return [
    {
      path,
      message: `expected https, got "${text}"; over plain http an attacker can replace the keys`
    }
  ]
}

const noAudience = defineWarning(
  'SP_WARN_AUTH_AUDIENCE',
  'medium',
  'Tokens that were issued for other services are accepted'
)

/** Lists a warning about a missing `audience`: a provider's keys also sign tokens for other services. */
export const jwtWarnings = ({ secret, audience, resource, issuer, jwks, keys }: JwtOptions): Warning[] =>
  secret === undefined && audience === undefined && !resource
    ? [
        noAudience(
          `accepts tokens that ${issuer ?? (typeof jwks === 'object' ? jwks.upstream : jwks) ?? keys} issued for other services; set "audience"`,
          ['jwt']
        )
      ]
    : []

/** Returns the error in a key file: every key must be public and able to verify a signature. */
function keyFileFault(file: string): string | undefined {
  let read: unknown
  try {
    read = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === undefined ? `expected JSON in the file ${file}` : unreadable(file, error)
  }
  if (!isObject(read) || !Array.isArray(read['keys']) || read['keys'].length === 0)
    return `expected a JSON Web Key Set, { "keys": [...] }, in the file ${file}`
  for (const [i, jwk] of read['keys'].entries()) {
    const fault = jwkFault(jwk)
    if (fault !== undefined) return `${file}: key ${i + 1} ${fault}`
  }
  return undefined
}
