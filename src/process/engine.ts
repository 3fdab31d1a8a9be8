import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { ConfigError } from '../config/fault.ts'
import type { Plan } from '../config/plan-types.ts'
import { redactedConfig } from '../config/redact.ts'
import { type BuildTraced, LiveExplainer } from '../explain/live.ts'
import { buildGateway } from '../gateway/build.ts'
import { Resources } from '../gateway/resources.ts'
import { monotonic, wall } from '../lib/clock.ts'
import type { Peers } from '../lib/contracts/peers.ts'
import { RestartNeeded, type Served } from '../server/served.ts'
import { serve } from '../server/server.ts'
import { CoalescingQueue } from './coalescing-queue.ts'
import type { Settings } from './settings.ts'

/** The result of a reload. */
export interface Reloaded {
  /** When it ended, in ISO 8601. */
  readonly at: string
  readonly why: string
  readonly outcome: 'taken' | 'refused'
  /** The errors in the config; empty where it was taken. */
  readonly faults: readonly string[]
}

/** A reload in the history. */
export interface PastReload extends Reloaded {
  /** What changed in the resolved config, with secrets masked; empty where nothing did. */
  readonly diff: string
}

const MAX_HISTORY = 20

const NO_DIFF = Promise.resolve('')

/** The settings of a gateway, its plan, and where later ones come from. */
export interface EngineStart {
  readonly settings: Settings
  readonly plan: Plan
  /** Reads the config again, for a reload; rejects with a ConfigError. */
  readonly readPlan: () => Promise<Plan>
}

/** Makes what explains signed requests; undefined where there is no token to sign with, or no listener to read them at. */
function makeExplainer(
  { adminToken, adminPort, inherited }: Settings,
  build: BuildTraced
): LiveExplainer | undefined {
  const hasAdmin = adminPort !== undefined || inherited.admin !== undefined
  return adminToken === undefined || !hasAdmin ? undefined : new LiveExplainer(adminToken, build)
}

/** The gateway of one process: its config, the Fastify instance built from it, and its listening sockets. */
export class Engine {
  readonly startedAt = wall()
  /** When it started, by the monotonic clock. */
  readonly startedAtMonotonic = monotonic()
  readonly #readPlan: () => Promise<Plan>
  readonly #hasAdmin: boolean
  readonly #log: Logger
  readonly #resources: Resources
  /** Explains signed requests; undefined without an ADMIN_TOKEN. */
  readonly explainer: LiveExplainer | undefined
  readonly #served: Served
  #plan: Plan
  #app: FastifyInstance
  #history: readonly { readonly reloaded: Reloaded; readonly diff: Promise<string> }[] = []
  readonly #reloadCounts = { taken: 0, refused: 0 }
  readonly #reloadQueue = new CoalescingQueue((why) => this.#reload(why))

  private constructor(
    { settings, plan, readPlan }: EngineStart,
    log: Logger,
    app: FastifyInstance,
    { served, explainer }: { readonly served: Served; readonly explainer: LiveExplainer | undefined }
  ) {
    this.#readPlan = readPlan
    this.#hasAdmin = settings.adminPort !== undefined || settings.inherited.admin !== undefined
    this.#log = log
    this.#resources = app.resources
    this.#plan = plan
    this.#app = app
    this.#served = served
    this.explainer = explainer
  }

  /** Builds the gateway of a plan and opens its sockets. Errors of the build go to `onBuildError`; a worker catches up with its peers before it accepts requests. */
  static async start(
    start: EngineStart,
    log: Logger,
    onBuildError: (error: unknown) => never,
    peers: (Peers & { catchUp(): Promise<void> }) | null = null
  ): Promise<Engine> {
    const resources = new Resources(peers)
    const app = await buildGateway(start.plan, resources, log, { isAlone: true }).catch(onBuildError)
    let engine: Engine | undefined
    try {
      await peers?.catchUp()
      const explainer = makeExplainer(start.settings, async (observer) => {
        const plan = engine?.plan ?? start.plan
        const options = { isAlone: true, trace: true, observer }
        return { plan, app: await buildGateway(plan, resources, log, options) }
      })
      const traced = explainer === undefined ? {} : { tracedRequests: explainer }
      const served = await serve(app, { ...start.settings, log, ...traced })
      engine = new Engine(start, log, app, { served, explainer })
      return engine
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
    return this.#history[0]?.reloaded
  }

  /** Returns the latest reloads, the last one first. */
  history(): Promise<PastReload[]> {
    return Promise.all(this.#history.map(async ({ reloaded, diff }) => ({ ...reloaded, diff: await diff })))
  }

  /** The lowest level of the lines that are logged; a change lasts until the process ends. */
  get logLevel(): string {
    return this.#log.level
  }

  set logLevel(level: string) {
    this.#log.level = level
  }

  /** The number of reloads so far, by outcome. */
  get reloads(): Readonly<Record<'taken' | 'refused', number>> {
    return this.#reloadCounts
  }

  /** Returns the files that trigger a reload when they change: all that were read, or only certificates, which other programs renew. */
  filesToWatch(all: boolean): readonly string[] {
    return all ? this.#plan.files : (this.#app.tls?.files ?? [])
  }

  /** Returns the effective config without its secrets. */
  redactedConfig(): unknown {
    return redactedConfig(this.#plan)
  }

  /** Reads the config again, builds the next generation and swaps it in; on any error the current one keeps serving. */
  reload(why: string): Promise<Reloaded> {
    return this.#reloadQueue.run(why)
  }

  async #reload(why: string): Promise<Reloaded> {
    let faults: readonly string[] = []
    const before = this.#plan
    try {
      const plan = await this.#readPlan()
      const next = await buildGateway(plan, this.#resources, this.#log, { isAlone: true })
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
      faults = known ? error.message.split('\n') : ['The gateway could not be built; see the log']
      this.#log.error(
        known
          ? { why, faults, ...(error.cause === undefined ? {} : { err: error.cause }) }
          : { why, err: error },
        'reload refused, keeping the current config'
      )
    }
    const outcome = faults.length === 0 ? 'taken' : 'refused'
    this.#reloadCounts[outcome]++
    const reloaded = { at: new Date().toISOString(), why, outcome, faults } as const
    const diff = outcome === 'taken' ? this.#diff(before) : NO_DIFF
    this.#history = [{ reloaded, diff }, ...this.#history].slice(0, MAX_HISTORY)
    return reloaded
  }

  /** Compares the config with the one before; only the admin listener shows it. */
  async #diff(before: Plan): Promise<string> {
    if (!this.#hasAdmin) return ''
    const after = this.#plan
    try {
      const { diffConfigs } = await import('../config/diff-configs.ts')
      return await diffConfigs(before, after)
    } catch (error) {
      this.#log.warn({ err: error }, 'config diff failed')
      return ''
    }
  }
}
