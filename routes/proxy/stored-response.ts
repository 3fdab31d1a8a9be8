import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CacheAnswer } from '../../src/lib/contracts/cache.ts'
import { writeHead } from '../../src/lib/http/response.ts'
import { countOwnBytes } from '../../src/lib/http/response-end.ts'
import { encodeStored } from '../../src/lib/http/stored-encoding.ts'
import { DeadlineExceeded } from '../../src/lib/refusals.ts'
import { type CachedPlans, storedHead } from './cached-plans.ts'
import { logFailure } from './refusals.ts'
import { ResponseWriter, type ResponseWriterListener } from './response.ts'
import { type ResponseHeadPlan, responseHead } from './response-head.ts'

// Larger bodies are written in parts, as fast as the client reads them; in bytes.
const MAX_WHOLE_BYTES = 262_144
const PART_BYTES = 65_536
// Node.js writes a text in one piece with the head, and a buffer apart from it.
const MAX_TEXT_BYTES = 16_384

/** Sends a response of the cache. */
export function sendStored(
  request: FastifyRequest,
  reply: FastifyReply,
  stored: CacheAnswer,
  plans: CachedPlans
): void {
  const { compression } = plans
  const encoded = compression === undefined ? undefined : encodeStored(stored, request, compression)
  const answer = encoded ?? stored
  const plan = encoded === undefined ? plans.planFor(stored) : plans.plainPlanFor(stored)
  const { status, body } = answer
  const isWhole = body === null || (Buffer.isBuffer(body) && body.length <= MAX_WHOLE_BYTES)
  if (!isWhole || plan.head.stages.length > 0) {
    new StoredResponse(request, reply, answer).start(plan)
    return
  }
  request.deadline?.cancel()
  const head = storedHead(answer)
  const { fields } = responseHead(head, request, reply, plan)
  const { statusText: reason, endStream } = head
  const failed = writeHead(reply.raw, { status, reason, fields, endStream })
  if (failed !== undefined) {
    reply.send(failed)
    return
  }
  reply.hijack()
  if (body !== null) countOwnBytes(reply.raw, body.length)
  if (body !== null && body.length <= MAX_TEXT_BYTES) reply.raw.end(body.toString('latin1'), 'latin1')
  else reply.raw.end(body ?? undefined)
}

/** A response of the cache that goes through stages, is large, or is still under way. */
class StoredResponse implements ResponseWriterListener {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #answer: CacheAnswer
  readonly #writer: ResponseWriter
  #writtenTo = 0
  #isOver = false

  constructor(request: FastifyRequest, reply: FastifyReply, answer: CacheAnswer) {
    this.#request = request
    this.#reply = reply
    this.#answer = answer
    this.#writer = new ResponseWriter(request, reply, this)
  }

  start(plan: ResponseHeadPlan): void {
    this.#writer.onOver(onOver, this)
    this.#request.deadline?.enforce(onDeadline, this)
    const { body } = this.#answer
    const failed = this.#writer.start(storedHead(this.#answer), plan)
    if (failed !== undefined) this.fail(failed)
    else if (body === null || Buffer.isBuffer(body)) this.#writePart()
    else {
      body.on('data', (chunk: Buffer) => {
        if (!this.#isOver && !this.#writer.write(chunk)) body.pause()
      })
      body.on('end', () => {
        if (!this.#isOver) this.#writer.endBody([])
      })
      body.on('error', (error: Error) => this.fail(error))
    }
  }

  #writePart(): void {
    const body = this.#answer.body as Buffer | null
    const length = body?.length ?? 0
    while (body !== null && this.#writtenTo < length) {
      const part = body.subarray(this.#writtenTo, this.#writtenTo + PART_BYTES)
      this.#writtenTo += part.length
      if (!this.#writer.write(part) && this.#writtenTo < length) return
    }
    this.#writtenTo = Number.POSITIVE_INFINITY
    this.#writer.endBody([])
  }

  onDrain(): void {
    const { body } = this.#answer
    if (this.#isOver) return
    if (body !== null && !Buffer.isBuffer(body)) body.resume()
    else if (this.#writtenTo < (body?.length ?? 0)) this.#writePart()
  }

  onHeadersSent(): void {
    this.#request.deadline?.cancel()
  }

  onBodyWritten(): void {
    this.#isOver = true
    this.#writer.end()
  }

  fail(error: Error): void {
    if (this.#isOver) return
    this.release()
    if (this.#writer.headersSent) {
      logFailure(this.#request, error)
      this.#writer.cut()
    } else if (!this.#writer.isClosed) this.#reply.send(error)
  }

  /** Gives up what is under way. */
  release(): void {
    this.#isOver = true
    this.#request.deadline?.cancel()
    const { body } = this.#answer
    if (body !== null && !Buffer.isBuffer(body)) body.destroy()
    this.#writer.release()
  }
}

const onOver = (response: StoredResponse): void => response.release()
const onDeadline = (response: StoredResponse): void => response.fail(new DeadlineExceeded())
