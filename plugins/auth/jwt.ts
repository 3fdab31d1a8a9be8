import { createSecretKey, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  createLocalJWKSet,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify
} from 'jose'
import { visit } from 'jsonc-parser'
import {
  type Caller,
  createError,
  Duration,
  duration,
  File,
  isObject,
  type OptionFault,
  SAYS,
  type Static,
  Type,
  withHeaders
} from '../../src/kit/index.ts'
import { claimNames, textIn, toldBy } from './claims.ts'
import { KeysAway, RemoteKeys } from './jwks.ts'
import { dropParameter, parametersIn, readerOf, type Way } from './ways.ts'

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'],
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
        [SAYS]: 'a URL such as "https://accounts.example.com/jwks.json"',
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
        [SAYS]: 'a secret of 32 characters or more',
        description:
          'A secret that the gateway shares with who makes the tokens; "algorithms" names HS256 or its like.'
      })
    ),
    algorithms: Type.Array(Type.Unsafe<string>({ type: 'string', enum: ALGORITHMS }), {
      default: ['RS256', 'ES256', 'EdDSA'],
      minItems: 1,
      description: 'The signatures that count; all others are refused, whatever a token says of itself.'
    }),
    ...claimNames,
    from: Type.Array(
      Type.String({
        pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
        [SAYS]: '"header:NAME" or "query:NAME"'
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

/** The provider of the keys does not answer, and none are known. */
const KeysUnknown = createError(
  'SP_ERR_AUTH_UNAVAILABLE',
  'The service that knows who you are does not answer',
  503
)

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
  if (said.jwks?.startsWith('http:') === true && !/^http:\/\/(localhost|127\.|\[::1\])/.test(said.jwks))
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

function keysFault(file: string): string | undefined {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (!isObject(read) || !Array.isArray(read['keys']) || read['keys'].length === 0)
      return `The file ${file} has no "keys"; a JSON Web Key Set is { "keys": [...] }`
    createLocalJWKSet(read as unknown as JSONWebKeySet)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof SyntaxError) return `The file ${file} is not JSON`
    return code?.startsWith('E') === true && !code.startsWith('ERR_')
      ? `The file ${file} can't be read (${code})`
      : `The file ${file} has a key that nobody can use`
  }
}

// The longest token that is looked at, in characters, and how many that were right are remembered.
const LONGEST = 16_384
const MOST = 10_000

const KINDS = new Set(['jwt', 'at+jwt', 'application/at+jwt'])

/** Tells whether a claim is said twice: who reads the first and who reads the last would see two callers. */
function saysTwice(token: string): boolean {
  const text = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')
  const open: Set<string>[] = []
  let twice = false
  visit(text, {
    onObjectBegin: () => void open.push(new Set()),
    onObjectEnd: () => void open.pop(),
    onObjectProperty(name) {
      const known = open.at(-1)
      twice ||= known?.has(name) === true
      known?.add(name)
    }
  })
  return twice
}

/** Lets in whoever has a token that was signed by one of the keys; one that was right is remembered until it ends, or the keys change. */
export function jwtWay(app: FastifyInstance, said: JwtOptions): Way {
  const readers = said.from.map((place) =>
    place.toLowerCase() === 'header:authorization' ? bearerIn : readerOf(place)
  )
  const parameters = parametersIn(said.from)
  const leeway = Math.floor(duration(said.leeway) / 1000)
  const options: JWTVerifyOptions = {
    algorithms: [...said.algorithms],
    clockTolerance: leeway,
    requiredClaims: ['exp'],
    ...(said.issuer === undefined ? {} : { issuer: said.issuer }),
    ...(said.audience === undefined ? {} : { audience: said.audience as string | string[] })
  }
  const keys = keysFor(app, said)
  const right = new Map<string, { caller: Caller; ends: number; generation: number }>()

  async function verify(token: string, digest: string): Promise<Caller | 'wrong'> {
    const generation = keys.generation()
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keys.find, options)
      const { exp = 0, iat } = payload
      // A token of another kind, such as one that ends a session, says nothing of who may pass (RFC 8725 section 3.11).
      if (!KINDS.has((protectedHeader.typ ?? 'jwt').toLowerCase()) || saysTwice(token)) return 'wrong'
      // What was made in the future was made by nobody who can be trusted with a clock.
      if (iat !== undefined && iat > Date.now() / 1000 + leeway) return 'wrong'
      const caller = callerIn(payload, said)
      if (caller.id === '') return 'wrong'
      if (right.size >= MOST) right.delete(right.keys().next().value as string)
      right.set(digest, { caller, ends: (exp + leeway) * 1000, generation })
      return caller
    } catch (error) {
      if (error instanceof KeysAway) throw withHeaders(new KeysUnknown(), { 'retry-after': '5' })
      return 'wrong'
    }
  }

  function judge(token: string): Caller | 'wrong' | Promise<Caller | 'wrong'> {
    if (token.length > LONGEST) return 'wrong'
    const digest = hash('sha256', token, 'base64url')
    const known = right.get(digest)
    if (known === undefined) return verify(token, digest)
    if (known.generation === keys.generation()) return known.ends > Date.now() ? known.caller : 'wrong'
    right.delete(digest)
    return verify(token, digest)
  }

  return {
    name: 'jwt',
    scheme: 'Bearer',
    headers: said.from.flatMap((place) =>
      place.startsWith('header:') ? [place.slice(7).toLowerCase()] : []
    ),
    find(request) {
      const tokens = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      const [only] = tokens
      if (only === undefined) return null
      // Two tokens would be two callers: what the upstream reads nobody knows.
      return tokens.length > 1 ? 'wrong' : judge(only)
    }
  }
}

/** Reads the token of an Authorization header (RFC 6750 section 2.1); other schemes are other ways'. */
function bearerIn({ headers: { authorization } }: FastifyRequest): string[] {
  if (authorization === undefined || !/^bearer(\s|$)/i.test(authorization)) return []
  return [authorization.slice(6).trim()]
}

interface Keys {
  readonly find: JWTVerifyGetKey
  generation(): number
}

function keysFor(app: FastifyInstance, { jwks, keys, secret }: JwtOptions): Keys {
  if (jwks !== undefined) {
    const remote = app.keep.lease(app, `auth jwks ${jwks}`, () => new RemoteKeys(jwks, app.log))
    return { find: remote.find, generation: () => remote.generation }
  }
  if (secret !== undefined) {
    const key = createSecretKey(Buffer.from(secret))
    return { find: async () => key, generation: () => 0 }
  }
  return {
    find: createLocalJWKSet(JSON.parse(readFileSync(keys ?? '', 'utf8')) as JSONWebKeySet),
    generation: () => 0
  }
}

function callerIn(claims: Readonly<Record<string, unknown>>, said: JwtOptions): Caller {
  return { id: textIn(claims, 'sub', 'client_id', 'azp') ?? '', ...toldBy(claims, said), claims, by: 'jwt' }
}
