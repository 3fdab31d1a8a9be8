import type { FastifyBaseLogger } from 'fastify'
import { errors, type JWTVerifyGetKey } from 'jose'
import { monotonic } from '../../../src/lib/clock.ts'
import { type KeySet, readKeySet } from './key-set.ts'
import { type FetchKeys, UnexpectedResponse } from './key-source.ts'

// The age at which keys are refreshed in the background, and the age at which a request waits for it.
const REFRESH_AGE_MS = 600_000
const MAX_AGE_MS = 2 * REFRESH_AGE_MS
// The pause after a failed fetch or a fetch for an unknown key, and after a failed fetch without cached keys.
const COOL_DOWN_MS = 30_000
const FIRST_RETRY_MS = 1000

/** The keys could not be fetched, and none are cached. */
export class KeysNotFetched extends Error {}

/** A remote JSON Web Key Set (RFC 7517): fetched on first use, refreshed in the background, kept while the provider is unavailable, fetched again when a token names an unknown key. */
export class RemoteKeys {
  readonly #fetchKeys: FetchKeys
  readonly #about: object
  readonly #log: FastifyBaseLogger
  #keys: KeySet | undefined
  #text = ''
  #generation = 0
  #fetching: Promise<void> | undefined
  // By the monotonic clock: the next background refresh, the end of MAX_AGE_MS, and the next fetch for an unknown key.
  #refreshAt = 0
  #staleAt = 0
  #unknownKeyAt = 0
  #isFailing = false

  /** `about` is for the log. */
  constructor(fetchKeys: FetchKeys, about: object, log: FastifyBaseLogger) {
    this.#fetchKeys = fetchKeys
    this.#about = about
    this.#log = log
  }

  /** Returns a number that changes with the keys; undefined if they are too old to use without a fetch. Starts a background refresh when one is due. */
  generation(): number | undefined {
    const now = monotonic()
    // Checked with every request, so that a revoked key is noticed even if no new token arrives.
    if (this.#keys !== undefined && now >= this.#refreshAt) void this.#fetch()
    return now >= this.#staleAt ? undefined : this.#generation
  }

  /** Finds the key of a token; throws KeysNotFetched, or jose's JWKSNoMatchingKey. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const isFirst = this.#keys === undefined
    const due = isFirst ? this.#refreshAt : this.#staleAt
    if (monotonic() >= due || (isFirst && this.#fetching !== undefined)) await this.#fetch()
    if (this.#keys === undefined) throw new KeysNotFetched()
    const before = this.#generation
    try {
      return await this.#keys.find(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#isUnknown(header.kid)) throw error
      await this.#fetchForUnknownKey()
      if (before === this.#generation) throw error
      return this.#keys.find(header, token)
    }
  }

  /** Fetches the keys again after a signature mismatch, since a provider may rotate its key under the same id or without one; resolves to whether they have changed. */
  async refresh(): Promise<boolean> {
    const before = this.#generation
    await this.#fetchForUnknownKey()
    return before !== this.#generation
  }

  /** Returns whether a fetch may bring the key: not if the set has one of this id already, for another use. */
  #isUnknown(kid: unknown): boolean {
    return kid === undefined || (typeof kid === 'string' && this.#keys?.has(kid) !== true)
  }

  /** Forgets the keys, and when they may be fetched. */
  forget(): void {
    this.#keys = undefined
    this.#text = ''
    this.#refreshAt = 0
    this.#staleAt = 0
    this.#unknownKeyAt = 0
    this.#isFailing = false
  }

  /** Fetches the keys for an unknown one, at most once per cool-down; the first fetch is immediate, so that a new key works at once. */
  async #fetchForUnknownKey(): Promise<void> {
    if (this.#fetching === undefined) {
      if (monotonic() < this.#unknownKeyAt) return
      this.#unknownKeyAt = monotonic() + COOL_DOWN_MS
    }
    await this.#fetch()
  }

  /** Fetches the keys; concurrent calls share one request. A failure is logged, not thrown. */
  #fetch(): Promise<void> {
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #load(): Promise<void> {
    try {
      this.#update(await this.#fetchKeys())
      this.#refreshAt = monotonic() + REFRESH_AGE_MS
      if (this.#isFailing) this.#log.info('jwks fetch recovered')
      this.#isFailing = false
    } catch (error) {
      this.#refreshAt = monotonic() + (this.#keys === undefined ? FIRST_RETRY_MS : COOL_DOWN_MS)
      if (!this.#isFailing) this.#log.warn({ ...this.#about, cause: causeOf(error) }, 'jwks fetch failed')
      this.#isFailing = true
    }
    this.#staleAt = monotonic() + MAX_AGE_MS
  }

  #update(text: string): void {
    if (text === this.#text) return
    const keys = readKeySet(text)
    // An empty set would refuse every token, so the cached keys stay.
    if (keys.usable === 0) throw new UnexpectedResponse('expected keys that can verify signatures, got none')
    if (keys.ignored > 0)
      this.#log.warn({ ...this.#about, keys: keys.ignored }, 'jwks keys ignored: weak or unreadable')
    this.#keys = keys
    this.#text = text
    this.#generation++
  }
}

const causeOf = (error: unknown): string =>
  error instanceof UnexpectedResponse
    ? error.message
    : ((error as { code?: string }).code ?? (error as Error).name)
