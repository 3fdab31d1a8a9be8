import { createHash } from 'node:crypto'
import { monotonic } from '../../src/lib/clock.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import type { SharedStore } from '../../src/lib/contracts/store.ts'

interface Entry {
  readonly text: string
  readonly ends: number
}

/** What one worker tells the others of an address. */
interface News {
  readonly id: string
  readonly text: string
  readonly ms: number
}

const TOPIC = 'return address'

// How many addresses a process keeps; beyond that the oldest is lost, and its log-in ends at "/".
const MOST = 5000

/** Addresses that are too long for the browser to carry while somebody logs in, by a hash of what they are. */
export class ReturnAddresses {
  readonly #entries = new Map<string, Entry>()
  readonly #shared: SharedStore | null
  readonly #peers: Peers | null
  readonly #leave: () => void

  /** Keeps them in the store that gateways share, else in memory, where the other workers learn of them. */
  constructor(shared: SharedStore | null, peers: Peers | null) {
    this.#shared = shared
    this.#peers = shared === null ? peers : null
    this.#leave =
      this.#peers?.join<News>(TOPIC, {
        take: (news) => this.#put(news),
        all: () => {
          const now = monotonic()
          return [...this.#entries].map(([id, { text, ends }]) => ({ id, text, ms: ends - now }))
        }
      }) ?? (() => {})
  }

  /** Keeps an address for some milliseconds and returns its id. */
  async keep(text: string, ms: number): Promise<string> {
    const id = createHash('sha256').update(text).digest('base64url').slice(0, 22)
    if (this.#shared !== null) await this.#shared.call('SET', this.#at(id), text, 'PX', ms)
    else {
      this.#put({ id, text, ms })
      await this.#peers?.tell(TOPIC, { id, text, ms } satisfies News)
    }
    return id
  }

  /** Finds the address of an id; undefined once it is too old. */
  async find(id: string): Promise<string | undefined> {
    if (this.#shared !== null)
      return ((await this.#shared.call('GET', this.#at(id))) as string | null) ?? undefined
    const entry = this.#entries.get(id)
    return entry === undefined || entry.ends <= monotonic() ? undefined : entry.text
  }

  /** Stops listening to the other workers. */
  close(): void {
    this.#leave()
  }

  #put({ id, text, ms }: News): void {
    this.#entries.delete(id)
    this.#entries.set(id, { text, ends: monotonic() + ms })
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MOST && oldest !== undefined) this.#entries.delete(oldest)
  }

  #at(id: string): string {
    return `${this.#shared?.prefix ?? ''}return:${id}`
  }
}
