import type { FastifyReply, FastifyRequest } from 'fastify'
import { Reservation } from '../../src/lib/buffers.ts'
import type { CacheAnswer, CacheFill } from '../../src/lib/contracts/cache.ts'
import { onResponseClosed, type ResponseListener } from '../../src/lib/http/response-end.ts'
import { upstreamRefusal } from '../../src/lib/upstream-errors.ts'
import { type CachedPlans, storedHead, withCacheStatus } from './cached-plans.ts'
import { stageRefusal } from './refusals.ts'
import { ResponseWriter, type ResponseWriterListener } from './response.ts'
import type { ResponseHeadPlan, UpstreamHead } from './response-head.ts'
import { StagedResponse } from './staged-response.ts'

/** What writes a response to the cache, beside its client. */
export interface FillPlan {
  readonly fill: CacheFill
  readonly plans: CachedPlans
}

/** Writes the response to a request that fills the cache: to the cache, and to its own client while there is one. */
export class FillWriter extends ResponseWriter {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #listener: ResponseWriterListener
  readonly #fill: CacheFill
  readonly #plans: CachedPlans
  // What the client has not read of a body that goes on for the cache.
  readonly #ahead: Reservation
  #plan: ResponseHeadPlan | undefined
  #before: StagedResponse | undefined
  #phase: 'waiting' | 'filling' | 'stored' | 'over' = 'waiting'
  #isClientFull = false
  #isCacheFull = false
  #onOver: (() => void) | undefined

  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    listener: ResponseWriterListener,
    { fill, plans }: FillPlan
  ) {
    super(request, reply, listener)
    this.#request = request
    this.#reply = reply
    this.#listener = listener
    this.#fill = fill
    this.#plans = plans
    this.#ahead = new Reservation(request.server.buffers)
    fill.drained = () => {
      this.#isCacheFull = false
      this.#resume()
    }
    fill.abandoned = () => this.#reportOver()
  }

  /** Calls back later than the close of the client where other requests wait for this response. */
  override onOver<A>(callback: (arg: A) => void, arg: A): ResponseListener {
    const onClosed = (): void => {
      this.#onOver = () => callback(arg)
      const isNeeded = this.#phase === 'waiting' || this.#phase === 'filling'
      if (!isNeeded || !this.#fill.isAwaited) this.#reportOver()
      else if (this.#isClientFull) this.onStagedDrain()
    }
    return onResponseClosed(this.#reply.raw, onClosed, undefined, undefined)
  }

  #reportOver(): void {
    const report = this.#onOver
    this.#onOver = undefined
    // The exchange may be about to end itself.
    if (report !== undefined) queueMicrotask(report)
  }

  override get isStaged(): boolean {
    return this.#before !== undefined || super.isStaged
  }

  override get endedWithHeaders(): boolean {
    return this.#phase === 'stored' || super.endedWithHeaders
  }

  override start(head: UpstreamHead, plan: ResponseHeadPlan): Error | undefined {
    this.#plan = plan
    const { before } = this.#plans
    if (before.length === 0) return this.#startFilling(head)
    const staged = new StagedResponse(head, {
      onStagedHead: (changed) => {
        const failed = this.#startFilling(changed)
        if (failed === undefined && this.endedWithHeaders && !this.isStaged) this.#listener.onBodyWritten([])
        return failed
      },
      onStagedData: (chunk) => this.#write(chunk),
      onStagedEnd: (trailers) => this.#endBody(trailers),
      onStagedDrain: () => this.#listener.onDrain(),
      onStagedError: (error) => this.#listener.fail(stageRefusal(this.#request, error))
    })
    try {
      if (!staged.start(before, this.#request)) return this.#startFilling(staged.head)
    } catch (error) {
      return stageRefusal(this.#request, error as Error)
    }
    this.#before = staged
    return undefined
  }

  #startFilling(head: UpstreamHead): Error | undefined {
    const plan = this.#plan as ResponseHeadPlan
    const { status, fields } = head
    const seen = this.#fill.head({ status, fields, source: plan.source })
    if (seen.kind === 'stored') return this.#startStored(seen.answer)
    this.#phase = 'filling'
    if (this.isClosed) {
      this.#listener.onHeadersSent()
      return undefined
    }
    return super.start(withCacheStatus(head, seen.cacheStatus, seen.removes), this.#plans.behindCache(plan))
  }

  /** Sends a stored response in place of the upstream's. */
  #startStored(answer: CacheAnswer): Error | undefined {
    this.#phase = 'stored'
    this.#before?.destroy()
    this.#before = undefined
    if (this.isClosed) {
      this.#reportOver()
      return undefined
    }
    const failed = super.start(storedHead(answer), this.#plans.planFor(answer))
    if (failed !== undefined) return failed
    if (answer.body !== null) super.write(answer.body as Buffer)
    if (super.isStaged) super.endBody([])
    return undefined
  }

  override recover(error: Error): boolean {
    if (this.#phase === 'stored') return true
    if (this.#phase !== 'waiting' || (upstreamRefusal(error).statusCode ?? 500) < 502) return false
    const answer = this.#fill.staleIfError()
    return answer !== undefined && this.#startStored(answer) === undefined
  }

  override write(chunk: Buffer): boolean {
    return this.#before === undefined ? this.#write(chunk) : this.#before.write(chunk)
  }

  #write(chunk: Buffer): boolean {
    if (this.#phase !== 'filling') return true
    this.#isCacheFull = !this.#fill.write(chunk)
    if (!this.isClosed && !super.write(chunk))
      this.#isClientFull = !this.#fill.keepsBody || !this.#ahead.add(chunk.length)
    return !this.#isClientFull && !this.#isCacheFull
  }

  override onStagedDrain(): void {
    this.#isClientFull = false
    this.#ahead.release()
    this.#resume()
  }

  #resume(): void {
    if (this.#isClientFull || this.#isCacheFull) return
    if (this.#before === undefined) this.#listener.onDrain()
    else this.#before.resume()
  }

  override writeThroughStages(body: string): boolean {
    if (!this.isStaged) return false
    this.write(Buffer.from(body, 'latin1'))
    this.endBody([])
    return true
  }

  override endBody(trailers: readonly [string, string][]): void {
    if (this.#before === undefined) this.#endBody(trailers)
    else this.#before.end(trailers)
  }

  #endBody(trailers: readonly [string, string][]): void {
    if (this.#phase !== 'filling') return
    this.#endFill()
    if (this.isClosed) this.#listener.onBodyWritten([])
    else super.endBody(trailers)
  }

  override end(body?: string): void {
    if (this.#phase === 'filling') {
      if (body !== undefined) this.#fill.write(Buffer.from(body, 'latin1'))
      this.#endFill()
    }
    if (!this.isClosed) super.end(body)
  }

  #endFill(): void {
    this.#phase = 'over'
    this.#fill.end()
    this.#reportOver()
  }

  override flushHeaders(): void {
    this.#before?.flush()
    if (!this.isClosed) super.flushHeaders()
  }

  override discard(status: number): void {
    if (this.#phase === 'waiting') {
      this.#phase = 'over'
      this.#fill.discard(status)
    }
    this.release()
  }

  override release(): void {
    super.release()
    this.#before?.destroy()
    this.#ahead.release()
    if (this.#phase === 'waiting' || this.#phase === 'filling') {
      this.#phase = 'over'
      this.#fill.fail()
    }
    this.#reportOver()
  }
}
