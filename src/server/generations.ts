import type { FastifyInstance } from 'fastify'
import { Generation, type RequestCount } from './generation.ts'

/** The current instance of a server, and those beside it: of an older config, or for traced requests. */
export class Generations {
  readonly #open = new Set<Generation>()
  readonly #count: RequestCount = { requests: 0 }
  #current: Generation
  /** The number of instances that have been the current one. */
  swaps = 1
  /** The requests that wait for an instance. */
  waiting = 0
  /** Called when an instance has no request left. */
  onIdle: () => void = () => {}

  constructor(app: FastifyInstance) {
    this.#current = this.add(app)
  }

  /** The instance that handles requests. */
  get current(): Generation {
    return this.#current
  }

  /** The instances that are not closed. */
  get apps(): FastifyInstance[] {
    return [...this.#open].map(({ app }) => app)
  }

  /** The number of requests without a response. */
  get inFlight(): number {
    return [...this.#open].reduce((sum, { inFlight }) => sum + inFlight, this.waiting)
  }

  /** The number of requests so far. */
  get requests(): number {
    return this.#count.requests
  }

  /** Adds an instance beside the current one. */
  add(app: FastifyInstance): Generation {
    const added: Generation = new Generation(app, this.#count, () => {
      if (added.inFlight === 0 && added.isRetired) this.#open.delete(added)
      this.onIdle()
    })
    this.#open.add(added)
    return added
  }

  /** Makes an instance the current one; the one before closes after its last response. */
  replace(next: FastifyInstance): void {
    const old = this.#current
    this.#current = this.add(next)
    this.swaps++
    this.retire(old)
  }

  /** Closes an instance after its last response. */
  retire(generation: Generation): void {
    generation.retire()
    if (generation.inFlight === 0) this.#open.delete(generation)
  }
}
