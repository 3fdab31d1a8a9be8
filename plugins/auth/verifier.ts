import { createSecretKey, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify
} from 'jose'
import { visit } from 'jsonc-parser'
import { createError } from '../../src/kit/index.ts'
import type { Caller } from '../../src/lib/caller.ts'
import { wall } from '../../src/lib/clock.ts'
import { withHeaders } from '../../src/lib/refusals.ts'
import { isObject } from '../../src/lib/schema.ts'
import { duration } from '../../src/lib/units.ts'
import { claimsToProfile, textIn } from './claims.ts'
import { KeysAway, RemoteKeys } from './jwks.ts'
import { readKeySet } from './key-set.ts'
import type { JwtOptions } from './strategies/jwt.ts'
import { WrongCredential } from './strategies/strategy.ts'

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
  readonly #log: FastifyBaseLogger
  readonly #leeway: number
  readonly #options: JWTVerifyOptions
  readonly #right = new Map<string, Right>()
  readonly #logged = new Set<string>()

  constructor(keys: Keys, said: JwtOptions, log: FastifyBaseLogger) {
    this.#keys = keys
    this.#said = said
    this.#log = log
    this.#leeway = Math.floor(duration(said.leeway) / 1000)
    this.#options = {
      algorithms: withBothNames(said.algorithms),
      clockTolerance: this.#leeway,
      requiredClaims: ['exp'],
      ...(said.issuer === undefined ? {} : { issuer: said.issuer }),
      ...(said.audience === undefined ? {} : { audience: said.audience as string | string[] })
    }
  }

  /** Finds the caller of a token, at once where it is known; throws SP_ERR_AUTH_UNAVAILABLE where there are no keys. */
  judge(token: string): Caller | WrongCredential | Promise<Caller | WrongCredential> {
    if (token.length > LONGEST) return this.refuse('too_long')
    const digest = hash('sha256', token, 'base64url')
    const known = this.#right.get(digest)
    if (known === undefined) return this.#verify(token, digest)
    if (known.generation === this.#keys.generation())
      return known.ends > wall() ? known.caller : this.refuse('expired', token)
    this.#right.delete(digest)
    return this.#verify(token, digest)
  }

  /** Refuses a token: the log learns why, at "info" once for each reason, key and issuer; the client does not. */
  refuse(reason: string, token?: string): WrongCredential {
    const fields = { reason, ...(token === undefined ? {} : namesIn(token)) }
    const known = JSON.stringify(fields)
    const again = this.#logged.has(known) || this.#logged.size >= MOST_LOGGED
    if (!again) this.#logged.add(known)
    this.#log[again ? 'debug' : 'info'](fields, 'token refused')
    return new WrongCredential(reason)
  }

  async #verify(token: string, digest: string): Promise<Caller | WrongCredential> {
    const generation = this.#keys.generation()
    if (!isCompact(token)) return this.refuse('malformed')
    try {
      const { payload, protectedHeader } = await this.#verified(token)
      if (!KINDS.includes(protectedHeader.typ?.toLowerCase())) return this.refuse('type', token)
      if (saysTwice(token)) return this.refuse('repeated_claim', token)
      // What was made in the future was made by nobody who can be trusted with a clock.
      if (payload.iat !== undefined && payload.iat > wall() / 1000 + this.#leeway)
        return this.refuse('issued_in_future', token)
      const caller = callerIn(payload, this.#said)
      if (caller.id === '') return this.refuse('no_subject', token)
      if (generation !== undefined) this.#remember(digest, { caller, ends: this.#endOf(payload), generation })
      return caller
    } catch (error) {
      if (error instanceof KeysAway) throw withHeaders(new KeysUnknown(), { 'retry-after': '5' })
      return this.refuse(reasonOf(error), token)
    }
  }

  /** Verifies a token, by new keys as well where its signature is by none of those that are known. */
  async #verified(token: string): Promise<JWTVerifyResult> {
    try {
      return await signedBy(this.#keys.find, token, this.#options)
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      if ((await this.#keys.renew?.()) !== true) throw error
      return signedBy(this.#keys.find, token, this.#options)
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

// How many refusals are logged at "info": a client may make up as many keys and issuers as it likes.
const MOST_LOGGED = 100
// Characters of a name that a token brings.
const LONGEST_NAME = 100

/** Reads from a token what its refusal is logged with: names, which prove nothing, and never the token. */
function namesIn(token: string): { kid?: string; issuer?: string } {
  const [header = '', payload = ''] = token.split('.')
  const { kid } = objectIn(header)
  const { iss } = objectIn(payload)
  return {
    ...(typeof kid === 'string' ? { kid: kid.slice(0, LONGEST_NAME) } : {}),
    ...(typeof iss === 'string' ? { issuer: iss.slice(0, LONGEST_NAME) } : {})
  }
}

function objectIn(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

/** Tells whether a token is written as a JWS is, with no character that a lenient reader would drop (RFC 7515 section 2). */
function isCompact(token: string): boolean {
  const parts = token.split('.')
  return (
    parts.length === 3 && parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
  )
}

/** Lists the algorithms that count: Ed25519 goes by two names (RFC 9864). */
const withBothNames = (algorithms: readonly string[]): string[] =>
  algorithms.some((name) => ED25519.has(name)) ? [...new Set([...algorithms, ...ED25519])] : [...algorithms]

const ED25519: ReadonlySet<string> = new Set(['EdDSA', 'Ed25519'])

/** Names why a token is wrong, in one of a few words. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS.get(error.claim) ?? 'claim'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm'
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_key'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  return 'malformed'
}

const CLAIMS: ReadonlyMap<string, string> = new Map([
  ['iss', 'issuer'],
  ['aud', 'audience'],
  ['exp', 'no_expiry'],
  ['nbf', 'not_yet_valid']
])

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
    throw new errors.JWSSignatureVerificationFailed()
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
  /** Looks for other keys; tells whether there are any. */
  renew?(): Promise<boolean>
}

/** Finds what verifies the tokens that some options describe, the same for all routes and over reloads. */
export function verifierFor(app: FastifyInstance, said: JwtOptions): Verifier {
  const { jwks, keys, secret } = said
  const file = keys === undefined ? '' : readFileSync(keys, 'utf8')
  // The key says all that it depends on, and no secret.
  const id = hash('sha256', JSON.stringify([said, file]))
  const made = (keys: Keys): Verifier =>
    app.resources.lease(app, `auth jwt ${id}`, () => new Verifier(keys, said, app.log))
  if (jwks !== undefined)
    return made(app.resources.lease(app, `auth jwks ${jwks}`, () => new RemoteKeys(jwks, app.log)))
  if (secret === undefined) return made({ find: readKeySet(file).find, generation: () => 0 })
  const key = createSecretKey(Buffer.from(secret))
  return made({ find: async () => key, generation: () => 0 })
}

const callerIn = (claims: JWTPayload, said: JwtOptions): Caller => ({
  id: textIn(claims, 'sub', 'client_id', 'azp') ?? '',
  ...claimsToProfile(claims, said),
  claims,
  by: 'jwt'
})
