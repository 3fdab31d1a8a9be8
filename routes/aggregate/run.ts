import type { FastifyRequest } from 'fastify'
import { monotonic } from '../../src/lib/clock.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { Calls } from './calls.ts'
import { callEach, type Finished, type LegResult } from './each.ts'
import { CallFailed, type LegFailure, legRefusal } from './failures.ts'
import type { CachedResponse, Leg } from './leg.ts'
import { outbound } from './leg-call.ts'
import type { ClientBody, LegValue, Values } from './references.ts'
import { memoryOfValue } from './value-memory.ts'

/** What became of a leg. */
export interface LegOutcome {
  readonly leg: Leg
  /** Its result, or its fallback; undefined if it failed without one. */
  readonly value: LegValue | undefined
  /** Why it failed, or one of its items did. */
  readonly failure: LegFailure | undefined
  /** Whether it failed as a whole. */
  readonly hasFailed: boolean
  readonly status: number
  readonly ms: number
  /** The headers of its successful responses. */
  readonly heads: readonly (readonly string[])[]
}

/** The client's request, as the legs use it. */
export interface RunInput {
  readonly request: FastifyRequest
  /** The headers that a proxied request would have: lower-case names and values in turn, Host first. */
  readonly head: readonly string[]
  readonly body: ClientBody | undefined
  /** The time limit of the response; null for none. */
  readonly deadline: Deadline | null
}

const SKIPPED: LegFailure = { reason: 'skipped' }

/** Runs the legs of one aggregated response, each as soon as those that it waits for are done. */
export class Run {
  readonly #legs: ReadonlyMap<string, Leg>
  readonly #calls: Calls
  readonly #input: RunInput
  readonly #results = new Map<string, LegValue>()
  readonly #started = new Map<string, Promise<LegOutcome>>()
  readonly #finished: LegOutcome[] = []

  constructor(legs: ReadonlyMap<string, Leg>, calls: Calls, input: RunInput) {
    this.#legs = legs
    this.#calls = calls
    this.#input = input
  }

  /** The results so far, and the request. */
  get values(): Values {
    const { request, body } = this.#input
    return { request, results: this.#results, body }
  }

  /** What became of the legs that are done, in the order of the config. */
  get finished(): readonly LegOutcome[] {
    const order = [...this.#legs.values()]
    return this.#finished.toSorted((a, b) => order.indexOf(a.leg) - order.indexOf(b.leg))
  }

  /** Runs all legs. Rejects with the refusal of the first required one that fails, and ends the others. */
  async outcomes(): Promise<LegOutcome[]> {
    try {
      return await Promise.all([...this.#legs.values()].map((leg) => this.#outcomeOf(leg)))
    } catch (error) {
      this.#calls.end(error as Error)
      throw error
    }
  }

  #outcomeOf(leg: Leg): Promise<LegOutcome> {
    return getOrCreate(this.#started, leg.name, () => this.#run(leg))
  }

  async #run(leg: Leg): Promise<LegOutcome> {
    const before = await Promise.all(
      leg.waitsFor.flatMap((name) => {
        const other = this.#legs.get(name)
        return other === undefined ? [] : [this.#outcomeOf(other)]
      })
    )
    const began = performance.now()
    const end = (outcome: Omit<LegOutcome, 'leg' | 'ms'>): LegOutcome => {
      const ended = { leg, ms: performance.now() - began, ...outcome }
      if (ended.value !== undefined) this.#results.set(leg.name, ended.value)
      this.#finished.push(ended)
      return ended
    }
    try {
      if (before.some(({ hasFailed }) => hasFailed)) throw new CallFailed(SKIPPED)
      return end({ ...(await this.#call(leg)), hasFailed: false })
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      const { failure } = error
      const failed = end({
        value: leg.fallback,
        failure,
        hasFailed: true,
        status: failure.status ?? 0,
        heads: []
      })
      if (leg.required) throw legRefusal(leg.name, failure, leg.pass)
      return failed
    }
  }

  async #call(leg: Leg): Promise<Finished> {
    const endsAt = monotonic() + leg.timeout
    const { values } = this
    if (leg.each === undefined) {
      const { head, status, value } = await this.#send(leg, values, endsAt)
      return { value, failure: undefined, status, heads: [head] }
    }
    const items = leg.each(values)
    if (!Array.isArray(items)) throw new CallFailed({ reason: 'format' })
    const finished = await callEach(leg, items, {
      keyOf: (item) => (leg.isSharedByPath ? leg.path({ ...values, item }) : undefined),
      call: (item) => this.#send(leg, { ...values, item }, endsAt)
    })
    this.#calls.hold(finished.value.proven?.bytes.length ?? 0)
    return finished
  }

  async #send(leg: Leg, values: Values, endsAt: number): Promise<LegResult> {
    const path = leg.path(values)
    const body = leg.request.body(values)
    if (path === undefined || body === undefined) throw new CallFailed(SKIPPED)
    const timeout = endsAt - monotonic()
    if (timeout <= 0) throw new CallFailed({ reason: 'timeout' })
    const { request, head: base, deadline } = this.#input
    if (body !== null && body.bytes !== values.body?.bytes) this.#calls.hold(body.bytes.length)
    const head = leg.request.head(base, values, body)
    const call = { request, path, head, body, limits: { maxBody: leg.maxBody, timeout } }
    const response: CachedResponse =
      leg.cache === undefined
        ? await this.#calls.send(leg.upstream, outbound(leg, call, deadline), leg.policy, call.limits)
        : await leg.cache.answer(call, this.#calls, deadline)
    leg.invalidate?.(path)
    if (leg.isParsed) this.#calls.hold(memoryOfValue(response.body, leg.from))
    return { value: response.value ?? leg.read(response), head: response.fields, status: response.status }
  }
}
