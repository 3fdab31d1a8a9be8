import { monotonic } from '../../src/lib/clock.ts'
import { duration, share } from '../../src/lib/units.ts'
import type { BreakerOptions } from './options.ts'

const SLICES = 10

/** Counts answers and failures over the last while, in ten slices of it. */
class Tally {
  readonly #slice: number
  readonly #all = new Uint32Array(SLICES)
  readonly #failed = new Uint32Array(SLICES)
  #at = 0

  constructor(within: number) {
    this.#slice = Math.max(1, within / SLICES)
  }

  count(ok: boolean, now: number): void {
    const at = Math.floor(now / this.#slice)
    if (at - this.#at >= SLICES) this.clear()
    else for (let i = this.#at + 1; i <= at; i++) this.#all[i % SLICES] = this.#failed[i % SLICES] = 0
    this.#at = at
    const i = at % SLICES
    this.#all[i] = (this.#all[i] ?? 0) + 1
    if (!ok) this.#failed[i] = (this.#failed[i] ?? 0) + 1
  }

  clear(): void {
    this.#all.fill(0)
    this.#failed.fill(0)
  }

  get all(): number {
    return this.#all.reduce((sum, each) => sum + each, 0)
  }

  get failed(): number {
    return this.#failed.reduce((sum, each) => sum + each, 0)
  }
}

/** Stops asking a target that mostly fails: closed until too many requests of the last while failed, then open, then half-open for one request alone (M. Nygard, "Release It!"). */
export class Breaker {
  readonly #options: BreakerOptions
  readonly #tally: Tally
  readonly #changed: () => void
  #state: 'closed' | 'open' | 'half-open' = 'closed'
  #probing = false
  #until = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: BreakerOptions, changed: () => void) {
    this.#options = options
    this.#tally = new Tally(duration(options.within))
    this.#changed = changed
  }

  get state(): 'closed' | 'open' | 'half-open' {
    return this.#state
  }

  /** Tells whether a request may be sent now. */
  get admits(): boolean {
    return this.#state === 'closed' || (this.#state === 'half-open' && !this.#probing)
  }

  /** Milliseconds until the next request may try. */
  get remaining(): number {
    return this.#state === 'open' ? Math.max(0, this.#until - monotonic()) : 0
  }

  /** Notes that a request is sent; tells whether it is the one that tries. */
  acquire(): boolean {
    if (this.#state !== 'half-open') return false
    this.#probing = true
    return true
  }

  /** Gives the try back: its request was left before anything could be said of the target. */
  abandon(): void {
    this.#probing = false
  }

  /** Notes how a request went. */
  report(ok: boolean, probe: boolean): void {
    if (probe) {
      this.#probing = false
      if (this.#state !== 'half-open') return
      if (ok) this.#close()
      else this.#open()
      return
    }
    if (this.#state !== 'closed') return
    this.#tally.count(ok, monotonic())
    if (ok) return
    const { all } = this.#tally
    if (all >= this.#options.of && this.#tally.failed >= all * share(this.#options.failures)) this.#open()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #open(): void {
    const openFor = duration(this.#options.openFor)
    this.#state = 'open'
    this.#until = monotonic() + openFor
    this.#tally.clear()
    this.#timer = setTimeout(() => {
      this.#state = 'half-open'
      this.#probing = false
      this.#changed()
    }, openFor)
    this.#timer.unref()
    this.#changed()
  }

  #close(): void {
    this.#state = 'closed'
    this.#changed()
  }
}
