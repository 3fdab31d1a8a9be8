import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { startTimer, stopTimer, type Timer } from '../lib/clock.ts'
import { isClosed } from '../lib/http/response.ts'
import type { Generation } from './generation.ts'
import type { Generations } from './generations.ts'
import { handleNext } from './pipelining.ts'

/** Decides which requests are traced, and builds the instance that handles them. */
export interface TracedRequests {
  /** Returns whether a request is to be traced; called with each. */
  wants(request: IncomingMessage): boolean
  /** Returns the instance beside the current one, built at first use. */
  instanceFor(current: FastifyInstance): Promise<FastifyInstance>
  /** Called just before the instance handles a request. */
  begin(current: FastifyInstance, request: IncomingMessage, response: ServerResponse): void
  /** Forgets the instance, and returns it: after a reload, or after a minute without a request. */
  release(current: FastifyInstance): Promise<FastifyInstance> | undefined
}

// How long the instance stays after the last traced request, in ms.
const IDLE_MS = 60_000

/** The instance that handles traced requests. */
interface TracedInstance {
  readonly generation: Generation
  readonly timer: Timer
}

/** Handles traced requests in an instance beside the current one, so that all others pay nothing. */
export class TracedRequestHandler {
  readonly #traced: TracedRequests
  readonly #generations: Generations
  readonly #log: Logger
  #instance: TracedInstance | undefined
  #isStopped = false

  constructor(traced: TracedRequests, generations: Generations, log: Logger) {
    this.#traced = traced
    this.#generations = generations
    this.#log = log
  }

  /** Returns whether a request is to be traced. */
  wants(request: IncomingMessage): boolean {
    return !this.#isStopped && this.#traced.wants(request)
  }

  /** Traces a request; the current instance handles it where none for traces can be built, or where the server drains meanwhile. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#generations.waiting++
    const instance = await this.#openInstance()
    this.#generations.waiting--
    const { current } = this.#generations
    if (isClosed(response)) {
      handleNext(request.socket)
      this.#generations.onIdle()
    } else if (instance === undefined) current.handle(request, response)
    else {
      this.#traced.begin(current.app, request, response)
      instance.generation.handle(request, response)
    }
  }

  /** Closes the instance after its last response, or once it is built; the next traced request opens another one. */
  async close(): Promise<void> {
    const building = this.#traced.release(this.#generations.current.app)
    const instance = this.#instance
    this.#instance = undefined
    if (instance !== undefined) {
      stopTimer(instance.timer)
      this.#generations.retire(instance.generation)
    } else await building?.then((app) => app.close()).catch(() => {})
  }

  /** Traces no further request. */
  stop(): void {
    this.#isStopped = true
  }

  /** Returns the instance for traced requests, which is built again where a reload replaced the current one meanwhile. */
  async #openInstance(): Promise<TracedInstance | undefined> {
    const { app } = this.#generations.current
    const traced = await this.#traced.instanceFor(app).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'request could not be traced')
      return undefined
    })
    if (this.#isStopped) return undefined
    if (app !== this.#generations.current.app) return this.#openInstance()
    if (traced === undefined) return undefined
    this.#instance ??= {
      generation: this.#generations.add(traced),
      timer: startTimer(() => void this.close(), IDLE_MS).unref()
    }
    this.#instance.timer.refresh()
    return this.#instance
  }
}
