import { errors } from 'undici'
import { LONGEST_TIMER } from '../../../src/lib/units.ts'

/** Waits for the head of an answer while it is the other side's turn, for so long and no longer; one timer for one wait after the other. */
export class HeadersTimeout {
  readonly #over: (error: Error) => void
  #timer: NodeJS.Timeout | undefined
  #ms = 0
  #waits = false
  // How often it has begun to wait.
  #turn = 0

  /** Takes who is told once it has waited in vain. */
  constructor(over: (error: Error) => void) {
    this.#over = over
  }

  /** Waits from now on, for so many milliseconds; 0 is for ever. */
  begin(ms: number): void {
    if (ms === 0) return
    this.#waits = true
    this.#turn++
    // What is cheapest is to wind it up again.
    if (this.#timer !== undefined && this.#ms === ms) this.#timer.refresh()
    else {
      clearTimeout(this.#timer)
      this.#ms = ms
      this.#timer = setTimeout(onLate, Math.min(ms, LONGEST_TIMER), this).unref()
    }
  }

  /** Waits no more, until it begins again. */
  end(): void {
    this.#waits = false
  }

  /** Waits no more, ever. */
  stop(): void {
    this.#waits = false
    clearTimeout(this.#timer)
  }

  /** Which wait it is in. */
  get turn(): number {
    return this.#turn
  }

  /** Tells that a wait was in vain, unless it is over by now. */
  late(turn: number): void {
    if (!this.#waits || this.#turn !== turn) return
    this.#waits = false
    this.#over(new errors.HeadersTimeoutError())
  }
}

// What came while the process was busy is read first: it was not the other side that was late. Another wait may have begun by then.
function onLate(patience: HeadersTimeout): void {
  setImmediate(tellLate, patience, patience.turn)
}

const tellLate = (patience: HeadersTimeout, turn: number): void => patience.late(turn)
