import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { returnWhenWritten } from '../../src/lib/body/pooled-memory.ts'
import {
  addTrailers,
  cut,
  endedWithHead,
  flushHead,
  isClosed,
  writeHead,
  writeInterim
} from '../../src/lib/http/response.ts'
import { countOwnBytes, onResponseClosed, type ResponseListener } from '../../src/lib/http/response-end.ts'
import { stageRefusal } from './refusals.ts'
import { informationHead, type ResponseHeadPlan, responseHead, type UpstreamHead } from './response-head.ts'
import { isLongLived, isOfSession, SessionOver, watchSession } from './session-end.ts'
import { StagedResponse, type StagedResponseListener } from './staged-response.ts'

// Bytes of a response that are buffered for a slow client, so that the upstream is done with a short one sooner.
const READ_AHEAD = 262_144

/** Receives the events of a response on the client's side. */
export interface ResponseWriterListener {
  /** Called when the client, or the first stage, has read what was buffered. */
  onDrain(): void
  onHeadersSent(): void
  /** Called when all of the body has been written. */
  onBodyWritten(trailers: readonly [string, string][]): void
  /** Called when the response must be aborted. */
  fail(error: Error): void
}

/** Writes the response of an upstream to a client: its headers, its body as fast as the client reads it, and its trailers. */
export class ResponseWriter implements StagedResponseListener {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  readonly #listener: ResponseWriterListener
  #plan: ResponseHeadPlan | undefined
  #staged: StagedResponse | undefined
  #endless = false
  #listening = false
  #readsAhead = false

  constructor(request: FastifyRequest, reply: FastifyReply, listener: ResponseWriterListener) {
    this.#request = request
    this.#reply = reply
    this.#response = reply.raw
    this.#listener = listener
  }

