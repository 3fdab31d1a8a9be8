import { readFileSync } from 'node:fs'
import { type OptionFault, Type } from '../../../src/kit/index.ts'
import { isObject, type Static } from '../../../src/lib/schema.ts'
import { Duration, EXPECTED, File } from '../../../src/lib/units.ts'
import { unreadable } from '../../../src/lib/unreadable.ts'
import { claimNames } from '../claims.ts'
import { jwkFault } from './key-set.ts'

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['HS256', 'HS384', 'HS512']
]

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
    jwks: Type.Optional(
      Type.String({
        pattern: '^https?://',
        [EXPECTED]: 'a URL such as "https://accounts.example.com/jwks.json"',
        description:
          'The URL of the JSON Web Key Set; it is cached, and fetched again when a token names an unknown key.',
        examples: ['https://login.example.com/jwks.json']
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

// A secret is at least as long as the hash (RFC 7518 section 3.2).
const MIN_SECRET_BYTES = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64]
])

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** Lists the errors that the schema cannot express. */
export function jwtFaults(options: JwtOptions): OptionFault[] {
  const found: OptionFault[] = []
  const sources = (['jwks', 'keys', 'secret'] as const).filter((name) => options[name] !== undefined)
  if (sources.length !== 1)
    found.push({
      path: sources.length === 0 ? [] : [sources[1] ?? ''],
      message: `expected one of "jwks", "keys" and "secret", got ${sources.map((name) => `"${name}"`).join(' and ') || 'none'}`
    })
  const wrong = options.algorithms.findIndex(
    (name) => name.startsWith('HS') === (options.secret === undefined)
  )
  if (sources.length === 1 && wrong !== -1)
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
  const url = options.jwks === undefined ? undefined : URL.parse(options.jwks)
  if (url === null)
    found.push({
      path: ['jwks'],
      message: `expected a URL such as "https://accounts.example.com/jwks.json", got "${options.jwks}"`
    })
  if (url?.protocol === 'http:' && !LOOPBACK.test(url.hostname))
    found.push({
      path: ['jwks'],
      message: `expected https, got "${options.jwks}"; over plain http an attacker can replace the keys`
    })
  if (options.keys !== undefined) {
    const fault = keyFileFault(options.keys)
    if (fault !== undefined) found.push({ path: ['keys'], message: fault })
  }
  return found
}

/** Lists a warning about a missing `audience`: a provider's keys also sign tokens for other services. */
export const jwtWarnings = ({ secret, audience, issuer, jwks, keys }: JwtOptions): string[] =>
  secret === undefined && audience === undefined
    ? [`accepts tokens that ${issuer ?? jwks ?? keys} issued for other services; set "audience"`]
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
