import type { FastifyRequest } from 'fastify'
import { StageHead } from '../../src/lib/http/stage-head.ts'
import {
  type ResponseStage,
  type StagedBody,
  type StagedOutput,
  startStages
} from '../../src/lib/http/staged-body.ts'
import { endToEndFields, type UpstreamHead } from './response-head.ts'

/** Receives a response that has gone through stages. */
export interface StagedResponseListener {
  /** Called with the head before the first byte; returns the error if the client can't be sent it. */
  onStagedHead(head: UpstreamHead): Error | undefined
  /** Called with a part of the body; returns false to pause until `resume`. */
  onStagedData(chunk: Buffer): boolean
  onStagedEnd(trailers: readonly [string, string][]): void
  /** Called when the first stage takes more. */
  onStagedDrain(): void
  /** Called once if the response can't go on. */
  onStagedError(error: Error): void
}

/** An upstream's response on its way through the stages of a route: its head waits for the first byte of the last stage. */
export class StagedResponse implements StagedOutput {
  readonly #upstreamHead: UpstreamHead
  readonly #head: StageHead
  readonly #listener: StagedResponseListener
  #body: StagedBody | undefined
  #trailers: readonly [string, string][] = []
  #headSent = false

  constructor(head: UpstreamHead, listener: StagedResponseListener) {
    this.#upstreamHead = head
    this.#head = new StageHead(head.status, endToEndFields(head.fields), !head.endStream)
    this.#listener = listener
  }

  /** The head as the stages have it now. */
  get head(): UpstreamHead {
    const { status, fields } = this.#head
    const { statusText } = this.#upstreamHead
    return {
      ...this.#upstreamHead,
      status,
      fields,
      statusText: status === this.#upstreamHead.status ? statusText : ''
    }
  }

  /** Starts the stages; returns whether one of them wants the body. Throws what a stage throws. */
  start(stages: readonly ResponseStage[], request: FastifyRequest): boolean {
    this.#body = startStages(stages, this.#head, request, this)
    return this.#body !== undefined
  }

  /** Writes a part of the upstream's body; returns false to pause until `onStagedDrain`. */
  write(chunk: Buffer): boolean {
    return this.#body?.write(chunk) !== false
  }

  /** Ends the upstream's body. */
  end(trailers: readonly [string, string][]): void {
    this.#trailers = trailers
    this.#body?.end()
  }

  /** Goes on after `onStagedData` has returned false. */
  resume(): void {
    this.#body?.resume()
  }

  /** Sends the head of an event stream, which a client waits for even if no event follows for long. */
  flush(): void {
    if (/^\s*text\/event-stream\b/i.test(this.#head.get('content-type') ?? '')) this.#sendHead()
  }

  /** Gives the response up. */
  destroy(): void {
    this.#body?.destroy()
  }

  onStagedData(chunk: Buffer): boolean {
    return this.#sendHead() && this.#listener.onStagedData(chunk)
  }

  onStagedEnd(): void {
    if (this.#sendHead()) this.#listener.onStagedEnd(this.#trailers)
  }

  onStagedDrain(): void {
    this.#listener.onStagedDrain()
  }

  onStagedError(error: Error): void {
    this.#listener.onStagedError(error)
  }

  #sendHead(): boolean {
    if (this.#headSent) return true
    this.#headSent = true
    const failed = this.#listener.onStagedHead(this.head)
    if (failed === undefined) return true
    this.destroy()
    this.#listener.onStagedError(failed)
    return false
  }
}