  /** Calls a function with its argument once when the response has ended, or the client is gone and nobody else waits for it. */
  onOver<A>(callback: (arg: A) => void, arg: A): ResponseListener {
    return onResponseClosed(this.#response, callback, arg, undefined)
  }

  /** Starts another response in place of a failed one; returns whether there is one. */
  recover(_error: Error): boolean {
    return false
  }

  /** Whether the client's connection or stream is closed. */
  get isClosed(): boolean {
    return isClosed(this.#response)
  }

  get headersSent(): boolean {
    return this.#response.headersSent
  }

  /** Whether the response has ended with its headers. */
  get endedWithHeaders(): boolean {
    return endedWithHead(this.#response)
  }

  /** Whether the body may be idle for as long as it likes: an event stream. */
  get isEndless(): boolean {
    return this.#endless
  }

  writeInformation(status: number, fields: readonly string[]): void {
    writeInterim(this.#response, status, informationHead(fields))
  }

  /** Whether the body goes through stages, which the headers wait for. */
  get isStaged(): boolean {
    return this.#staged !== undefined
  }

  /** Begins a response: writes its headers, or starts the stages of the route. Returns the error if the client can't be sent it. */
  start(head: UpstreamHead, plan: ResponseHeadPlan): Error | undefined {
    this.#plan = plan
    const { stages } = plan.head
    if (stages.length === 0) return this.#writeHeaders(head)
    const staged = new StagedResponse(head, this)
    try {
      if (!staged.start(stages, this.#request)) return this.#writeHeaders(staged.head)
    } catch (error) {
      return stageRefusal(this.#request, error as Error)
    }
    this.#staged = staged
    return undefined
  }

  onStagedHead(head: UpstreamHead): Error | undefined {
    return this.#writeHeaders(head)
  }

  #writeHeaders(head: UpstreamHead): Error | undefined {
    this.#listener.onHeadersSent()
    const { fields, endless } = responseHead(head, this.#request, this.#reply, this.#plan as ResponseHeadPlan)
    const { status, statusText: reason, endStream } = head
    this.#endless = endless
    if (isOfSession(this.#request) && !endStream && (endless || isLongLived(fields)))
      watchSession(this.#request, this.#reply, () => this.#listener.fail(new SessionOver()))
    const failed = writeHead(this.#response, { status, reason, fields, endStream })
    if (failed === undefined) this.#reply.hijack()
    return failed
  }

  /** Writes the headers of a 101 and leaves the connection to the caller; returns the error if it can't be sent. */
  switchProtocols(
    upstreamFields: readonly string[],
    plan: ResponseHeadPlan,
    stickyCookie: string | undefined
  ): Error | undefined {
    const status = 101
    const reason = 'Switching Protocols'
    const head = { status, statusText: reason, fields: upstreamFields, endStream: true, stickyCookie }
    const { fields } = responseHead(head, this.#request, this.#reply, plan)
    fields.push('connection', 'Upgrade', 'upgrade', 'websocket')
    const failed = writeHead(this.#response, { status, reason, fields, endStream: false })
    if (failed !== undefined) return failed
    this.#reply.hijack()
    flushHead(this.#response)
    return undefined
  }

  /** Sends the headers now instead of with the first part of the body, unless stages hold them back. */
  flushHeaders(): void {
    this.#staged?.flush()
    if (this.headersSent && this.#request.forwarding?.bytesOut === 0) flushHead(this.#response)
  }

  /** Writes a part of the body; returns whether more may be written before `onDrain`. */
  write(chunk: Buffer): boolean {
    return this.#staged === undefined ? this.#writeBody(chunk) : this.#staged.write(chunk)
  }

  /** Writes a complete body, in which each character is a byte, if there are stages; returns whether there are. */
  writeThroughStages(body: string): boolean {
    if (this.#staged === undefined) return false
    this.#staged.write(Buffer.from(body, 'latin1'))
    this.#staged.end([])
    return true
  }

  /** Ends the body; `onBodyWritten` is called when all of it has been written. */
  endBody(trailers: readonly [string, string][]): void {
    if (this.#staged === undefined) this.#listener.onBodyWritten(trailers)
    else this.#staged.end(trailers)
  }

  onStagedEnd(trailers: readonly [string, string][]): void {
    this.#listener.onBodyWritten(trailers)
  }

  onStagedDrain(): void {
    this.#listener.onDrain()
  }

  onStagedError(error: Error): void {
    this.#listener.fail(stageRefusal(this.#request, error))
  }

  onStagedData(chunk: Buffer): boolean {
    return this.#writeBody(chunk)
  }

  #writeBody(chunk: Buffer): boolean {
    const { forwarding } = this.#request
    if (forwarding !== null) forwarding.bytesOut += chunk.length
    else countOwnBytes(this.#response, chunk.length)
    if (this.#response.write(chunk, returnWhenWritten(chunk))) return true
    this.#listenForDrain()
    // An event stream has to arrive as it is sent.
    if (this.#endless || this.#response.writableLength >= READ_AHEAD) return false
    this.#readsAhead ||= this.#request.server.buffers.reserve(READ_AHEAD)
    return this.#readsAhead
  }

  #listenForDrain(): void {
    if (this.#listening) return
    this.#listening = true
    // A client that reads nothing at all is closed by the listener, as for any other response.
    this.#response.on('drain', () => {
      this.#releaseReadAhead()
      if (this.#staged === undefined) this.onStagedDrain()
      else this.#staged.resume()
    })
  }

  /** Destroys the stages, and returns the read-ahead buffer to the budget of the process. */
  release(): void {
    this.#staged?.destroy()
    this.#releaseReadAhead()
  }

  #releaseReadAhead(): void {
    if (!this.#readsAhead) return
    this.#readsAhead = false
    this.#request.server.buffers.release(READ_AHEAD)
  }

  /** Gives up on a response of the upstream that another one replaces. */
  discard(_status: number): void {
    this.release()
  }

  /** Adds trailers; returns false if they can't be sent. */
  addTrailers(trailers: readonly [string, string][]): boolean {
    return addTrailers(this.#response, trailers)
  }

  /** Ends the response, perhaps with a body in which each character is a byte. */
  end(body?: string): void {
    this.#response.end(body, 'latin1')
  }

  /** Closes the connection or resets the stream, so that the client sees that the response is incomplete. */
  cut(): void {
    cut(this.#response)
  }
}
