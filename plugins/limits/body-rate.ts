import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { abortRequest } from '../../src/lib/http/bodies.ts'

/** The minimum rate of request bodies on a route. */
export interface MinRate {
  /** Bytes a second. */
  readonly bytesPerSecond: number
  /** Returns the error for a body that is too slow; undefined in report mode. */
  reject(request: FastifyRequest): FastifyError | undefined
}

/** A consumer that reads the body from the socket instead of through Fastify, such as the proxy. */
export interface BodyReader {
  fail(error: FastifyError): void
}

// The rate is averaged over CHECKS_PER_WINDOW intervals.
const CHECK_INTERVAL_MS = 1000
const CHECKS_PER_WINDOW = 5

const BODY = Symbol('body')

interface Incoming extends IncomingMessage {
  [BODY]?: WatchedBody
}

interface WatchedBody {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly minRate: MinRate
  readonly monitor: BodyRateMonitor
  reader: BodyReader | undefined
  received: number
  checks: number
}

/** Enforces the minimum rate of request bodies, with one timer for all and one addition per chunk. */
export class BodyRateMonitor {
  readonly #bodies = new Set<WatchedBody>()
  #timer: NodeJS.Timeout | undefined

  /** Monitors a request body until it is complete or too slow. */
  watch(request: FastifyRequest, reply: FastifyReply, rule: MinRate): void {
    // Starts at -1, because the first interval may be shorter than the others.
    const body: WatchedBody = {
      request,
      reply,
      minRate: rule,
      monitor: this,
      reader: undefined,
      received: 0,
      checks: -1
    }
    const raw: Incoming = request.raw
    raw[BODY] = body
    raw.push = countingPush
    this.#bodies.add(body)
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.#check(), CHECK_INTERVAL_MS)
    this.#timer.unref()
  }

  remove(body: WatchedBody): void {
    this.#bodies.delete(body)
  }

  /** Stops monitoring. */
  close(): void {
    this.#bodies.clear()
    clearInterval(this.#timer)
  }

  #check(): void {
    for (const body of this.#bodies) {
      const { raw } = body.request
      if (raw.destroyed || raw.complete) this.#bodies.delete(body)
      else if (!waitsForClient(body)) {
        body.checks = 0
        body.received = 0
      } else if (++body.checks >= CHECKS_PER_WINDOW) {
        const slow =
          body.received < (body.minRate.bytesPerSecond * CHECKS_PER_WINDOW * CHECK_INTERVAL_MS) / 1000
        body.checks = 0
        body.received = 0
        if (!slow) continue
        this.#bodies.delete(body)
        abortSlowBody(body)
      }
    }
    if (this.#bodies.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** Registers the consumer of a request body, whose `fail` is called if the body is too slow. */
export function attachReader({ raw }: FastifyRequest, reader: BodyReader): void {
  const body = (raw as Incoming)[BODY]
  if (body !== undefined) body.reader = reader
}

// Counts chunks as Node.js pushes them: a 'data' listener would start the stream before its consumer wants it.
function countingPush(this: Incoming, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
  const body = this[BODY]
  if (body !== undefined) {
    if (chunk === null) body.monitor.remove(body)
    else body.received += chunk.length
  }
  return Readable.prototype.push.call(this, chunk, encoding)
}

/** Returns whether a body waits for the client, not for a slow consumer or because the response has begun. */
function waitsForClient({ request: { raw }, reply }: WatchedBody): boolean {
  // Node.js drains the rest of a body after its response.
  if (reply.raw.writableFinished) return true
  if (reply.raw.headersSent || raw.readableLength > 0) return false
  return raw.readableFlowing === true || raw.listenerCount('readable') > 0
}

function abortSlowBody({ request, reply, minRate: rule, reader }: WatchedBody): void {
  const refusal = rule.reject(request)
  if (refusal === undefined) return
  const { raw } = request
  if (reply.raw.writableFinished) abortRequest(raw)
  else if (reader !== undefined) reader.fail(refusal)
  // A consumer that uses stream events sees it as a stream error.
  else if (raw.listenerCount('error') > 0) raw.emit('error', refusal)
  else abortRequest(raw)
}
