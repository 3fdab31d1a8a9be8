import type { TargetHealth } from './target-health.ts'

/** A request's place at a target: counted from when it is sent until it is over. */
export class Lease {
  readonly #health: TargetHealth
  readonly #load: { requests: number }
  readonly #canEject: () => boolean
  // Whether this request tries a target whose breaker is half-open.
  #probe: boolean
  #reported = false
  #released = false

  constructor(health: TargetHealth, load: { requests: number }, mayEject: () => boolean) {
    this.#health = health
    this.#load = load
    this.#canEject = mayEject
    load.requests++
    this.#probe = health.acquire()
  }

  /** Reports how the request went: whether there was an answer below 500. Only the first report counts. */
  report(ok: boolean): void {
    if (this.#reported) return
    this.#reported = true
    this.#health.report(ok, this.#probe, this.#canEject)
    this.#probe = false
  }

  /** Reports that an answer was cut whose header had been reported as a success. */
  reportIncomplete(): void {
    this.#health.report(false, false, this.#canEject)
  }

  /** Ends it; a request that reported nothing tells nothing of the target. */
  release(): void {
    if (this.#released) return
    this.#released = true
    if (!this.#reported) this.#health.abandon(this.#probe)
    this.#load.requests--
  }
}
