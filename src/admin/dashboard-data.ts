import { monotonic, wall } from '../lib/clock.ts'
import type { RouteFigures } from '../lib/contracts/metrics.ts'
import { Changes } from './changes.ts'
import { combineFigures } from './combine-figures.ts'
import type { ProcessFigures } from './figures.ts'

// Several open pages share what is read within this time, in ms.
const SHARED_FOR_MS = 500

/** What a page has to know of its gateway. */
export interface DashboardAbout {
  readonly version: string
  /** Whether there is a token, which actions need. */
  readonly mayAct: boolean
}

/** Serves the figures of a gateway to the pages that poll them: each gets only the rows that have changed. */
export class DashboardData {
  readonly #read: () => Promise<readonly ProcessFigures[]>
  readonly #about: DashboardAbout
  readonly #changes = new Changes()
  #head = '{}'
  #epoch = ''
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<boolean> | undefined

  constructor(read: () => Promise<readonly ProcessFigures[]>, about: DashboardAbout) {
    this.#read = read
    this.#about = about
  }

  /** Returns the figures as JSON, with the rows that have changed since the mark of an earlier response; undefined where no process responds. */
  async since(mark: string): Promise<string | undefined> {
    if (!(await this.#refresh())) return undefined
    const [epoch, update] = mark.split('.')
    const isKnown = epoch === this.#epoch && !this.#changes.needsAll(Number(update))
    const rows = this.#changes.since(isKnown ? Number(update) : 0)
    return `{"mark":"${this.#epoch}.${this.#changes.number}","full":${!isKnown},"at":${wall()},${rows},${this.#head.slice(1)}`
  }

  #refresh(): Promise<boolean> {
    if (monotonic() - this.#readAt < SHARED_FOR_MS) return Promise.resolve(true)
    this.#reading ??= this.#update().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #update(): Promise<boolean> {
    const combined = combineFigures(await this.#read())
    if (combined === undefined) return false
    const { rows, ...head } = combined
    this.#epoch = String(Date.parse(head.startedAt))
    this.#head = JSON.stringify({ ...this.#about, ...head, totals: totalsOf(rows.routes) })
    this.#changes.update(rows)
    this.#readAt = monotonic()
    return true
  }
}

/** Returns the sums over all routes. */
function totalsOf(routes: readonly RouteFigures[]): Pick<RouteFigures, 'responses' | 'durations'> {
  const responses: number[] = []
  const durations: number[] = []
  for (const route of routes) {
    addTo(responses, route.responses)
    addTo(durations, route.durations)
  }
  return { responses, durations }
}

/** Adds numbers to those at the same places of a list. */
function addTo(sums: number[], values: readonly number[]): void {
  for (const [i, value] of values.entries()) sums[i] = (sums[i] ?? 0) + value
}
