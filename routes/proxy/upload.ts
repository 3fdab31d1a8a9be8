import type { Http2ServerRequest } from 'node:http2'
import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { isHttp2 } from '../../src/kit/index.ts'

/** The body of a request on its way to an upstream; while it is small, it can be sent again from its beginning. Who reads it owns its parts: what is kept is a copy. */
export class Upload {
  readonly #source: Readable
  readonly #keep: number
  readonly #seen: (chunk: Buffer) => void
  #kept: Buffer[] | undefined
  #size = 0
  #attached = false
  #ended = false
  #stream: Readable | undefined

  /** Takes a body, the bytes of it that are kept at most, and who is told of each part that comes. */
  constructor(source: Readable, keep: number, seen: (chunk: Buffer) => void) {
    this.#source = source
    this.#keep = keep
    this.#seen = seen
    this.#kept = keep > 0 ? [] : undefined
  }

  /** Tells whether all that came so far can be sent again, and is no more than so many bytes. */
  mayReplay(most: number): boolean {
    return this.#kept !== undefined && this.#size <= most
  }

  /** Whether all that came so far, which may be nothing, can be sent again. */
  get replays(): boolean {
    return this.#kept !== undefined || this.#size === 0
  }

  /** Whether all of it has come. */
  get ended(): boolean {
    return this.#ended
  }

  /** The whole body, if it has come and was kept. */
  get whole(): Buffer | undefined {
    return this.#ended && this.#kept !== undefined ? Buffer.concat(this.#kept) : undefined
  }

  /** Opens a stream of the body from its beginning; what comes from now on goes there. */
  open(): Readable {
    const stream = new Readable({
      read: () => this.#resume(),
      destroy: (error, done) => {
        // The client's connection stays, whatever became of the upstream's.
        if (this.#stream === stream) {
          this.#stream = undefined
          if (this.#attached && !this.#ended) this.#source.pause()
        }
        done(error)
      }
    })
    // A stream that is given up has nobody to listen.
    stream.on('error', () => {})
    this.#stream = stream
    for (const chunk of this.#kept ?? []) stream.push(Buffer.from(chunk))
    if (this.#ended) stream.push(null)
    return stream
  }

  /** Reads the rest of it for nobody. */
  discard(): void {
    this.#stream = undefined
    this.#kept = undefined
    this.#source.removeAllListeners('data')
    this.#source.resume()
  }

  #resume(): void {
    if (this.#ended) return
    if (!this.#attached) {
      this.#attached = true
      this.#source.on('data', (chunk: Buffer) => this.#take(chunk))
      this.#source.on('end', () => {
        // A request of HTTP/2 that was cancelled ends as well; it is not whole.
        if ((this.#source as Readable & { aborted?: boolean }).aborted === true) return
        this.#ended = true
        this.#stream?.push(null)
      })
      this.#source.on('error', (error: Error) => void this.#stream?.destroy(error))
    }
    this.#source.resume()
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length
    if (this.#size > this.#keep) this.#kept = undefined
    else this.#kept?.push(Buffer.from(chunk))
    this.#seen(chunk)
    if (this.#stream === undefined || !this.#stream.push(chunk)) this.#source.pause()
  }
}

/** Finds the body of a request, by its framing (RFC 9112 section 6); null where it has none. */
export function bodyOf(request: FastifyRequest): Readable | null {
  const { headers } = request.raw
  // HTTP/2 ends a request by a flag, not by a length.
  if (isHttp2(request.raw)) {
    const { stream } = request.raw as unknown as Http2ServerRequest
    return stream.endAfterHeaders ? null : request.raw
  }
  if (
    headers['transfer-encoding'] === undefined &&
    (headers['content-length'] === undefined || headers['content-length'] === '0')
  )
    return null
  return (request.body as Readable | undefined) ?? request.raw
}
