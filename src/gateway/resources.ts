import type { FastifyInstance } from 'fastify'
import type { Peers } from '../lib/contracts/peers.ts'
import { getOrCreate } from '../lib/memoize.ts'

interface Resource {
  readonly value: unknown
  readonly end: () => unknown
  leases: number
}

/** Holds values that outlive a reload (connection pools, counters, sessions) for as long as some generation uses them. */
export class Resources {
  /** The other workers, where there are any. */
  readonly peers: Peers | null
  readonly #held = new Map<string, Resource>()
  readonly #leases = new WeakMap<FastifyInstance, Map<string, number>>()

  constructor(peers: Peers | null = null) {
    this.peers = peers
  }

  /** Hands out the value of a key, made at first use; when the last instance that took it has closed, `end` is called. */
  lease<T>(app: FastifyInstance, key: string, make: () => T, end: (value: T) => unknown = () => {}): T {
    const held = getOrCreate(this.#held, key, () => {
      const value = make()
      return { value, end: () => end(value), leases: 0 }
    })
    const mine = this.#leasesOf(app)
    const times = mine.get(key) ?? 0
    if (times === 0) held.leases++
    mine.set(key, times + 1)
    return held.value as T
  }

  /** Gives back what an instance no longer needs, before it closes; as often as it was taken. */
  release(app: FastifyInstance, key: string): void {
    const mine = this.#leases.get(app)
    const times = mine?.get(key)
    if (mine === undefined || times === undefined) return
    if (times > 1) mine.set(key, times - 1)
    else {
      mine.delete(key)
      void this.#giveBack(key)
    }
  }

  /** Finds what an instance has taken; one hook gives all of it back when it closes. */
  #leasesOf(app: FastifyInstance): Map<string, number> {
    return getOrCreate(this.#leases, app, () => {
      const mine = new Map<string, number>()
      app.addHook('onClose', async () => {
        await Promise.all([...mine.keys()].map((key) => this.#giveBack(key)))
      })
      return mine
    })
  }

  async #giveBack(key: string): Promise<void> {
    const held = this.#held.get(key)
    if (held === undefined || --held.leases > 0) return
    this.#held.delete(key)
    await held.end()
  }

  /** Counts the values held now. */
  get size(): number {
    return this.#held.size
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Values that outlive a reload. */
    resources: Resources
    /** @deprecated Use `resources`. */
    keep: Resources
  }
}
