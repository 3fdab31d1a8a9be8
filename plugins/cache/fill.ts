import { type BufferBudget, Reservation } from '../../src/lib/buffers.ts'
import { monotonic, wall } from '../../src/lib/clock.ts'
import type { CacheAnswer, CacheFill, CacheHead, FillHead } from '../../src/lib/contracts/cache.ts'
import { STALE_IF_ERROR } from '../../src/lib/http/statuses.ts'
import { answerFrom } from './answer.ts'
import { type ForwardReason, writeCacheStatus } from './cache-status.ts'
import type { Flight } from './coalescing/flight.ts'
import { type Entry, freshness } from './entry.ts'
import { type EntryContext, EntryWriter, type PendingEntry } from './entry-writer.ts'
import { NOT_SENT, updatedFields } from './fields.ts'
import { CLIENT_CONDITIONS, revalidationFields } from './validators.ts'

/** What requests that wait share: a stored response, or one that is under way. */
export interface SharedHead {
  readonly response: Entry | PendingEntry
  readonly vary: readonly string[]
  /** The key of the leader's request among those that vary by these headers. */
  readonly key: string
}

/** What a fill needs to know, beside what goes into an entry. */
export interface FillContext extends EntryContext {
  readonly budget: BufferBudget
  readonly reason: ForwardReason
  /** The requests that wait for the response; undefined where none may. */
  readonly flight: Flight<SharedHead> | undefined
  /** The stored response that is revalidated; undefined for none. */
  readonly stale: Entry | undefined
  /** Whether it may take the place of an error. */
  readonly servesStale: boolean
}

/** Returns whether a response that is not stored says more than a stored one; errors of a server say nothing of it. */
const isNewer = (status: number): boolean => status < 500

/** A request whose response is stored and shared. */
export class Fill implements CacheFill {
  readonly removes: readonly string[] = CLIENT_CONDITIONS
  readonly sets: readonly string[]
  drained: (() => void) | undefined
  abandoned: (() => void) | undefined
  readonly #context: FillContext
  readonly #flight: Flight<SharedHead> | undefined
  readonly #writer: EntryWriter
  readonly #reservation: Reservation
  #pending: PendingEntry | undefined
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(context: FillContext) {
    const { flight, stale, budget } = context
    this.#context = context
    this.#writer = new EntryWriter(context, wall())
    this.#reservation = new Reservation(budget)
    this.sets = stale === undefined ? [] : revalidationFields(stale)
    this.#flight = flight
    if (flight === undefined) return
    flight.drained = () => this.drained?.()
    flight.abandoned = () => this.abandoned?.()
  }

  get keepsBody(): boolean {
    return this.#pending !== undefined
  }

  get isAwaited(): boolean {
    return this.#flight?.isAwaited === true
  }

  head(response: CacheHead): FillHead {
    const { stale, reason } = this.#context
    const { status } = response
    if (status === 304 && stale !== undefined)
      return { kind: 'stored', answer: this.#revalidated(stale, response) }
    const instead = STALE_IF_ERROR.has(status) ? this.#staleAnswer(status) : undefined
    if (instead !== undefined) return { kind: 'stored', answer: instead }
    const pending = this.#writer.prepare(response, wall())
    if (typeof pending === 'string') {
      this.#flight?.refuse()
      if (stale !== undefined && isNewer(status)) this.#writer.delete()
      return {
        kind: 'upstream',
        cacheStatus: writeCacheStatus({ fwd: reason, detail: pending }),
        removes: NOT_SENT
      }
    }
    this.#pending = pending
    if (pending.entry.freshFor > 0) this.#flight?.share(this.#shared(pending.vary, pending))
    else this.#flight?.refuse()
    return {
      kind: 'upstream',
      cacheStatus: writeCacheStatus({ fwd: reason, stored: true }),
      removes: NOT_SENT
    }
  }

  write(chunk: Buffer): boolean {
    if (this.#pending === undefined && !this.isAwaited) return true
    // The memory of the chunk belongs to the upstream's connection.
    const own = Buffer.from(chunk)
    if (this.#pending !== undefined) this.#keep(own)
    return this.#flight?.write(own) ?? true
  }

  end(): void {
    const pending = this.#pending
    if (pending?.length !== undefined && pending.length !== this.#bytes && pending.entry.status !== 204) {
      this.fail()
      return
    }
    if (pending !== undefined) this.#writer.store(pending, Buffer.concat(this.#chunks))
    this.#flight?.end()
    this.#stopKeeping()
  }

  fail(): void {
    this.#flight?.fail()
    this.#stopKeeping()
  }

  discard(status: number): void {
    this.#flight?.refuse()
    if (this.#context.stale !== undefined && isNewer(status)) this.#writer.delete()
    this.fail()
  }

  staleIfError(): CacheAnswer | undefined {
    return this.#staleAnswer(undefined)
  }

  /** Takes over what a 304 says of a stored response, which answers the client (RFC 9111 section 4.3.4). */
  #revalidated(stale: Entry, response: CacheHead): CacheAnswer {
    const { request, reason, slotsOf } = this.#context
    const now = wall()
    const { status: storedStatus, source } = stale
    const head = { status: storedStatus, fields: updatedFields(stale.fields, response.fields, now), source }
    const pending = this.#writer.prepare(head, now)
    const status = { fwd: reason, fwdStatus: 304 }
    if (typeof pending === 'string') {
      this.#flight?.refuse()
      this.#writer.delete()
      const renewed = { ...stale, ...head, age: 0, storedAt: monotonic() }
      return answerFrom(renewed, request, writeCacheStatus({ ...status, detail: pending }))
    }
    const slots = [...new Set([...stale.slots, ...slotsOf(response.fields)])]
    const entry = this.#writer.store({ ...pending, entry: { ...pending.entry, slots } }, stale.body)
    if (entry.freshFor > 0) this.#shareEntry(entry, pending.vary)
    else this.#flight?.refuse()
    return answerFrom(entry, request, writeCacheStatus({ ...status, stored: true }))
  }

  #staleAnswer(fwdStatus: number | undefined): CacheAnswer | undefined {
    const { stale, servesStale, reason, request, knownVary } = this.#context
    if (stale === undefined || !servesStale) return undefined
    this.#shareEntry(stale, knownVary)
    const status = { fwd: reason, ttl: freshness(stale), detail: 'stale-if-error' }
    const withStatus = fwdStatus === undefined ? status : { ...status, fwdStatus }
    return answerFrom(stale, request, writeCacheStatus(withStatus))
  }

  #shareEntry(entry: Entry, vary: readonly string[]): void {
    this.#flight?.share(this.#shared(vary, entry))
    this.#flight?.end()
  }

  #shared(vary: readonly string[], response: Entry | PendingEntry): SharedHead {
    return { response, vary, key: this.#writer.keyFor(vary) }
  }

  /** Keeps a part of the body, unless the body is too large or the process holds enough. */
  #keep(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes <= this.#context.policy.maxEntry && this.#reservation.add(chunk.length)) {
      this.#chunks.push(chunk)
      return
    }
    this.#flight?.keepWindow()
    this.#stopKeeping()
  }

  #stopKeeping(): void {
    this.#pending = undefined
    this.#chunks = []
    // Those that wait hold what they have not read yet.
    if (this.#flight === undefined) this.#reservation.release()
    else this.#flight.whenUnused(() => this.#reservation.release())
  }
}
