import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { type BufferBudget, Reservation } from '../../src/lib/buffers.ts'
import type { ReplayableBody } from '../../src/lib/contracts/upstream.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import { mayHaveBody } from '../../src/lib/http/bodies.ts'
import { RequestNotSendable } from '../../src/lib/refusals.ts'

/** Receives each part of a request body. */
export interface RequestBodyListener {
  onRequestData(chunk: Buffer): void
}

/** The body of a request, streamed to an upstream; while it is small, it is kept and can be sent again. */
export class RequestBody implements ReplayableBody {
  readonly #source: Readable | null
  readonly #maxReplay: number
  readonly #listener: RequestBodyListener
  readonly #reservation: Reservation
  #chunks: Buffer[] | undefined
  #size = 0
  #attached = false
  #ended = false
  #stream: Readable | undefined
  readonly isDisposable: boolean
  /** Paused while the upstream waits for bytes from the client. */
  deadline: Deadline | null = null

  /** Wraps a body of which up to `maxReplay` bytes are kept and counted in `buffers`; the listener is called with each part. `isOwn` says that nothing else looks at its parts. */
  constructor(
    source: Readable | Buffer,
    { maxReplay, isOwn }: { maxReplay: number; isOwn: boolean },
    buffers: BufferBudget,
    listener: RequestBodyListener
  ) {
    this.isDisposable = isOwn && maxReplay === 0
    this.#listener = listener
    this.#reservation = new Reservation(buffers)
    if (Buffer.isBuffer(source)) {
      // readBody has counted it already.
      this.#source = null
      this.#maxReplay = source.length
      this.#chunks = [source]
      this.#size = source.length
      this.#ended = true
      return
    }
    this.#source = source
    this.#maxReplay = maxReplay
    this.#chunks = maxReplay > 0 ? [] : undefined
  }

  /** Returns whether all that has come can be sent again, and is at most `max` bytes. */
  isReplayableWithin(max: number): boolean {
    return this.#chunks !== undefined && this.#size <= max
  }

  /** Whether all that has come, which may be nothing, can be sent again. */
  get isReplayable(): boolean {
    return this.#chunks !== undefined || this.#size === 0
  }

  /** Whether all of it has come. */
  get ended(): boolean {
    return this.#ended
  }

  /** Whether it has ended without any bytes. */
  get empty(): boolean {
    return this.#ended && this.#size === 0
  }

  /** Calls `done` once the first bytes, or the end, have come. */
  onFirstBytes(done: () => void): void {
    const source = this.#source
    if (source === null) {
      done()
      return
    }
    this.deadline?.pause()
    source.once('readable', () => {
      this.deadline?.resume()
      if ((source as Readable & { aborted?: boolean }).aborted === true) return
      if (source.readableLength === 0) {
        this.#ended = true
        source.resume()
      }
      done()
    })
  }

  /** The complete body, if it has come and was kept. */
  get buffered(): Buffer | undefined {
    return this.#ended && this.#chunks !== undefined ? Buffer.concat(this.#chunks) : undefined
  }

  /** Opens the body from its beginning: a buffer if it was read before, else a stream, which replaces the stream opened before. */
  open(): Readable | Buffer {
    if (this.#source === null) return this.#chunks?.[0] ?? Buffer.alloc(0)
    const stream = new Readable({
      read: () => this.#resume(),
      destroy: (error, done) => {
        // The client's stream stays open for another attempt.
        if (this.#stream === stream) {
          this.#stream = undefined
          if (this.#attached && !this.#ended) this.#pause()
        }
        done(error)
      }
    })
    // An aborted stream may have no other listener.
    stream.on('error', () => {})
    this.#stream = stream
    for (const chunk of this.#chunks ?? []) stream.push(chunk)
    if (this.#ended) stream.push(null)
    return stream
  }

  /** Reads and drops the rest. */
  discard(): void {
    this.#stream = undefined
    this.#dropChunks()
    this.#source?.removeAllListeners('data')
    this.#source?.resume()
  }

  /** Frees what is kept. */
  release(): void {
    this.#reservation.release()
  }

  #dropChunks(): void {
    this.#chunks = undefined
    this.#reservation.release()
  }

  #resume(): void {
    const source = this.#source
    if (this.#ended || source === null) return
    if (!this.#attached) {
      this.#attached = true
      source.on('data', (chunk: Buffer) => this.#push(chunk))
      source.on('end', () => {
        // A cancelled HTTP/2 request emits "end" as well, incomplete.
        if ((source as Readable & { aborted?: boolean }).aborted === true) return
        this.#ended = true
        this.deadline?.resume()
        this.#stream?.push(null)
      })
      source.on('error', (error: Error) => void this.#stream?.destroy(new RequestNotSendable(error)))
    }
    this.deadline?.pause()
    source.resume()
  }

  #pause(): void {
    this.deadline?.resume()
    this.#source?.pause()
  }

  #push(chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > this.#maxReplay || !this.#reservation.add(chunk.length)) this.#dropChunks()
    else this.#chunks?.push(chunk)
    this.#listener.onRequestData(chunk)
    if (this.#stream === undefined || !this.#stream.push(chunk)) this.#pause()
  }
}

/** Returns the body of a request by its framing (RFC 9112 section 6); null if it has none. */
export function bodyOf(request: FastifyRequest): Readable | Buffer | null {
  const { body, raw } = request
  // A gate has read it with readBody.
  if (Buffer.isBuffer(body)) return body
  return mayHaveBody(raw) ? ((body as Readable | undefined) ?? raw) : null
}
