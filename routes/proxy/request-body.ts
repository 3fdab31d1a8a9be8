import type { Http2ServerRequest } from 'node:http2'
import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { type BufferBudget, Reservation } from '../../src/lib/buffers.ts'
import type { ReplayableBody } from '../../src/lib/contracts/upstream.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { RequestNotSendable } from '../../src/lib/refusals.ts'

/** The body of a request on its way to an upstream; while it is small, it can be sent again from its beginning. */
export class RequestBody implements ReplayableBody {
  readonly #source: Readable | null
  readonly #keep: number
  readonly #seen: (chunk: Buffer) => void
  readonly #reservation: Reservation
  #kept: Buffer[] | undefined
  #size = 0
  #attached = false
  #ended = false
  #stream: Readable | undefined
  /** Stands still while the client's bytes are waited for. */
  deadline: Deadline | null = null

  /** Takes a body, the most bytes of it that are kept, what counts them, and a listener for each part that comes. */
  constructor(source: Readable | Buffer, keep: number, buffers: BufferBudget, seen: (chunk: Buffer) => void) {
    this.#seen = seen
    this.#reservation = new Reservation(buffers)
    if (Buffer.isBuffer(source)) {
      // It was read into memory, and counted, before.
      this.#source = null
      this.#keep = source.length
      this.#kept = [source]
      this.#size = source.length
      this.#ended = true
      return
    }
    this.#source = source
    this.#keep = keep
    this.#kept = keep > 0 ? [] : undefined
  }

  /** Tells whether all that came so far can be sent again, and is no more than so many bytes. */
  isReplayableWithin(most: number): boolean {
    return this.#kept !== undefined && this.#size <= most
  }

  /** Whether all that came so far, which may be nothing, can be sent again. */
  get isReplayable(): boolean {
    return this.#kept !== undefined || this.#size === 0
  }

  /** Whether all of it has come. */
  get ended(): boolean {
    return this.#ended
  }

  /** Whether it has ended without a byte. */
  get empty(): boolean {
    return this.#ended && this.#size === 0
  }

  /** Calls once the first bytes of it, or its end, have come. */
  whenBegun(done: () => void): void {
    const source = this.#source
    if (source === null) {
      done()
      return
    }
    this.deadline?.stand()
    source.once('readable', () => {
      this.deadline?.go()
      if ((source as Readable & { aborted?: boolean }).aborted === true) return
      if (source.readableLength === 0) {
        this.#ended = true
        source.resume()
      }
      done()
    })
  }

  /** The whole body, if it has come and was kept. */
  get whole(): Buffer | undefined {
    return this.#ended && this.#kept !== undefined ? Buffer.concat(this.#kept) : undefined
  }

  /** Opens the body from its beginning: all of it where it is in memory, else a stream that what comes from now on goes to. */
  open(): Readable | Buffer {
    if (this.#source === null) return this.#kept?.[0] ?? Buffer.alloc(0)
    const stream = new Readable({
      read: () => this.#resume(),
      destroy: (error, done) => {
        // The client's connection stays, whatever became of the upstream's.
        if (this.#stream === stream) {
          this.#stream = undefined
          if (this.#attached && !this.#ended) this.#pause()
        }
        done(error)
      }
    })
    // A stream that is given up has no other listener.
    stream.on('error', () => {})
    this.#stream = stream
    for (const chunk of this.#kept ?? []) stream.push(chunk)
    if (this.#ended) stream.push(null)
    return stream
  }

  /** Reads the rest of it and drops it. */
  discard(): void {
    this.#stream = undefined
    this.#forget()
    this.#source?.removeAllListeners('data')
    this.#source?.resume()
  }

  /** Gives back what is kept, now that nothing sends it again. */
  release(): void {
    this.#reservation.release()
  }

  #forget(): void {
    this.#kept = undefined
    this.#reservation.release()
  }

  #resume(): void {
    const source = this.#source
    if (this.#ended || source === null) return
    if (!this.#attached) {
      this.#attached = true
      source.on('data', (chunk: Buffer) => this.#take(chunk))
      source.on('end', () => {
        // A request of HTTP/2 that was cancelled ends as well; it is not whole.
        if ((source as Readable & { aborted?: boolean }).aborted === true) return
        this.#ended = true
        this.deadline?.go()
        this.#stream?.push(null)
      })
      source.on('error', (error: Error) => void this.#stream?.destroy(new RequestNotSendable(error)))
    }
    this.deadline?.stand()
    source.resume()
  }

  #pause(): void {
    this.deadline?.go()
    this.#source?.pause()
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > this.#keep || !this.#reservation.add(chunk.length)) this.#forget()
    else this.#kept?.push(chunk)
    this.#seen(chunk)
    if (this.#stream === undefined || !this.#stream.push(chunk)) this.#pause()
  }
}

/** Finds the body of a request, by its framing (RFC 9112 section 6); null where it has none. */
export function bodyOf(request: FastifyRequest): Readable | Buffer | null {
  const { body, raw } = request
  // "readBody" has read it.
  if (Buffer.isBuffer(body)) return body
  const { headers } = raw
  // HTTP/2 ends a request by a flag, not by a length.
  if (isHttp2(raw)) {
    const { stream } = raw as unknown as Http2ServerRequest
    return stream.endAfterHeaders ? null : ((body as Readable | undefined) ?? raw)
  }
  if (
    headers['transfer-encoding'] === undefined &&
    (headers['content-length'] === undefined || headers['content-length'] === '0')
  )
    return null
  return (body as Readable | undefined) ?? raw
}
