import { resolve } from 'node:path'
import type { Environment } from '../config/plan-draft.ts'
import type { Plan } from '../config/plan-types.ts'
import type { Source } from '../config/source.ts'
import { Resources } from '../gateway/resources.ts'
import type { AcceptedIssuer } from '../lib/contracts/simulation.ts'
import { duration } from '../lib/units.ts'
import { SimulatedClock } from '../simulation/clock.ts'
import { SimulatedGateway, type SimulatedOutcome, type SimulatedRequest } from '../simulation/simulation.ts'
import type { Coverage } from './coverage.ts'
import { loadTestedConfig } from './load-config.ts'
import type { TestFile } from './schema.ts'
import { testKeySet } from './sign.ts'
import { type LeftNoState, makeLeftNoState } from './stateless.ts'
import { UpstreamScript } from './upstream-script.ts'
import type { ScriptedUpstreams } from './upstreams-schema.ts'

/** What the tests of a file share. */
export interface TestContext {
  readonly source: Source
  readonly content: TestFile
  readonly plan: Plan
  readonly env: Environment
  /** The date at which tests begin, in milliseconds since 1970. */
  readonly begins: number
  readonly coverage: Coverage
}

/** A gateway and its clock, for one test, or for several in turn where none leaves state. */
export class TestedGateway {
  readonly context: TestContext
  readonly clock: SimulatedClock
  readonly #resources = new Resources()
  readonly #leftNoState: LeftNoState
  #script = new UpstreamScript()
  #gateway: SimulatedGateway | undefined
  #isAsNew = true
  #isClockAsNew: () => boolean = () => false

  private constructor(context: TestContext) {
    this.context = context
    this.clock = new SimulatedClock(context.begins)
    this.#leftNoState = makeLeftNoState(context.plan)
  }

  /** Builds the gateway. */
  static async open(context: TestContext): Promise<TestedGateway> {
    const made = new TestedGateway(context)
    try {
      await made.#use(context.plan)
      context.coverage.addRoutes(made.#open.app.routeInfos)
      await made.clock.settle()
      made.#isClockAsNew = made.clock.watch()
      return made
    } catch (error) {
      await made.close()
      throw error
    }
  }

  /** Begins a test; its upstreams come before those of its file. */
  begin(upstreams: ScriptedUpstreams | undefined): void {
    this.#script = new UpstreamScript(upstreams, this.context.content.upstreams)
  }

  /** Ends a test; returns whether the gateway is as new, so that another test may begin. */
  end(): boolean {
    if (!this.#isAsNew || !this.#isClockAsNew()) return false
    this.#open.renew()
    return true
  }

  /** The issuers whose tokens it accepts. */
  get issuers(): readonly AcceptedIssuer[] {
    return this.#open.issuers
  }

  /** Sends a request. */
  async send(request: SimulatedRequest): Promise<SimulatedOutcome> {
    const wasAsNew = this.#isAsNew
    // Stays so for a request without an end.
    this.#isAsNew = false
    const outcome = await this.#open.send(request)
    this.#isAsNew = wasAsNew && this.#leftNoState(outcome)
    return outcome
  }

  /** Returns the requests to upstreams that nothing answered since the last call, in words. */
  takeUnlisted(): string[] {
    return this.#script.takeUnlisted()
  }

  /** The last request to an upstream, where its response comes late or never. */
  get unanswered(): string | undefined {
    return this.#script.unanswered
  }

  /** Moves the clock on. */
  async wait(time: string): Promise<void> {
    this.#isAsNew = false
    await this.clock.advance(duration(time))
  }

  /** Purges the cache, as the admin listener does. */
  async purge(body: unknown): Promise<void> {
    this.#isAsNew = false
    const { responseCache } = this.#open.app
    if (responseCache === null || responseCache === undefined)
      throw new Error('"purge": the config has no "cache"')
    await responseCache.purge(body)
  }

  /** Replaces the config; counters, sessions and the cache stay, as at any reload. */
  async reload(file: string): Promise<void> {
    this.#isAsNew = false
    const { source, env } = this.context
    const before = this.#open
    await this.#use(await loadTestedConfig(resolve(source.folder, file), env))
    await before.close()
  }

  /** Closes the gateway, and restores the clock of the process. */
  async close(): Promise<void> {
    try {
      await this.#gateway?.close()
    } finally {
      this.clock.close()
    }
  }

  get #open(): SimulatedGateway {
    if (this.#gateway === undefined) throw new Error('The gateway is not open')
    return this.#gateway
  }

  async #use(plan: Plan): Promise<void> {
    this.#gateway = await SimulatedGateway.open(plan, (call) => this.#script.respond(call), {
      resources: this.#resources,
      keySet: testKeySet
    })
  }
}
