import { createSecretKey, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult
} from 'jose'
import type { Caller } from '../../../src/lib/caller.ts'
import { monotonic, wall } from '../../../src/lib/clock.ts'
import type { AcceptedIssuer, Simulation } from '../../../src/lib/contracts/simulation.ts'
import { loggableUrl } from '../../../src/lib/http/loggable-url.ts'
import { duration } from '../../../src/lib/units.ts'
import { backChannelTo } from '../back-channel.ts'
import { type ClaimNames, claimsToProfile, textIn } from '../claims.ts'
import { WrongCredential } from '../strategies/strategy.ts'
import { authUnavailable } from '../unavailable.ts'
import { readKeySet } from './key-set.ts'
import { type KeyPlace, keyFetcher, placeOfKeys } from './key-source.ts'
import type { JwtOptions } from './options.ts'
import { KeysNotFetched, RemoteKeys } from './remote-keys.ts'
import {
  hasDuplicateKeys,
  isCompact,
  namesIn,
  reasonOf,
  verifyWithAnyKey,
  withEd25519Aliases
} from './token.ts'

const MAX_TOKEN_LENGTH = 16_384
const MAX_CACHED = 10_000
// A client can invent any number of keys and issuers.
const MAX_LOGGED = 100
const LOGGED_FOR_MS = 600_000

// Other kinds of token, such as a logout token, do not authenticate a caller (RFC 8725 section 3.11).
const ACCEPTED_TYPES: readonly unknown[] = [
  undefined,
  'jwt',
  'at+jwt',
  'application/jwt',
  'application/at+jwt'
]

interface VerifiedToken {
  readonly caller: Caller
  readonly expiresAt: number
  readonly generation: number
}

/** Verifies tokens; a verified token is cached until it expires or the keys change. */
export class Verifier {
  readonly #keys: Keys
  readonly #claims: ClaimNames
  readonly #log: FastifyBaseLogger
  readonly #leeway: number
  readonly #verifyOptions: JWTVerifyOptions
  readonly #cache = new Map<string, VerifiedToken>()
  readonly #logged = new Set<string>()
  #loggedSince = monotonic()

