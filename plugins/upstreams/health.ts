import type { Dispatcher } from 'undici'
import { ownHead } from '../../src/lib/http/flat-head.ts'
import { statusMatcher } from '../../src/lib/http/statuses.ts'
import { SocketsExhausted } from '../../src/lib/refusals.ts'
import { duration } from '../../src/lib/units.ts'
import { type HealthOptions, healthyStatuses } from './health-options.ts'
import type { TargetHealth } from './target-health.ts'

// Spreads the checks of gateways that started at the same time.
const JITTER = 0.1

/** Checks a target periodically, on a connection of its own. */
export class HealthCheck {
  readonly #options: HealthOptions
  readonly #host: string
  readonly #health: TargetHealth
  readonly #pool: Dispatcher
  readonly #isHealthy: (status: number) => boolean
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #successes = 0
  #failures = 0

  constructor(options: HealthOptions, host: string, health: TargetHealth, pool: Dispatcher) {
    this.#options = options
    this.#host = options.host ?? host
    this.#health = health
    this.#pool = pool
    this.#isHealthy = statusMatcher(healthyStatuses(options))
    void this.#check()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    void this.#pool.destroy().catch(() => {})
  }

  async #check(): Promise<void> {
    const healthy = await this.#probe()
    if (this.#stopped) return
    if (healthy !== undefined) this.#count(healthy)
    const every = duration(this.#options.every)
    this.#timer = setTimeout(() => void this.#check(), every * (1 - JITTER * Math.random()))
    this.#timer.unref()
  }

  #count(healthy: boolean): void {
    this.#successes = healthy ? this.#successes + 1 : 0
    this.#failures = healthy ? 0 : this.#failures + 1
    if (this.#successes >= this.#options.healthyAfter) this.#health.setHealthy(true)
    if (this.#failures >= this.#options.unhealthyAfter) this.#health.setHealthy(false)
  }

  /** Checks once; returns undefined if this machine has no free socket, which says nothing about the target. */
  async #probe(): Promise<boolean | undefined> {
    const timeout = duration(this.#options.timeout)
    try {
      const { statusCode, body } = await this.#pool.request({
        path: this.#options.path,
        method: 'GET',
        headers: ownHead(this.#host, { 'user-agent': 'sallyport-health' }),
        signal: AbortSignal.timeout(timeout)
      })
      await body.dump({ limit: 65_536 })
      return this.#isHealthy(statusCode)
    } catch (error) {
      return error instanceof SocketsExhausted ? undefined : false
    }
  }
}
