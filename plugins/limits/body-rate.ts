import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { abortRequest } from '../../src/lib/http/bodies.ts'

/** How fast a body has to come on a route. */
export interface MinRate {
  /** Bytes a second. */
  readonly bytesPerSecond: number
  /** Makes the refusal of one that is too slow; undefined where it is only told. */
  refuse(request: FastifyRequest): FastifyError | undefined
}

/** Who reads a body past Fastify, and answers for it. */
export interface BodyReader {
  fail(error: FastifyError): void
}

// How often bodies are looked at, in milliseconds, and how many looks make up the time over which their pace is taken.
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

/** Watches that bodies come at some pace: one timer for all of them, and one addition a chunk. */
export class BodyRateMonitor {
  readonly #bodies = new Set<WatchedBody>()
  #timer: NodeJS.Timeout | undefined

  /** Watches the body of a request until it is whole, or too slow. */
  watch(request: FastifyRequest, reply: FastifyReply, rule: MinRate): void {
    // The first look comes at any moment and is no whole one.
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
    this.#timer = setInterval(() => this.#look(), CHECK_INTERVAL_MS)
    this.#timer.unref()
  }

  forget(body: WatchedBody): void {
    this.#bodies.delete(body)
  }

  /** Forgets all of them. */
  close(): void {
    this.#bodies.clear()
    clearInterval(this.#timer)
  }

  #look(): void {
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

/** Says who reads the body of a request, and is told when it comes too slowly. */
export function attachReader({ raw }: FastifyRequest, reader: BodyReader): void {
  const body = (raw as Incoming)[BODY]
  if (body !== undefined) body.reader = reader
}

// Chunks are counted where they come in, so that nobody begins to read a body that is not wanted yet.
function countingPush(this: Incoming, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
  const body = this[BODY]
  if (body !== undefined) {
    if (chunk === null) body.monitor.forget(body)
    else body.received += chunk.length
  }
  return Readable.prototype.push.call(this, chunk, encoding)
}

/** Tells whether it is the client that a body waits for: not one whose reader has enough for now, nor one that is a talk with an answer under way. */
function waitsForClient({ request: { raw }, reply }: WatchedBody): boolean {
  // Node reads what is left of a body after its answer.
  if (reply.raw.writableFinished) return true
  if (reply.raw.headersSent || raw.readableLength > 0) return false
  return raw.readableFlowing === true || raw.listenerCount('readable') > 0
}

function abortSlowBody({ request, reply, minRate: rule, reader }: WatchedBody): void {
  const refusal = rule.refuse(request)
  if (refusal === undefined) return
  const { raw } = request
  if (reply.raw.writableFinished) abortRequest(raw)
  else if (reader !== undefined) reader.fail(refusal)
  // Whoever reads it by Node's own events learns of it as of any other failure of the stream.
  else if (raw.listenerCount('error') > 0) raw.emit('error', refusal)
  else abortRequest(raw)
}
