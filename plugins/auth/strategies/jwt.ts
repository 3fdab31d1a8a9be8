import { readFileSync } from 'node:fs'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type OptionFault, Type } from '../../../src/kit/index.ts'
import { isObject, type Static } from '../../../src/lib/schema.ts'
import { Duration, EXPECTED, File } from '../../../src/lib/units.ts'
import { unreadable } from '../../../src/lib/unreadable.ts'
import { claimNames } from '../claims.ts'
import { keyFault } from '../key-set.ts'
import { verifierFor } from '../verifier.ts'
import {
  dropParameter,
  headersIn,
  isAuthorization,
  isBearer,
  isTokenShaped,
  parametersIn,
  readerOf,
  type Strategy
} from './strategy.ts'

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['HS256', 'HS384', 'HS512']
]

export const jwt = Type.Object(
  {
    issuer: Type.Optional(Type.String({ minLength: 1, description: 'Who makes the tokens: their "iss".' })),
    audience: Type.Optional(
      Type.Unsafe<string | string[]>({
        anyOf: [
          { type: 'string', minLength: 1 },
          { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1 }
        ],
        description: 'Whom they are for: their "aud" is this, or one of these.'
      })
    ),
    jwks: Type.Optional(
      Type.String({
        pattern: '^https?://',
        [EXPECTED]: 'a URL such as "https://accounts.example.com/jwks.json"',
        description:
          'Where the keys are; they are fetched, kept, and asked for anew when a token names another.'
      })
    ),
    keys: Type.Optional(
      File({ description: 'A file with the keys, as a JSON Web Key Set; in place of "jwks".' })
    ),
    secret: Type.Optional(
      Type.String({
        minLength: 32,
        [EXPECTED]: 'a secret of 32 characters or more',
        description:
          'A secret that the gateway shares with who makes the tokens; "algorithms" names HS256 or its like.'
      })
    ),
    algorithms: Type.Array(Type.Unsafe<string>({ type: 'string', enum: ALGORITHMS }), {
      default: ['RS256', 'ES256', 'EdDSA', 'Ed25519'],
      minItems: 1,
      description: 'The signatures that count; all others are refused, whatever a token says of itself.'
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
        description: 'Where a token may stand: "header:NAME" (a Bearer in authorization) or "query:NAME".'
      }
    ),
    leeway: Duration({ default: '30s', description: 'How far the clocks of the two may differ.' })
  },
  { additionalProperties: false, description: 'Callers with a JSON Web Token, whose signature is verified.' }
)

export type JwtOptions = Static<typeof jwt>

// Bytes of a secret: as many as the hash has (RFC 7518 section 3.2).
const LEAST_SECRET = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64]
])

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** Tells what is wrong that the schema can't say. */
export function jwtFaults(said: JwtOptions): OptionFault[] {
  const found: OptionFault[] = []
  const sources = (['jwks', 'keys', 'secret'] as const).filter((name) => said[name] !== undefined)
  if (sources.length !== 1)
    found.push({
      path: sources.length === 0 ? [] : [sources[1] ?? ''],
      message: `A token is verified by one of "jwks", "keys" and "secret"; this has ${sources.map((name) => `"${name}"`).join(' and ') || 'none'}`
    })
  const wrong = said.algorithms.findIndex((name) => name.startsWith('HS') === (said.secret === undefined))
  if (sources.length === 1 && wrong !== -1)
    found.push({
      path: ['algorithms', wrong],
      message:
        said.secret === undefined
          ? `"${said.algorithms[wrong]}" needs a "secret"; with public keys it would take a key that all know for a secret`
          : `"${said.algorithms[wrong]}" needs keys; with a "secret" it is HS256, HS384 or HS512`
    })
  for (const [i, name] of said.algorithms.entries()) {
    const least = LEAST_SECRET.get(name)
    if (said.secret === undefined || least === undefined || Buffer.byteLength(said.secret) >= least) continue
    found.push({
      path: ['algorithms', i],
      message: `"${name}" needs a secret of ${least} bytes or more; this one has ${Buffer.byteLength(said.secret)}. "openssl rand -hex 32" makes one`
    })
  }
  const url = said.jwks === undefined ? undefined : URL.parse(said.jwks)
  if (url === null)
    found.push({
      path: ['jwks'],
      message: `"${said.jwks}" is no URL; "https://accounts.example.com/jwks.json" would do`
    })
  if (url?.protocol === 'http:' && !LOOPBACK.test(url.hostname))
    found.push({
      path: ['jwks'],
      message: `"${said.jwks}" is plain http; whoever sits in between could bring keys of their own`
    })
  if (said.keys !== undefined) {
    const fault = keysFault(said.keys)
    if (fault !== undefined) found.push({ path: ['keys'], message: fault })
  }
  return found
}

/** The keys of a provider say who made a token, and not for whom. */
export const jwtWarnings = ({ secret, audience, issuer, jwks, keys }: JwtOptions): string[] =>
  secret === undefined && audience === undefined
    ? [`takes tokens of ${issuer ?? jwks ?? keys} that were made for others; "audience" says which are meant`]
    : []

/** Tells what is wrong with a file of keys: each has to be one that a signature can be verified with, and that everybody may know. */
function keysFault(file: string): string | undefined {
  let read: unknown
  try {
    read = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === undefined ? `The file ${file} is not JSON` : unreadable(file, error)
  }
  if (!isObject(read) || !Array.isArray(read['keys']) || read['keys'].length === 0)
    return `The file ${file} has no "keys"; a JSON Web Key Set is { "keys": [...] }`
  for (const [i, jwk] of read['keys'].entries()) {
    const fault = keyFault(jwk)
    if (fault !== undefined) return `${file}: key ${i + 1} ${fault}`
  }
  return undefined
}

/** Lets in whoever has a token that was signed by one of the keys; `besideKeys` says that a Bearer may as well be an API key. */
export function jwtStrategy(app: FastifyInstance, said: JwtOptions, besideKeys: boolean): Strategy {
  const holds = (authorization: string): boolean =>
    isBearer(authorization) && (!besideKeys || isTokenShaped(tokenIn(authorization)))
  const bearer = ({ headers: { authorization } }: FastifyRequest): string[] =>
    authorization !== undefined && holds(authorization) ? [tokenIn(authorization)] : []
  const readers = said.from.map((place) => (isAuthorization(place) ? bearer : readerOf(place)))
  const parameters = parametersIn(said.from)
  const verifier = verifierFor(app, said)
  return {
    name: 'jwt',
    scheme: 'Bearer',
    headers: headersIn(said.from, holds),
    parameters,
    find(request) {
      const tokens = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      const [only] = tokens
      if (only === undefined) return null
      // Two tokens would be two callers: what the upstream reads nobody knows.
      return tokens.length > 1 ? verifier.refuse('several_tokens') : verifier.judge(only)
    }
  }
}

const tokenIn = (authorization: string): string => authorization.slice('Bearer'.length).trim()
