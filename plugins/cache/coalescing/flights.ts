import { monotonic } from '../../../src/lib/clock.ts'
import { Flight, type FlightFollower } from './flight.ts'

// How long requests of a key don't wait for each other after a response that could not be shared, in ms.
const PASS_MS = 10_000

// The most keys in flight, and the most keys that don't wait; beyond it, requests go on by themselves.
const MAX_KEYS = 10_000

/** What a request does about the others of its key. */
export type Role<H> =
  | { readonly role: 'lead'; readonly flight: Flight<H> }
  | { readonly role: 'follow'; readonly follower: FlightFollower<H> }
  | { readonly role: 'pass' }

/** The requests to upstreams that others wait for, by key. `H` is what leaders say of a head that is shared. */
export class Flights<H> {
  readonly #flights = new Map<string, Flight<H>>()
  readonly #passes = new Map<string, number>()

  /** Leads the requests of a key, or follows the one that leads; passes where the last response could not be shared. */
  join(key: string): Role<H> {
    const flight = this.#flights.get(key)
    if (flight !== undefined) return { role: 'follow', follower: flight.follow() }
    if (this.#isPassing(key) || this.#flights.size >= MAX_KEYS) return { role: 'pass' }
    return { role: 'lead', flight: this.#lead(key) }
  }

  /** Leads the requests of a key unless another one does; undefined then. */
  leadIfFree(key: string): Flight<H> | undefined {
    return this.#flights.has(key) || this.#flights.size >= MAX_KEYS ? undefined : this.#lead(key)
  }

  /** Returns how many requests others may wait for. */
  get size(): number {
    return this.#flights.size
  }

  #lead(key: string): Flight<H> {
    const flight = new Flight<H>({
      closed: () => {
        if (this.#flights.get(key) === flight) this.#flights.delete(key)
      },
      notShared: () => this.#pass(key),
      shared: () => void this.#passes.delete(key)
    })
    this.#flights.set(key, flight)
    return flight
  }

  #pass(key: string): void {
    this.#passes.delete(key)
    if (this.#passes.size >= MAX_KEYS) this.#passes.delete(this.#passes.keys().next().value as string)
    this.#passes.set(key, monotonic() + PASS_MS)
  }

  #isPassing(key: string): boolean {
    const until = this.#passes.get(key)
    if (until === undefined) return false
    if (until > monotonic()) return true
    this.#passes.delete(key)
    return false
  }
}
