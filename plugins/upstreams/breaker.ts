import { monotonic, startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import { duration, share } from '../../src/lib/units.ts'
import type { BreakerOptions } from './health-options.ts'

type BreakerState = 'closed' | 'open' | 'half-open'

const WINDOW_SLICES = 10

/** Counts requests and failures over a sliding window of ten slices. */
class FailureWindow {
  readonly #sliceMs: number
  readonly #totals = new Uint32Array(WINDOW_SLICES)
  readonly #failures = new Uint32Array(WINDOW_SLICES)
  #currentSlice = 0

  constructor(within: number) {
    this.#sliceMs = Math.max(1, within / WINDOW_SLICES)
  }

  count(ok: boolean, now: number): void {
    const at = Math.floor(now / this.#sliceMs)
    if (at - this.#currentSlice >= WINDOW_SLICES) this.clear()
    else
      for (let i = this.#currentSlice + 1; i <= at; i++)
        this.#totals[i % WINDOW_SLICES] = this.#failures[i % WINDOW_SLICES] = 0
    this.#currentSlice = at
    const i = at % WINDOW_SLICES
    this.#totals[i] = (this.#totals[i] ?? 0) + 1
    if (!ok) this.#failures[i] = (this.#failures[i] ?? 0) + 1
  }

  clear(): void {
    this.#totals.fill(0)
    this.#failures.fill(0)
  }

  get all(): number {
    return this.#totals.reduce((sum, each) => sum + each, 0)
  }

  get failed(): number {
    return this.#failures.reduce((sum, each) => sum + each, 0)
  }
}

/** A circuit breaker: closed until the failure rate within the window is too high, then open, then half-open for a single probe (M. Nygard, "Release It!"). */
export class Breaker {
  readonly #options: BreakerOptions
  readonly #window: FailureWindow
  readonly #onChange: (state: BreakerState) => void
  #state: BreakerState = 'closed'
  #probing = false
  #openUntil = 0
  #timer: Timer | undefined

  constructor(options: BreakerOptions, onChange: (state: BreakerState) => void) {
    this.#options = options
    this.#window = new FailureWindow(duration(options.within))
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Whether a request may be sent now. */
  get admits(): boolean {
    return this.#state === 'closed' || (this.#state === 'half-open' && !this.#probing)
  }

  /** Milliseconds until the breaker becomes half-open; 0 unless it is open. */
  get remaining(): number {
    return this.#state === 'open' ? Math.max(0, this.#openUntil - monotonic()) : 0
  }

  /** Registers a request; returns whether it is the probe. */
  acquire(): boolean {
    if (this.#state !== 'half-open') return false
    this.#probing = true
    return true
  }

  /** Frees the probe's slot: its request ended before it had a result. */
  abandon(): void {
    this.#probing = false
  }

  /** Records the result of a request. */
  report(ok: boolean, probe: boolean): void {
    if (probe) {
      this.#probing = false
      if (this.#state !== 'half-open') return
      if (ok) this.#close()
      else this.#open()
      return
    }
    if (this.#state !== 'closed') return
    this.#window.count(ok, monotonic())
    if (ok) return
    const { all } = this.#window
    if (all >= this.#options.of && this.#window.failed >= all * share(this.#options.failures)) this.#open()
  }

  stop(): void {
    stopTimer(this.#timer)
  }

  #open(): void {
    const openFor = duration(this.#options.openFor)
    this.#state = 'open'
    this.#openUntil = monotonic() + openFor
    this.#window.clear()
    this.#timer = startTimer(() => {
      this.#state = 'half-open'
      this.#probing = false
      this.#onChange(this.#state)
    }, openFor)
    this.#timer.unref()
    this.#onChange(this.#state)
  }

  #close(): void {
    this.#state = 'closed'
    this.#onChange(this.#state)
  }
}
