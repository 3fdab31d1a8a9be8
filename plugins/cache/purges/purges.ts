import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { Entry } from '../entry.ts'
import { compilePurge, type Purge, type PurgeNames, type PurgeState, PurgeTable } from './table.ts'

/** The purges of a gateway, and what they make of entries. */
export interface Purges {
  /** The newest purge that is known; an entry keeps the one of when its request was sent. */
  readonly stamp: number
  stateOf(entry: Entry): PurgeState
  /** Purges; settles when all workers know of it, or rejects where the store is unavailable. */
  purge(names: PurgeNames): Promise<void>
  /** Makes sure that no purge is unknown for longer than a second; undefined where that is so. False where it can't be made sure. */
  refresh(): Promise<boolean> | undefined
  close(): void
}

const TOPIC = 'cache purge'

/** Purges of entries in memory: each worker has its own entries and hears of each purge. */
export class LocalPurges implements Purges {
  readonly #table = new PurgeTable()
  readonly #peers: Peers | null
  readonly #leave: () => void

  constructor(peers: Peers | null) {
    this.#peers = peers
    // A worker that has just begun has no entries, and so needs no purges of the past.
    this.#leave =
      peers?.join<Purge>(TOPIC, { receive: (purge) => this.#apply(purge), snapshot: () => [] }) ?? (() => {})
  }

  get stamp(): number {
    return this.#table.last
  }

  stateOf(entry: Entry): PurgeState {
    return this.#table.stateOf(entry)
  }

  async purge(names: PurgeNames): Promise<void> {
    const purge = compilePurge(names)
    this.#apply(purge)
    await this.#peers?.broadcast(TOPIC, purge)
  }

  refresh(): undefined {
    return undefined
  }

  close(): void {
    this.#leave()
  }

  #apply(purge: Purge): void {
    this.#table.apply(purge, this.#table.nextStamp())
  }
}
