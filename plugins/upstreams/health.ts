import type { Dispatcher } from 'undici'
import { ownHead } from '../../src/lib/http/request-head.ts'
import { SocketsExhausted } from '../../src/lib/refusals.ts'
import { duration } from '../../src/lib/units.ts'
import type { HealthOptions } from './options.ts'
import type { TargetHealth } from './target-health.ts'

// Where many gateways start at once, their checks do not stay in step.
const JITTER = 0.1

/** Asks a target from time to time whether it is well, on a connection of its own. */
export class HealthCheck {
  readonly #options: HealthOptions
  readonly #host: string
  readonly #health: TargetHealth
  readonly #pool: Dispatcher
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #successes = 0
  #failures = 0

  constructor(options: HealthOptions, host: string, condition: TargetHealth, pool: Dispatcher) {
    this.#options = options
    this.#host = options.host ?? host
    this.#health = condition
    this.#pool = pool
    void this.#check()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    void this.#pool.destroy().catch(() => {})
  }

  async #check(): Promise<void> {
    const well = await this.#probe()
    if (this.#stopped) return
    if (well !== undefined) this.#count(well)
    const every = duration(this.#options.every)
    this.#timer = setTimeout(() => void this.#check(), every * (1 - JITTER * Math.random()))
    this.#timer.unref()
  }

  #count(well: boolean): void {
    this.#successes = well ? this.#successes + 1 : 0
    this.#failures = well ? 0 : this.#failures + 1
    if (this.#successes >= this.#options.healthyAfter) this.#health.setHealthy(true)
    if (this.#failures >= this.#options.unhealthyAfter) this.#health.setHealthy(false)
  }

  /** Asks once; undefined where this machine has no socket left, which says nothing of the target. */
  async #probe(): Promise<boolean | undefined> {
    const [least = 200, most = 299] = this.#options.status
    const timeout = duration(this.#options.timeout)
    try {
      const { statusCode, body } = await this.#pool.request({
        path: this.#options.path,
        method: 'GET',
        headers: ownHead(this.#host, { 'user-agent': 'sallyport-health' }),
        signal: AbortSignal.timeout(timeout)
      })
      await body.dump({ limit: 65_536 })
      return statusCode >= least && statusCode <= most
    } catch (error) {
      return error instanceof SocketsExhausted ? undefined : false
    }
  }
}
