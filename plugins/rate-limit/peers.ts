import type { Peers } from '../../src/lib/contracts/peers.ts'
import type { Counter, CounterState, Increment, LocalCounter, Quota } from './counters.ts'

// Increments are sent together after this delay, in ms; the workers' counts differ by at most that much.
const BROADCAST_DELAY_MS = 50

/** Counts in the memory of this worker and broadcasts its increments to the others. */
export class PeerCounter implements Counter {
  readonly #local: LocalCounter
  readonly #peers: Peers
  readonly #topic: string
  readonly #unsubscribe: () => void
  #pending = new Map<string, Increment>()

  constructor(local: LocalCounter, peers: Peers, topic: string) {
    this.#local = local
    this.#peers = peers
    this.#topic = topic
    this.#unsubscribe = peers.join<Increment[]>(topic, {
      receive: (increments) => {
        for (const increment of increments) local.applyIncrement(increment)
      },
      snapshot: () => [local.increments()]
    })
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    const state = this.#local.hit(key, cost, quota)
    const increment = this.#local.incrementOf(key, cost, state)
    if (increment === undefined || cost === 0) return state
    if (this.#pending.size === 0) setTimeout(() => this.#broadcast(), BROADCAST_DELAY_MS)
    const pending = this.#pending.get(key)
    if (pending === undefined) this.#pending.set(key, increment)
    else pending.cost += cost
    return state
  }

  /** Stops sending and receiving increments. */
  close(): void {
    this.#unsubscribe()
  }

  #broadcast(): void {
    const increments = [...this.#pending.values()]
    this.#pending = new Map()
    void this.#peers.broadcast(this.#topic, increments)
  }
}
