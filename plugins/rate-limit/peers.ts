import type { Peers } from '../../src/lib/contracts/peers.ts'
import type { Counter, CounterState, Increment, OwnCounter, Quota } from './counters.ts'

// How long what was counted waits for what is counted next, in milliseconds: by so much the workers' counts differ.
const TELL_AFTER = 50

/** Counts in the memory of this worker, and tells the others what it has counted. */
export class PeerCounter implements Counter {
  readonly #own: OwnCounter
  readonly #peers: Peers
  readonly #topic: string
  readonly #leave: () => void
  #untold = new Map<string, Increment>()

  constructor(own: OwnCounter, peers: Peers, topic: string) {
    this.#own = own
    this.#peers = peers
    this.#topic = topic
    this.#leave = peers.join<Increment[]>(topic, {
      take: (noted) => {
        for (const each of noted) own.note(each)
      },
      all: () => [own.all()]
    })
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    const standing = this.#own.hit(key, cost, quota)
    const noted = this.#own.noted(key, cost, standing)
    if (noted === undefined) return standing
    if (this.#untold.size === 0) setTimeout(() => this.#tell(), TELL_AFTER)
    const before = this.#untold.get(key)
    if (before === undefined) this.#untold.set(key, noted)
    else before.cost += cost
    return standing
  }

  /** Takes part no longer. */
  close(): void {
    this.#leave()
  }

  #tell(): void {
    const noted = [...this.#untold.values()]
    this.#untold = new Map()
    void this.#peers.tell(this.#topic, noted)
  }
}
