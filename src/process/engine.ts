import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { ConfigError } from '../config/fault.ts'
import { loadPlan } from '../config/load.ts'
import type { Plan } from '../config/plan-types.ts'
import { redactedConfig } from '../config/redact.ts'
import { buildGateway } from '../gateway/build.ts'
import { catalog } from '../gateway/catalog.ts'
import { Resources } from '../gateway/resources.ts'
import { monotonic, wall } from '../lib/clock.ts'
import type { Peers } from '../lib/contracts/peers.ts'
import { RestartNeeded, type Served, serve } from '../server/server.ts'
import { CoalescingQueue } from './coalescing-queue.ts'
import type { Settings } from './settings.ts'

/** How a reload went. */
export interface Reloaded {
  /** When it ended, in ISO 8601. */
  readonly at: string
  readonly why: string
  readonly outcome: 'taken' | 'refused'
  /** What was wrong with the config; empty where it was taken. */
  readonly faults: readonly string[]
}

/** The gateway of one process: its config, the instance made of it, and the sockets in front. */
export class Engine {
  readonly startedAt = wall()
  /** When it started, by the monotonic clock. */
  readonly began = monotonic()
  readonly #settings: Settings
  readonly #log: Logger
  readonly #keep: Resources
  readonly #served: Served
  #plan: Plan
  #app: FastifyInstance
  #last: Reloaded | undefined
  readonly #reloads = { taken: 0, refused: 0 }
  readonly #reloading = new CoalescingQueue((why) => this.#reload(why))

  private constructor(
    settings: Settings,
    log: Logger,
    keep: Resources,
    plan: Plan,
    app: FastifyInstance,
    served: Served
  ) {
    this.#settings = settings
    this.#log = log
    this.#keep = keep
    this.#plan = plan
    this.#app = app
    this.#served = served
  }

  /** Builds the gateway of a plan and opens its sockets; what fails while building is handed to `broken`, and a worker learns from its peers before it takes requests. */
  static async start(
    settings: Settings,
    plan: Plan,
    log: Logger,
    broken: (error: unknown) => never,
    peers: (Peers & { catchUp(): Promise<void> }) | null = null
  ): Promise<Engine> {
    const keep = new Resources(peers)
    const app = await buildGateway(plan, keep, log).catch(broken)
    try {
      await peers?.catchUp()
      const served = await serve(app, { ...settings, log })
      return new Engine(settings, log, keep, plan, app, served)
    } catch (error) {
      await app.close()
      throw error
    }
  }

  get served(): Served {
    return this.#served
  }

  get app(): FastifyInstance {
    return this.#app
  }

  get plan(): Plan {
    return this.#plan
  }

  get lastReload(): Reloaded | undefined {
    return this.#last
  }

  /** The reloads so far, by how they went. */
  get reloads(): Readonly<Record<'taken' | 'refused', number>> {
    return this.#reloads
  }

  /** The files that call for a reload when they change: all that were read, or those alone that others renew and tell nobody. */
  filesToWatch(all: boolean): readonly string[] {
    return all ? this.#plan.files : (this.#app.tls?.files ?? [])
  }

  /** Shows the config as it holds now, without its secrets. */
  shown(): unknown {
    return redactedConfig(this.#plan)
  }

  /** Reads the config anew, builds the next generation and swaps it in; whatever is wrong with it, the current one goes on as it is. */
  reload(why: string): Promise<Reloaded> {
    return this.#reloading.run(why)
  }

  async #reload(why: string): Promise<Reloaded> {
    let faults: readonly string[] = []
    try {
      const plan = await loadPlan(this.#settings.config, catalog, process.env)
      const next = await buildGateway(plan, this.#keep, this.#log)
      try {
        this.#served.swap(next)
      } catch (error) {
        await next.close()
        throw error
      }
      this.#plan = plan
      this.#app = next
      this.#log.info({ why, routes: plan.routes.length }, 'reloaded')
    } catch (error) {
      const known = error instanceof ConfigError || error instanceof RestartNeeded
      faults = known ? error.message.split('\n') : ["The gateway can't be built; the log says why"]
      this.#log.error(
        known
          ? { why, faults, ...(error.cause === undefined ? {} : { err: error.cause }) }
          : { why, err: error },
        'the reload was refused; the gateway goes on as it was'
      )
    }
    const outcome = faults.length === 0 ? 'taken' : 'refused'
    this.#reloads[outcome]++
    this.#last = { at: new Date().toISOString(), why, outcome, faults }
    return this.#last
  }
}
