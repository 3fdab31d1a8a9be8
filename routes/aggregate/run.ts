import type { FastifyRequest } from 'fastify'
import { ProvenJson, stringifyJson } from '../../src/lib/body/json.ts'
import type { OutboundRequest, ReplayableBody } from '../../src/lib/contracts/upstream.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { CallFailed, type Calls, type LegResponse } from './call.ts'
import type { Leg, LegFailure } from './leg.ts'
import type { LegBody } from './leg-request.ts'
import { type ClientBody, type LegValue, plainValue, type Values } from './references.ts'
import { legRefusal } from './refusals.ts'

/** What became of a leg. */
export interface LegOutcome {
  readonly leg: Leg
  /** Its result, or what takes the place of one; undefined if it failed without a fallback. */
  readonly value: LegValue | undefined
  /** Why it failed, or one of its items did. */
  readonly failure: LegFailure | undefined
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
}

const SKIPPED: LegFailure = { reason: 'skipped', status: undefined }

/** Runs the legs of one aggregated response, each as soon as those it waits for are done. */
export class Run {
  readonly #legs: ReadonlyMap<string, Leg>
  readonly #calls: Calls
  readonly #input: RunInput
  readonly #results = new Map<string, LegValue>()
  readonly #outcomes = new Map<string, Promise<LegOutcome>>()

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

  /** Runs all legs; rejects with the refusal of the first required one that fails. */
  outcomes(): Promise<LegOutcome[]> {
    return Promise.all([...this.#legs.values()].map((leg) => this.#outcomeOf(leg)))
  }

  #outcomeOf(leg: Leg): Promise<LegOutcome> {
    return getOrCreate(this.#outcomes, leg.name, () => this.#run(leg))
  }

  async #run(leg: Leg): Promise<LegOutcome> {
    const before = await Promise.all(
      leg.waitsFor.flatMap((name) => {
        const other = this.#legs.get(name)
        return other === undefined ? [] : [this.#outcomeOf(other)]
      })
    )
    const began = performance.now()
    try {
      // The items of a list may have failed one by one.
      if (before.some(({ failure, heads }) => failure !== undefined && heads.length === 0))
        throw new CallFailed(SKIPPED)
      const outcome = leg.each === undefined ? await this.#callOnce(leg) : await this.#callEach(leg)
      this.#results.set(leg.name, outcome.value)
      return { leg, ms: performance.now() - began, ...outcome }
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      const { failure } = error
      if (leg.required) throw legRefusal(leg.name, failure, leg.pass)
      if (leg.fallback !== undefined) this.#results.set(leg.name, leg.fallback)
      const ms = performance.now() - began
      return { leg, value: leg.fallback, failure, status: failure.status ?? 0, ms, heads: [] }
    }
  }

  async #callOnce(leg: Leg): Promise<Finished> {
    const { values } = this
    const path = leg.path(values)
    if (path === undefined) throw new CallFailed(SKIPPED)
    const { response, value } = await this.#call(leg, path, values)
    return { value, failure: undefined, status: response.status, heads: [response.fields] }
  }

  /** Calls a leg for each item of a list, equal URLs once, and returns a list in the same order. */
  async #callEach(leg: Leg): Promise<Finished> {
    const items = plainValue(leg.each?.(this.values))
    if (!Array.isArray(items)) throw new CallFailed({ reason: 'format', status: undefined })
    const byPath = new Map<string, Promise<ItemResult>>()
    const results: ItemResult[] = []
    let next = 0
    const work = async (): Promise<void> => {
      while (next < items.length) {
        const i = next++
        results[i] = i < leg.max ? await this.#item(leg, items[i], byPath) : { failure: TOO_MANY }
      }
    }
    await Promise.all(Array.from({ length: Math.min(leg.concurrency, items.length) }, work))
    const text = `[${results.map(({ value }) => textOf(value ?? leg.fallback)).join(',')}]`
    const bytes = Buffer.from(text)
    this.#calls.hold(bytes.length)
    const failure = results.find((result) => result.failure !== undefined)?.failure
    return {
      value: {
        proven: new ProvenJson(bytes, text),
        value: results.map(({ value }) => (value ?? leg.fallback ?? { value: null }).value)
      },
      failure,
      status: failure?.status ?? 200,
      heads: [...new Set(results.flatMap(({ head }) => (head === undefined ? [] : [head])))]
    }
  }

  #item(leg: Leg, item: unknown, byPath: Map<string, Promise<ItemResult>>): Promise<ItemResult> {
    const values = { ...this.values, item }
    const path = leg.path(values)
    if (path === undefined) return Promise.resolve({ failure: SKIPPED })
    const call = (): Promise<ItemResult> =>
      this.#call(leg, path, values).then(
        ({ response, value }) => ({ value, head: response.fields }),
        (error: unknown) => {
          if (!(error instanceof CallFailed)) throw error
          return { failure: error.failure }
        }
      )
    return leg.safe ? getOrCreate(byPath, path, call) : call()
  }

  async #call(
    leg: Leg,
    path: string,
    values: Values
  ): Promise<{ readonly response: LegResponse; readonly value: LegValue }> {
    const body = leg.request.body(values)
    if (body === undefined) throw new CallFailed(SKIPPED)
    const { request, head } = this.#input
    const own = leg.request.head(head, values, body)
    const outbound: OutboundRequest = {
      source: request,
      method: leg.request.method,
      path,
      idempotent: leg.safe,
      body: body === null ? null : replayable(body),
      deadline: request.deadline,
      headersFor({ host }) {
        own[1] = host
        return own
      }
    }
    const response = await this.#calls.send(leg.upstream, outbound, leg.policy, leg.limits)
    const value = leg.read(response)
    // The value lies in memory beside the bytes.
    if (value.value !== undefined) this.#calls.hold(response.body.length)
    return { response, value }
  }
}

type Finished = Omit<LegOutcome, 'leg' | 'ms' | 'value'> & { readonly value: LegValue }

interface ItemResult {
  readonly value?: LegValue
  readonly head?: readonly string[]
  readonly failure?: LegFailure
}

const TOO_MANY: LegFailure = { reason: 'size', status: undefined }

const textOf = (value: LegValue | undefined): string =>
  value === undefined ? 'null' : (value.proven?.text ?? stringifyJson(value.value))

const replayable = ({ bytes }: LegBody): ReplayableBody => ({
  isDisposable: false,
  ended: true,
  isReplayable: true,
  isReplayableWithin: (maxBytes) => bytes.length <= maxBytes,
  open: () => bytes
})
