import { createSecretKey, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify
} from 'jose'
import { visit } from 'jsonc-parser'
import { type Caller, createError, duration, withHeaders } from '../../src/kit/index.ts'
import { textIn, toldBy } from './claims.ts'
import { KeysAway, RemoteKeys } from './jwks.ts'
import type { JwtOptions } from './jwt.ts'

/** The provider of the keys does not answer, and none are known. */
export const KeysUnknown = createError(
  'SP_ERR_AUTH_UNAVAILABLE',
  'The service that knows who you are does not answer',
  503
)

// The longest token that is looked at, in characters, and how many that were right are remembered.
const LONGEST = 16_384
const MOST = 10_000

// A token of another kind, such as one that ends a session, says nothing of who may pass (RFC 8725 section 3.11).
const KINDS: readonly unknown[] = [undefined, 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']

interface Right {
  readonly caller: Caller
  readonly ends: number
  readonly generation: number
}

/** Tells whose a token is; one that was right is remembered until it ends, or the keys change. */
export class Verifier {
  readonly #keys: Keys
  readonly #said: JwtOptions
  readonly #leeway: number
  readonly #options: JWTVerifyOptions
  readonly #right = new Map<string, Right>()

  constructor(keys: Keys, said: JwtOptions) {
    this.#keys = keys
    this.#said = said
    this.#leeway = Math.floor(duration(said.leeway) / 1000)
    this.#options = {
      algorithms: [...said.algorithms],
      clockTolerance: this.#leeway,
      requiredClaims: ['exp'],
      ...(said.issuer === undefined ? {} : { issuer: said.issuer }),
      ...(said.audience === undefined ? {} : { audience: said.audience as string | string[] })
    }
  }

  /** Finds the caller of a token, at once where it is known; throws SP_ERR_AUTH_UNAVAILABLE where there are no keys. */
  judge(token: string): Caller | 'wrong' | Promise<Caller | 'wrong'> {
    if (token.length > LONGEST) return 'wrong'
    const digest = hash('sha256', token, 'base64url')
    const known = this.#right.get(digest)
    if (known === undefined) return this.#verify(token, digest)
    if (known.generation === this.#keys.generation()) return known.ends > Date.now() ? known.caller : 'wrong'
    this.#right.delete(digest)
    return this.#verify(token, digest)
  }

  async #verify(token: string, digest: string): Promise<Caller | 'wrong'> {
    const generation = this.#keys.generation()
    try {
      const { payload, protectedHeader } = await signedBy(this.#keys.find, token, this.#options)
      if (!KINDS.includes(protectedHeader.typ?.toLowerCase()) || saysTwice(token)) return 'wrong'
      // What was made in the future was made by nobody who can be trusted with a clock.
      if (payload.iat !== undefined && payload.iat > Date.now() / 1000 + this.#leeway) return 'wrong'
      const caller = callerIn(payload, this.#said)
      if (caller.id === '') return 'wrong'
      if (generation !== undefined) this.#remember(digest, { caller, ends: this.#endOf(payload), generation })
      return caller
    } catch (error) {
      if (error instanceof KeysAway) throw withHeaders(new KeysUnknown(), { 'retry-after': '5' })
      return 'wrong'
    }
  }

  #endOf({ exp = 0 }: JWTPayload): number {
    return (exp + this.#leeway) * 1000
  }

  #remember(digest: string, right: Right): void {
    if (this.#right.size >= MOST) this.#right.delete(this.#right.keys().next().value as string)
    this.#right.set(digest, right)
  }
}

/** Verifies a token; one that names no key is tried with each of those that it may mean. */
async function signedBy(
  find: JWTVerifyGetKey,
  token: string,
  options: JWTVerifyOptions
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, find, options)
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) {
      try {
        return await jwtVerify(token, key, options)
      } catch (failed) {
        if (!(failed instanceof errors.JWSSignatureVerificationFailed)) throw failed
      }
    }
    throw error
  }
}

/** Tells whether a token says something twice: who reads the first and who reads the last would see two callers. */
function saysTwice(token: string): boolean {
  let twice = false
  for (const part of token.split('.', 2)) {
    const open: Set<string>[] = []
    visit(Buffer.from(part, 'base64url').toString('utf8'), {
      onObjectBegin: () => void open.push(new Set()),
      onObjectEnd: () => void open.pop(),
      onObjectProperty(name) {
        const known = open.at(-1)
        twice ||= known?.has(name) === true
        known?.add(name)
      }
    })
  }
  return twice
}

interface Keys {
  readonly find: JWTVerifyGetKey
  generation(): number | undefined
}

/** Finds what verifies the tokens that some options describe, the same for all routes and over reloads. */
export function verifierFor(app: FastifyInstance, said: JwtOptions): Verifier {
  const { jwks, keys, secret } = said
  const file = keys === undefined ? '' : readFileSync(keys, 'utf8')
  // The key says all that it depends on, and no secret.
  const id = hash('sha256', JSON.stringify([said, file]))
  const made = (keys: Keys): Verifier => app.keep.lease(app, `auth jwt ${id}`, () => new Verifier(keys, said))
  if (jwks !== undefined)
    return made(app.keep.lease(app, `auth jwks ${jwks}`, () => new RemoteKeys(jwks, app.log)))
  if (secret === undefined)
    return made({ find: createLocalJWKSet(JSON.parse(file) as JSONWebKeySet), generation: () => 0 })
  const key = createSecretKey(Buffer.from(secret))
  return made({ find: async () => key, generation: () => 0 })
}

const callerIn = (claims: JWTPayload, said: JwtOptions): Caller => ({
  id: textIn(claims, 'sub', 'client_id', 'azp') ?? '',
  ...toldBy(claims, said),
  claims,
  by: 'jwt'
})
