import { decodeBody } from '../../src/lib/body/content-coding.ts'
import { type BufferBudget, Reservation } from '../../src/lib/buffers.ts'
import type { AttemptPolicy, UpstreamService } from '../../src/lib/contracts/upstream.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { buffersFull } from '../../src/lib/refusals.ts'
import { Call, type CallLimits, type LegResponse } from './call.ts'
import { CallFailed } from './failures.ts'
import type { ClientRequest } from './leg-call.ts'

/** What ends with the calls of a response; ending it twice is the same as once. */
type Ending = Pick<Call, 'fail'>

/** The calls of one aggregated response: they end together, and the bytes that they hold are counted together. */
export class Calls {
  readonly #budget: BufferBudget
  readonly #reservation: Reservation
  readonly #open = new Set<Ending>()
  #ended: Error | undefined
  #isReleased = false

  constructor(budget: BufferBudget) {
    this.#budget = budget
    this.#reservation = new Reservation(budget)
  }

  /** Sends a request and reads the response, its body decoded. Rejects with a CallFailed, or with what `end` was given. */
  async send(
    upstream: UpstreamService,
    request: ClientRequest,
    policy: AttemptPolicy,
    limits: CallLimits
  ): Promise<LegResponse> {
    if (this.#ended !== undefined) throw this.#ended
    const call = new Call(request.source, limits, this.#reservation)
    this.#open.add(call)
    try {
      call.start(upstream, request, policy)
      return await this.#decoded(await call.response, limits.maxBody)
    } finally {
      this.#open.delete(call)
    }
  }

  /** Waits for what goes on without these calls; rejects, and calls back, where they end first. */
  wait<T>(going: Promise<T>, onEnd: () => void): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const waiting: Ending = {
      fail(error) {
        onEnd()
        reject(error)
      }
    }
    this.#open.add(waiting)
    going.then(resolve, reject).finally(() => this.#open.delete(waiting))
    if (this.#ended !== undefined) waiting.fail(this.#ended)
    return promise
  }

  /** Counts more bytes that are held until `release`; throws a 503 where there is no room for them. */
  hold(bytes: number): void {
    // What is counted after the release would be counted for ever.
    if (this.#isReleased) throw this.#ended ?? new Error('The response is over')
    if (!this.#reservation.add(bytes)) throw buffersFull()
  }

  /** Ends all calls with an error. */
  end(error: Error): void {
    this.#ended ??= error
    for (const call of this.#open) call.fail(error)
  }

  /** Ends all calls, and gives back the memory of all bodies. */
  release(error: Error): void {
    this.end(error)
    this.#isReleased = true
    this.#reservation.release()
  }

  /** Decodes a body: an upstream may send a content coding although identity was asked for. */
  async #decoded(response: LegResponse, maxBody: number): Promise<LegResponse> {
    const coding = headerOf(response.fields, 'content-encoding')
    if (coding === undefined) return response
    const whileDecoding = new Reservation(this.#budget)
    if (!whileDecoding.add(maxBody)) throw buffersFull()
    try {
      const body = await decodeBody(response.body, coding, maxBody)
      if (this.#ended !== undefined) throw this.#ended
      if (!Buffer.isBuffer(body))
        throw new CallFailed({ reason: body.fault === 'tooLarge' ? 'size' : 'format' })
      if (body !== response.body) this.hold(body.length)
      return { ...response, body }
    } finally {
      whileDecoding.release()
    }
  }
}

/** Ends the calls of a response whose time is up. */
export const endInTime = (calls: Calls): void => calls.end(new CallFailed({ reason: 'timeout' }))
