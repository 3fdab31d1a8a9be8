import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { errors } from 'undici'

/** Told how a body fares. */
export interface WriterListener {
  /** It is out, all of it. */
  onSent(): void
  /** The other side takes no more for now. */
  onHeld(): void
  /** It goes on. */
  onTaken(): void
  /** It can't go on. */
  onBroken(error: Error): void
}

/** One body on its way out: by its length, or in chunks where it has none; as fast as the other side takes it. */
export class BodyWriter {
  readonly #socket: Socket
  readonly #body: Readable
  readonly #length: number | undefined
  readonly #source: WriterListener
  readonly #drained = (): void => this.#goOn()
  #sent = 0
  #over = false

  constructor(socket: Socket, body: Readable, length: number | undefined, source: WriterListener) {
    this.#socket = socket
    this.#body = body
    this.#length = length
    this.#source = source
    socket.on('drain', this.#drained)
    body
      .on('data', (chunk: Buffer) => this.#send(chunk))
      .on('end', () => this.#end())
      .on('error', (error: Error) => this.#break(error))
      .on('close', () => this.#break(new errors.RequestAbortedError()))
  }

  #goOn(): void {
    this.#source.onTaken()
    this.#body.resume()
  }

  /** Sends no more of it. */
  stop(): void {
    if (this.#over) return
    this.#over = true
    this.#socket.off('drain', this.#drained)
    this.#body.destroy()
  }

  #send(chunk: Buffer): void {
    if (this.#over || chunk.length === 0) return
    const socket = this.#socket
    this.#sent += chunk.length
    let more: boolean
    if (this.#length !== undefined) {
      if (this.#sent > this.#length) {
        this.#break(new errors.RequestContentLengthMismatchError())
        return
      }
      more = socket.write(chunk)
    } else {
      socket.cork()
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(chunk)
      more = socket.write('\r\n', 'latin1')
      socket.uncork()
    }
    if (more) return
    this.#body.pause()
    this.#source.onHeld()
  }

  #end(): void {
    if (this.#over) return
    if (this.#length !== undefined && this.#sent !== this.#length) {
      this.#break(new errors.RequestContentLengthMismatchError())
      return
    }
    if (this.#length === undefined) this.#socket.write('0\r\n\r\n', 'latin1')
    this.#over = true
    this.#socket.off('drain', this.#drained)
    this.#source.onSent()
  }

  #break(error: Error): void {
    if (this.#over) return
    this.stop()
    this.#source.onBroken(error)
  }
}
