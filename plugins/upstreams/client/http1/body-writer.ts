import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { errors } from 'undici'
import { freeWhenWritten } from '../../../../src/lib/body/pooled-memory.ts'

/** Receives the events of a request body. */
export interface WriterListener {
  /** The whole body has been written. */
  onBodySent(): void
  /** The socket's buffer is full, so the body is paused. */
  onBodyPaused(): void
  /** The body continues. */
  onBodyResumed(): void
  /** The body cannot be completed. */
  onBodyError(error: Error): void
}

/** Writes one request body to a socket, with a known length or chunked, with back-pressure. */
export class BodyWriter {
  readonly #socket: Socket
  readonly #body: Readable
  readonly #length: number | undefined
  readonly #isDisposable: boolean
  readonly #listener: WriterListener
  readonly #onDrain = (): void => this.#resume()
  #sentBytes = 0
  #over = false

  constructor(
    socket: Socket,
    body: Readable,
    { length, isDisposable }: { length: number | undefined; isDisposable: boolean },
    listener: WriterListener
  ) {
    this.#socket = socket
    this.#body = body
    this.#length = length
    this.#isDisposable = isDisposable
    this.#listener = listener
    socket.on('drain', this.#onDrain)
    body
      .on('data', (chunk: Buffer) => this.#send(chunk))
      .on('end', () => this.#end())
      .on('error', (error: Error) => this.#fail(error))
      .on('close', () => this.#fail(new errors.RequestAbortedError()))
  }

  #resume(): void {
    this.#listener.onBodyResumed()
    this.#body.resume()
  }

  /** Stops writing and destroys the body. */
  stop(): void {
    if (this.#over) return
    this.#over = true
    this.#socket.off('drain', this.#onDrain)
    this.#body.destroy()
  }

  #disposalOf(chunk: Buffer): ReturnType<typeof freeWhenWritten> {
    return this.#isDisposable ? freeWhenWritten(chunk) : undefined
  }

  #send(chunk: Buffer): void {
    if (this.#over || chunk.length === 0) return
    const socket = this.#socket
    this.#sentBytes += chunk.length
    let more: boolean
    if (this.#length !== undefined) {
      if (this.#sentBytes > this.#length) {
        this.#fail(new errors.RequestContentLengthMismatchError())
        return
      }
      more = socket.write(chunk, this.#disposalOf(chunk))
    } else {
      socket.cork()
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(chunk, this.#disposalOf(chunk))
      more = socket.write('\r\n', 'latin1')
      socket.uncork()
    }
    if (more) return
    this.#body.pause()
    this.#listener.onBodyPaused()
  }

  #end(): void {
    if (this.#over) return
    if (this.#length !== undefined && this.#sentBytes !== this.#length) {
      this.#fail(new errors.RequestContentLengthMismatchError())
      return
    }
    if (this.#length === undefined) this.#socket.write('0\r\n\r\n', 'latin1')
    this.#over = true
    this.#socket.off('drain', this.#onDrain)
    this.#listener.onBodySent()
  }

  #fail(error: Error): void {
    if (this.#over) return
    this.stop()
    this.#listener.onBodyError(error)
  }
}
