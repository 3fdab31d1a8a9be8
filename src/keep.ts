import type { FastifyInstance } from 'fastify'

interface Held {
  readonly value: unknown
  readonly end: () => unknown
  leases: number
}

/** Holds values that outlive a reload (connection pools, counters, sessions) for as long as some generation uses them. */
export class Keep {
  readonly #held = new Map<string, Held>()

  /** Hands out the value of a key, made at first use; when the last instance that took it has closed, `end` is called. */
  lease<T>(app: FastifyInstance, key: string, make: () => T, end: (value: T) => unknown = () => {}): T {
    let held = this.#held.get(key)
    if (held === undefined) {
      const value = make()
      held = { value, end: () => end(value), leases: 0 }
      this.#held.set(key, held)
    }
    const mine = held
    mine.leases++
    app.addHook('onClose', async () => {
      if (--mine.leases > 0) return
      this.#held.delete(key)
      await mine.end()
    })
    return mine.value as T
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
