import { resolve } from 'node:path'
import type { Environment } from '../config/plan-draft.ts'
import type { Plan } from '../config/plan-types.ts'
import type { Source } from '../config/source.ts'
import { Resources } from '../gateway/resources.ts'
import type { AcceptedIssuer } from '../lib/contracts/simulation.ts'
import { duration } from '../lib/units.ts'
import type { SimulatedClock } from '../simulation/clock.ts'
import { SimulatedGateway, type SimulatedOutcome, type SimulatedRequest } from '../simulation/simulation.ts'
import type { Coverage } from './coverage.ts'
import { loadTestedConfig } from './load-config.ts'
import type { ScriptedUpstreams, TestFile } from './schema.ts'
import { testKeySet } from './sign.ts'
import { UpstreamScript } from './upstream-script.ts'

/** What the tests of a file share. */
export interface TestContext {
  readonly source: Source
  readonly content: TestFile
  readonly plan: Plan
  readonly env: Environment
  readonly clock: SimulatedClock
  readonly coverage: Coverage
}

/** The gateway of one test, with state of its own. */
export class TestedGateway {
  readonly context: TestContext
  readonly #script: UpstreamScript
  readonly #resources = new Resources()
  #gateway: SimulatedGateway | undefined

  private constructor(context: TestContext, upstreams: ScriptedUpstreams | undefined) {
    this.context = context
    this.#script = new UpstreamScript(upstreams, context.content.upstreams)
  }

  /** Builds the gateway; the upstreams of the test come before those of its file. */
  static async open(context: TestContext, upstreams: ScriptedUpstreams | undefined): Promise<TestedGateway> {
    const made = new TestedGateway(context, upstreams)
    await made.#use(context.plan)
    context.coverage.addRoutes(made.#open.app.routeInfos)
    return made
  }

  /** The issuers whose tokens it accepts. */
  get issuers(): readonly AcceptedIssuer[] {
    return this.#open.issuers
  }

  /** Sends a request. */
  send(request: SimulatedRequest): Promise<SimulatedOutcome> {
    return this.#open.send(request)
  }

  /** Returns the requests to upstreams that nothing answered since the last call, in words. */
  takeUnlisted(): string[] {
    return this.#script.takeUnlisted()
  }

  /** Moves the clock on. */
  async wait(time: string): Promise<void> {
    await this.context.clock.advance(duration(time))
  }

  /** Purges the cache, as the admin listener does. */
  async purge(body: unknown): Promise<void> {
    const { responseCache } = this.#open.app
    if (responseCache === null || responseCache === undefined)
      throw new Error('"purge": the config has no "cache"')
    await responseCache.purge(body)
  }

  /** Replaces the config; counters, sessions and the cache stay, as at any reload. */
  async reload(file: string): Promise<void> {
    const { source, env } = this.context
    const before = this.#open
    await this.#use(await loadTestedConfig(resolve(source.folder, file), env))
    await before.close()
  }

  /** Closes the gateway. */
  async close(): Promise<void> {
    await this.#gateway?.close()
  }

  get #open(): SimulatedGateway {
    if (this.#gateway === undefined) throw new Error('The gateway is not open')
    return this.#gateway
  }

  async #use(plan: Plan): Promise<void> {
    this.#gateway = await SimulatedGateway.open(plan, this.#script.respond, {
      resources: this.#resources,
      keySet: testKeySet
    })
  }
}
