import type { TargetHealth } from './target-health.ts'

/** A request's slot at a target, from its sending to its end. */
export class Lease {
  readonly #health: TargetHealth
  readonly #load: { requests: number }
  readonly #canEject: () => boolean
  // Whether this request is the probe of a half-open circuit breaker.
  #probe: boolean
  #reported = false
  #released = false

  constructor(health: TargetHealth, load: { requests: number }, canEject: () => boolean) {
    this.#health = health
    this.#load = load
    this.#canEject = canEject
    load.requests++
    this.#probe = health.acquire()
  }

  /** Reports whether the response had a status below 500. Only the first report counts. */
  report(ok: boolean): void {
    if (this.#reported) return
    this.#reported = true
    this.#health.report(ok, this.#probe, this.#canEject)
    this.#probe = false
  }

  /** Reports that a response was cut off after its headers had counted as a success. */
  reportIncomplete(): void {
    this.#health.report(false, false, this.#canEject)
  }

  /** Frees the slot. Without a report, the request does not affect the target's health. */
  release(): void {
    if (this.#released) return
    this.#released = true
    if (!this.#reported) this.#health.abandon(this.#probe)
    this.#load.requests--
  }
}
