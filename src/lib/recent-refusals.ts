import { wall } from './clock.ts'

/** A kind of refusal at one route: how often it happened, and the last of them. */
export interface RecentRefusal {
  readonly code: string
  readonly status: number
  /** The concern or part of the gateway that refused. */
  readonly gate: string
  /** The name of the route. */
  readonly route: string
  readonly routeId: string
  readonly count: number
  /** When the last one was, in milliseconds since 1970. */
  readonly at: number
  readonly method: string
  /** The host and the path of the last one, without its query. */
  readonly url: string
  /** The detail of the last one. */
  readonly reason: string
  readonly requestId: string
}

/** A refusal, as the plugin that answers it knows it. */
export type NewRefusal = Omit<RecentRefusal, 'count' | 'at'>

// One code at one route is one entry, so that a burst leaves the others in sight.
const MAX_KINDS = 100
const MAX_REASON = 200
// Over HTTP/2 a client may send any method.
const MAX_METHOD = 20
const MAX_URL = 300

/** The latest refusals of a process, by code and route. It survives a reload. */
export class RecentRefusals {
  readonly #kinds = new Map<string, RecentRefusal>()
  /** The number of refusals with a status below 500, and of the others. */
  readonly counts = { client: 0, server: 0 }

  /** Records a refusal. */
  record(refusal: NewRefusal): void {
    this.counts[refusal.status < 500 ? 'client' : 'server']++
    const key = `${refusal.code} ${refusal.routeId}`
    const known = this.#kinds.get(key)
    this.#kinds.delete(key)
    this.#kinds.set(key, {
      ...refusal,
      method: refusal.method.slice(0, MAX_METHOD),
      url: refusal.url.slice(0, MAX_URL),
      reason: refusal.reason.slice(0, MAX_REASON),
      count: (known?.count ?? 0) + 1,
      at: wall()
    })
    const [oldest] = this.#kinds.keys()
    if (this.#kinds.size > MAX_KINDS && oldest !== undefined) this.#kinds.delete(oldest)
  }

  /** Lists the kinds of refusals, the latest first. */
  list(): RecentRefusal[] {
    return [...this.#kinds.values()].reverse()
  }
}
