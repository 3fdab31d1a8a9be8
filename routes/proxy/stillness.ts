import { remember } from '../../src/kit/index.ts'

/** A body that may stand still for some time only. */
export interface Flowing {
  /** The tick at which a byte came last. */
  seen: number
  /** Whether it waits for the client, which is not its fault. */
  readonly paused: boolean
  still(): void
}

// How many times a body is looked at before it counts as still: a quarter of the time is exact enough.
const LOOKS = 4
const OFTEN = 5

/** Watches bodies that may not stand still for longer than some time: one timer for all of them, which costs a chunk nothing. */
export class Stillness {
  tick = 0
  readonly #flowing = new Set<Flowing>()
  readonly #every: number
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#every = Math.max(OFTEN, Math.ceil(ms / LOOKS))
  }

  add(body: Flowing): void {
    body.seen = this.tick
    this.#flowing.add(body)
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#look(), this.#every)
      this.#timer.unref()
    }
  }

  delete(body: Flowing): void {
    this.#flowing.delete(body)
  }

  #look(): void {
    this.tick++
    for (const body of this.#flowing)
      if (body.paused) body.seen = this.tick
      else if (this.tick - body.seen > LOOKS) {
        this.#flowing.delete(body)
        body.still()
      }
    if (this.#flowing.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

const watched = new Map<number, Stillness>()

/** Finds the watch for a time in milliseconds; undefined for 0, which is no limit. */
export const stillnessOf = (ms: number): Stillness | undefined =>
  ms === 0 ? undefined : remember(watched, ms, () => new Stillness(ms))
