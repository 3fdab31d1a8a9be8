import type { FastifyInstance } from 'fastify'
import { remember } from './kit/index.ts'

interface Held {
  readonly value: unknown
  readonly end: () => unknown
  leases: number
}

/** Holds values that outlive a reload (connection pools, counters, sessions) for as long as some generation uses them. */
export class Keep {
  readonly #held = new Map<string, Held>()
  readonly #leases = new WeakMap<FastifyInstance, Set<string>>()

  /** Hands out the value of a key, made at first use; when the last instance that took it has closed, `end` is called. */
  lease<T>(app: FastifyInstance, key: string, make: () => T, end: (value: T) => unknown = () => {}): T {
    const held = remember(this.#held, key, () => {
      const value = make()
      return { value, end: () => end(value), leases: 0 }
    })
    const mine = this.#leasesOf(app)
    if (!mine.has(key)) {
      mine.add(key)
      held.leases++
    }
    return held.value as T
  }

  /** Gives back what an instance no longer needs, before it closes. */
  release(app: FastifyInstance, key: string): void {
    if (this.#leases.get(app)?.delete(key) === true) void this.#giveBack(key)
  }

  /** Finds what an instance has taken; one hook gives all of it back when it closes. */
  #leasesOf(app: FastifyInstance): Set<string> {
    return remember(this.#leases, app, () => {
      const mine = new Set<string>()
      app.addHook('onClose', async () => {
        await Promise.all([...mine].map((key) => this.#giveBack(key)))
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
    keep: Keep
  }
}