  constructor(keys: Keys, options: JwtOptions, log: FastifyBaseLogger) {
    this.#keys = keys
    this.#claims = options
    this.#log = log
    this.#leeway = Math.floor(duration(options.leeway) / 1000)
    this.#verifyOptions = {
      algorithms: withEd25519Aliases(options.algorithms),
      clockTolerance: this.#leeway,
      requiredClaims: ['exp'],
      ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
      ...(options.audience === undefined ? {} : { audience: options.audience as string | string[] })
    }
  }

  /** Returns the caller of a token, synchronously if it is cached; throws SP_ERR_AUTH_UNAVAILABLE if there are no keys. */
  verify(token: string): Caller | WrongCredential | Promise<Caller | WrongCredential> {
    if (token.length > MAX_TOKEN_LENGTH) return this.refuse('too_long')
    const digest = hash('sha256', token, 'base64url')
    const known = this.#cache.get(digest)
    if (known === undefined) return this.#verify(token, digest)
    if (known.generation === this.#keys.generation())
      return known.expiresAt > wall() ? known.caller : this.refuse('expired', token)
    this.#cache.delete(digest)
    return this.#verify(token, digest)
  }

  /** Makes the refusal of a token and logs its reason: at info once per reason, key and issuer, then at debug. */
  refuse(reason: string, token?: string): WrongCredential {
    const fields = { reason, ...(token === undefined ? {} : namesIn(token)) }
    const id = JSON.stringify(fields)
    // Clients choose the key and the issuer: made-up ones silence the others for a while only.
    if (monotonic() - this.#loggedSince > LOGGED_FOR_MS) {
      this.#logged.clear()
      this.#loggedSince = monotonic()
    }
    const isRepeated = this.#logged.has(id) || this.#logged.size >= MAX_LOGGED
    if (!isRepeated) this.#logged.add(id)
    this.#log[isRepeated ? 'debug' : 'info'](fields, 'token refused')
    return new WrongCredential(reason)
  }

  async #verify(token: string, digest: string): Promise<Caller | WrongCredential> {
    const generation = this.#keys.generation()
    if (!isCompact(token)) return this.refuse('malformed')
    try {
      const { payload, protectedHeader } = await this.#checkSignature(token)
      if (!ACCEPTED_TYPES.includes(protectedHeader.typ?.toLowerCase())) return this.refuse('type', token)
      if (hasDuplicateKeys(token)) return this.refuse('repeated_claim', token)
      if (payload.iat !== undefined && payload.iat > wall() / 1000 + this.#leeway)
        return this.refuse('issued_in_future', token)
      const caller = callerIn(payload, this.#claims)
      if (caller.id === '') return this.refuse('no_subject', token)
      if (generation !== undefined)
        this.#store(digest, { caller, expiresAt: this.#expiryOf(payload), generation })
      return caller
    } catch (error) {
      if (error instanceof KeysNotFetched) throw authUnavailable(5)
      return this.refuse(reasonOf(error), token)
    }
  }

  /** Verifies a signature; if no cached key matches, fetches the keys again and retries once. */
  async #checkSignature(token: string): Promise<JWTVerifyResult> {
    const options = { ...this.#verifyOptions, currentDate: new Date(wall()) }
    try {
      return await verifyWithAnyKey(this.#keys.find, token, options)
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      if ((await this.#keys.refresh?.()) !== true) throw error
      return verifyWithAnyKey(this.#keys.find, token, options)
    }
  }

  #expiryOf({ exp = 0 }: JWTPayload): number {
    return (exp + this.#leeway) * 1000
  }

  #store(digest: string, verified: VerifiedToken): void {
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value as string)
    this.#cache.set(digest, verified)
  }
}

interface Keys {
  readonly find: JWTVerifyGetKey
  /** Changes with the keys; undefined if they have to be fetched first. */
  generation(): number | undefined
  /** Fetches the keys again; resolves to whether they have changed. */
  refresh?(): Promise<boolean>
}

/** Returns the verifier for some options; routes and reloads with equal options share it. */
export function verifierFor(app: FastifyInstance, options: JwtOptions): Verifier {
  const { keys, secret } = options
  app.simulation?.onIssuer(acceptedIssuer(options))
  const file = keys === undefined ? '' : readFileSync(keys, 'utf8')
  const remote = keys === undefined && secret === undefined ? remoteKeysFor(app, options) : undefined
  // A hash, since the options may hold a secret.
  const id = hash('sha256', JSON.stringify([options, file, remote?.id]))
  const verifierWith = (keys: Keys): Verifier =>
    app.resources.lease(app, `auth jwt ${id}`, () => new Verifier(keys, options, app.log))
  if (remote !== undefined) return verifierWith(remote.keys)
  if (secret === undefined) return verifierWith({ find: findIn(file, app.simulation), generation: () => 0 })
  const key = createSecretKey(Buffer.from(secret))
  return verifierWith({ find: async () => key, generation: () => 0 })
}

/** Returns how to find a key in a file; in a simulation its own keys are there, too. */
function findIn(file: string, simulation: Simulation | null): JWTVerifyGetKey {
  const keySet = simulation?.keySet
  if (keySet === undefined) return readKeySet(file).find
  return async (header, token) => {
    const all = [file, await keySet()].flatMap((text) => (JSON.parse(text) as { keys: unknown[] }).keys)
    return readKeySet(JSON.stringify({ keys: all })).find(header, token)
  }
}

/** Returns the keys that an issuer publishes, and an id that changes with where they are. */
function remoteKeysFor(
  app: FastifyInstance,
  { issuer, jwks }: JwtOptions
): { readonly keys: RemoteKeys; readonly id: string } {
  const place = placeOfKeys(jwks, issuer)
  const back = backChannelTo(app, { upstream: place.upstream, issuer })
  const id = JSON.stringify([back.id, place])
  const fetchKeys = app.simulation?.keySet ?? keyFetcher(back.channel, place)
  const keys = app.resources.lease(
    app,
    `auth jwks ${id}`,
    () => new RemoteKeys(fetchKeys, aboutKeys(place), app.log)
  )
  app.simulation?.onRenew(() => keys.forget())
  return { keys, id }
}

/** Returns what a token for some options needs, for a simulation. */
const acceptedIssuer = ({ secret, issuer, audience, ...rest }: JwtOptions): AcceptedIssuer => ({
  ...rest,
  issuer,
  audience: [audience].flat()[0],
  keys: secret === undefined ? 'keySet' : { secret }
})

const aboutKeys = ({ url, issuer, upstream }: KeyPlace): object => ({
  ...(upstream === undefined ? {} : { upstream }),
  ...(url === undefined
    ? { issuer: issuer === undefined ? undefined : loggableUrl(issuer) }
    : { url: loggableUrl(url) })
})

const callerIn = (claims: JWTPayload, claimNames: ClaimNames): Caller => ({
  id: textIn(claims, 'sub', 'client_id', 'azp') ?? '',
  ...(typeof claims.iss === 'string' ? { issuer: claims.iss } : {}),
  ...claimsToProfile(claims, claimNames),
  claims,
  by: 'jwt'
})
