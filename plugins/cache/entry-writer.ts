import { monotonic } from '../../src/lib/clock.ts'
import type { CacheHead } from '../../src/lib/contracts/cache.ts'
import { etagOf } from '../../src/lib/http/etags.ts'
import { type CacheStore, type Entry, usefulFor } from './entry.ts'
import { fieldIn, storedFields } from './fields.ts'
import { secondaryKey } from './key.ts'
import type { CachePolicy } from './options.ts'
import type { PresentedRequest } from './presented-request.ts'
import { decideStorage, hasValidator, MAX_VARY, type Storage, type StorageRequest } from './storage.ts'

/** What of a request goes into the entry that its response becomes. */
export interface EntryContext {
  readonly request: PresentedRequest
  readonly storageRequest: StorageRequest
  readonly policy: CachePolicy
  readonly store: CacheStore
  readonly primary: string
  /** The headers that entries of this key are known to vary by. */
  readonly knownVary: readonly string[]
  /** The newest purge that was known when the request was sent. */
  readonly stamp: number
  readonly url: string
  /** Returns the slots by which a response can be purged. */
  slotsOf(fields: readonly string[]): readonly number[]
}

/** A response that is to be stored, before its body has come. */
export interface PendingEntry {
  readonly entry: Omit<Entry, 'body' | 'ownEtag'>
  readonly vary: readonly string[]
  /** The length that its head says; undefined for none. */
  readonly length: number | undefined
}

/** Decides on the response to one request, and stores it. */
export class EntryWriter {
  readonly #context: EntryContext
  readonly #requestedAt: number

  /** Makes one for a request that is sent now, by the wall clock. */
  constructor(context: EntryContext, now: number) {
    this.#context = context
    this.#requestedAt = now
  }

  /** Prepares to store a response that came now, by the wall clock; returns the reason where it is not stored. */
  prepare(response: CacheHead, now: number): PendingEntry | string {
    const { storageRequest, policy, stamp, url, slotsOf } = this.#context
    const exchange = { requestedAt: this.#requestedAt, receivedAt: now }
    const storage = decideStorage({ response, request: storageRequest, policy, exchange })
    if (typeof storage === 'string') return storage
    const declared = fieldIn(response.fields, 'content-length')
    const length = declared === undefined ? undefined : Number(declared)
    if (length !== undefined && length > policy.maxEntry) return 'too-large'
    const vary = this.#varyOf(storage)
    if (vary === undefined) return 'vary'
    const { freshFor, age, staleWhileRevalidate, staleIfError } = storage
    const entry = {
      status: response.status,
      fields: storedFields(response.fields, now, this.#context.request.hidden),
      source: response.source,
      storedAt: monotonic(),
      age,
      freshFor,
      staleWhileRevalidate,
      staleIfError,
      stamp,
      url,
      slots: slotsOf(response.fields)
    }
    return { entry, vary, length }
  }

  /** Stores a response with its body; one without a validator gets an ETag made of its bytes. */
  store({ entry, vary }: PendingEntry, body: Buffer): Entry {
    const ownEtag = !hasValidator(entry.fields)
    const fields = ownEtag ? [...entry.fields, 'etag', etagOf(body)] : entry.fields
    const whole = { ...entry, fields, body, ownEtag }
    const { store, primary } = this.#context
    const ttl = usefulFor(whole)
    if (vary.length > 0) store.set(primary, { vary }, ttl)
    store.set(this.keyFor(vary), whole, ttl)
    return whole
  }

  /** Deletes the stored response that the request was sent to revalidate. */
  delete(): void {
    const { store, knownVary } = this.#context
    store.delete(this.keyFor(knownVary))
  }

  /** Returns the key of the entry of this request, for responses that vary by some headers. */
  keyFor(vary: readonly string[]): string {
    const { primary, request } = this.#context
    return secondaryKey(primary, vary, request)
  }

  /** A response that varies by less than others of its key is chosen by what those vary by. */
  #varyOf({ vary }: Storage): string[] | undefined {
    const names = [...new Set([...this.#context.knownVary, ...vary])].toSorted()
    return names.length > MAX_VARY ? undefined : names
  }
}
