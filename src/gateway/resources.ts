import type { FastifyInstance } from 'fastify'
import type { Peers } from '../lib/contracts/peers.ts'
import { getOrCreate } from '../lib/memoize.ts'

interface Resource {
  readonly value: unknown
  readonly end: () => unknown
  leases: number
}

/** Reference-counted values that outlive a reload (connection pools, counters, sessions): each lives while an instance leases it. */
export class Resources {
  /** The other workers; null for a single process. */
  readonly peers: Peers | null
  readonly #resources = new Map<string, Resource>()
  readonly #leases = new WeakMap<FastifyInstance, Map<string, number>>()

  constructor(peers: Peers | null = null) {
    this.peers = peers
  }

  /** Leases the value of a key, which is made at first use. When the last instance has released it, `end` is called. */
  lease<T>(app: FastifyInstance, key: string, make: () => T, end: (value: T) => unknown = () => {}): T {
    const resource = getOrCreate(this.#resources, key, () => {
      const value = make()
      return { value, end: () => end(value), leases: 0 }
    })
    const leases = this.#leasesOf(app)
    const count = leases.get(key) ?? 0
    if (count === 0) resource.leases++
    leases.set(key, count + 1)
    return resource.value as T
  }

  /** Releases a lease before the instance closes; call it once for each `lease`. */
  release(app: FastifyInstance, key: string): void {
    const leases = this.#leases.get(app)
    const count = leases?.get(key)
    if (leases === undefined || count === undefined) return
    if (count > 1) leases.set(key, count - 1)
    else {
      leases.delete(key)
      void this.#unlease(key)
    }
  }

  /** Returns the leases of an instance; a hook releases all of them when it closes. */
  #leasesOf(app: FastifyInstance): Map<string, number> {
    return getOrCreate(this.#leases, app, () => {
      const leases = new Map<string, number>()
      const releaseLeases = async (): Promise<void> => {
        await Promise.all([...leases.keys()].map((key) => this.#unlease(key)))
      }
      app.addHook('onClose', releaseLeases)
      return leases
    })
  }

  async #unlease(key: string): Promise<void> {
    const resource = this.#resources.get(key)
    if (resource === undefined || --resource.leases > 0) return
    this.#resources.delete(key)
    await resource.end()
  }

  /** The number of values that are leased now. */
  get size(): number {
    return this.#resources.size
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
