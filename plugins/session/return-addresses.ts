import { createHash } from 'node:crypto'
import { monotonic } from '../../src/lib/clock.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import type { SharedStore } from '../../src/lib/contracts/store.ts'

interface Entry {
  readonly text: string
  /** By the monotonic clock. */
  readonly expiresAt: number
}

/** A message between workers: an address and its lifetime in milliseconds. */
interface AddressMessage {
  readonly id: string
  readonly text: string
  readonly ms: number
}

const TOPIC = 'return address'

// Beyond this number the oldest address is dropped, and its log-in returns to "/".
const MAX_ADDRESSES = 5000

/** Return addresses that are too long for the state of a log-in, by their hash. */
export class ReturnAddresses {
  readonly #entries = new Map<string, Entry>()
  readonly #shared: SharedStore | null
  readonly #peers: Peers | null
  readonly #leave: () => void

  /** Uses the shared store if there is one, else memory, replicated among workers. */
  constructor(shared: SharedStore | null, peers: Peers | null) {
    this.#shared = shared
    this.#peers = shared === null ? peers : null
    this.#leave =
      this.#peers?.join<AddressMessage>(TOPIC, {
        receive: (message) => this.#put(message),
        snapshot: () => {
          const now = monotonic()
          return [...this.#entries].map(([id, { text, expiresAt }]) => ({ id, text, ms: expiresAt - now }))
        }
      }) ?? (() => {})
  }

  /** Stores an address for `ms` milliseconds and returns its id. */
  async save(text: string, ms: number): Promise<string> {
    const id = createHash('sha256').update(text).digest('base64url').slice(0, 22)
    if (this.#shared !== null) await this.#shared.call('SET', this.#redisKey(id), text, 'PX', ms)
    else {
      this.#put({ id, text, ms })
      await this.#peers?.broadcast(TOPIC, { id, text, ms } satisfies AddressMessage)
    }
    return id
  }

  /** Returns the address of an id; undefined if it has expired. */
  async find(id: string): Promise<string | undefined> {
    if (this.#shared !== null)
      return ((await this.#shared.call('GET', this.#redisKey(id))) as string | null) ?? undefined
    const entry = this.#entries.get(id)
    return entry === undefined || entry.expiresAt <= monotonic() ? undefined : entry.text
  }

  /** Stops listening to the other workers. */
  close(): void {
    this.#leave()
  }

  #put({ id, text, ms }: AddressMessage): void {
    this.#entries.delete(id)
    this.#entries.set(id, { text, expiresAt: monotonic() + ms })
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MAX_ADDRESSES && oldest !== undefined) this.#entries.delete(oldest)
  }

  #redisKey(id: string): string {
    return `${this.#shared?.prefix ?? ''}return:${id}`
  }
}
