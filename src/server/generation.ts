import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { onResponseClosed } from '../lib/http/response-end.ts'
import { handleNext } from './pipelining.ts'

/** The requests that all generations of a server have handled. */
export interface RequestCount {
  requests: number
}

/** One Fastify instance and its requests in flight. */
export class Generation {
  readonly app: FastifyInstance
  readonly #count: RequestCount
  #inFlight = 0
  #retired = false
  readonly #onIdle: () => void

  constructor(app: FastifyInstance, count: RequestCount, onIdle: () => void) {
    this.app = app
    this.#count = count
    this.#onIdle = onIdle
  }

  /** The number of requests without a response. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Whether it closes once no request is in flight. */
  get isRetired(): boolean {
    return this.#retired
  }

  /** Routes a request. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#inFlight++
    this.#count.requests++
    // A late write to a response that has ended does not end the process.
    response.on('error', ignore)
    onResponseClosed(response, responseClosed, this, request.socket)
    this.app.routing(request, response)
  }

  /** Counts a response that has closed, and handles the next request of its connection. */
  responseClosed(socket: Socket): void {
    handleNext(socket)
    this.#inFlight--
    if (this.#inFlight === 0) this.#idle()
  }

  /** Closes the instance once no request is in flight. */
  retire(): void {
    this.#retired = true
    if (this.#inFlight === 0) this.#idle()
  }

  #idle(): void {
    this.#onIdle()
    if (this.#retired) void this.app.close()
  }
}

const responseClosed = (generation: Generation, socket: Socket): void => generation.responseClosed(socket)

const ignore = (): void => {}
