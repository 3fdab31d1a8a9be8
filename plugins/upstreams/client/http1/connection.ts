import type { Socket } from 'node:net'
import { errors } from 'undici'
import { copyToLentMemory } from '../../../../src/lib/body/lent-memory.ts'
import { type Handler, isStream, type Sending } from '../../../../src/lib/contracts/dispatch.ts'
import { RequestNotSendable } from '../../../../src/lib/refusals.ts'
import { HeadersTimeout } from '../headers-timeout.ts'
import { BodyWriter, type WriterListener } from './body-writer.ts'
import { afterQuietPoll, type Proving } from './quiet-poll.ts'
import { headOf, lengthIn } from './request-head.ts'
import { type ParserListener, ResponseParser } from './response-parser.ts'

/** Told what becomes of a connection. */
export interface ConnectionOwner {
  /** Its answer is complete; it may take another request after a quiet poll phase. */
  answered(connection: Connection): void
  /** Nothing was read behind the answer: it takes another request. */
  proven(connection: Connection): void
  /** It takes no more. */
  ended(connection: Connection): void
}

const CONNECTION = Symbol('connection')

interface OwnedSocket extends Socket {
  [CONNECTION]?: Connection | undefined
}

/** How the sockets of connections read: into the same bytes, all of them, since what one has read is worked off before another reads; there is no stream and no buffer a read. */
export const onread = {
  buffer: Buffer.allocUnsafeSlow(65_536),
  callback(this: OwnedSocket, size: number, bytes: Uint8Array): boolean {
    return this[CONNECTION]?.take(bytes as Buffer, size) ?? true
  }
}

/** One connection of HTTP/1.1, and the one request that it has. */
export class Connection implements ParserListener, WriterListener, Proving {
  /** When it had its last answer, by the process's clock. */
  idleSince = 0
  /** Whether its last answer is complete, and a poll phase without surplus bytes has yet to pass. */
  proving = false
  readonly #socket: OwnedSocket
  readonly #owner: ConnectionOwner
  readonly #answers: ResponseParser
  readonly #patience = new HeadersTimeout((error) => this.#fail(error))
  readonly #resume: () => void
  #handler: Handler | undefined
  #sending: Sending | undefined
  #outflow: BodyWriter | undefined
  #sent = false
  #begun = false
  #headed = false
  #paused = false
  #answered = 0
  #failure: Error | undefined

  /** Takes the socket, its pool, and the most bytes that the head of an answer may have. */
  constructor(socket: Socket, owner: ConnectionOwner, maxHeaders: number) {
    this.#socket = socket
    this.#owner = owner
    this.#answers = new ResponseParser(this, maxHeaders)
    this.#resume = () => {
      this.#paused = false
      socket.resume()
    }
    this.#socket[CONNECTION] = this
    socket.on('error', onError).on('end', onEnd).on('close', onClose)
  }

  /** Milliseconds for which the other side keeps it idle; 0 where it does not say. */
  get keeps(): number {
    return this.#answers.keeps
  }

  /** Whether it can take a request. */
  get usable(): boolean {
    return this.#handler === undefined && !this.#socket.destroyed && this.#socket.writable
  }

  /** Sends a request. */
  begin(sending: Sending, handler: Handler): void {
    this.#handler = handler
    handler.onConnect((error) => {
      if (this.#handler === handler) this.#fail(error ?? new errors.RequestAbortedError())
    })
    // Who asked may have left while the request waited.
    if (this.#handler === undefined) return
    const { body, method, headers, upgrade } = sending
    if (isStream(body) && body.destroyed) {
      this.#fail(new errors.RequestAbortedError())
      return
    }
    const length = lengthIn(headers)
    let head: string
    try {
      head = headOf(sending, length)
    } catch (error) {
      this.#fail(new RequestNotSendable(error as Error))
      return
    }
    this.#sending = sending
    this.#begun = false
    this.#headed = false
    this.#paused = false
    this.#answers.expect(method, upgrade !== undefined)
    if (isStream(body)) {
      this.#sent = false
      // What there is of the body goes out with the head.
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      setImmediate(uncork, this.#socket)
      this.#outflow = new BodyWriter(this.#socket, body, length, this)
      return
    }
    this.#socket.write(head, 'latin1')
    if (body) this.#socket.write(body)
    this.onSent()
  }

  /** Takes what was read; tells whether to read on. */
  take(bytes: Buffer, size: number): boolean {
    try {
      if (!this.#begun) {
        this.#begun = true
        this.#handler?.onResponseStarted?.()
      }
      this.#answers.take(bytes, size)
    } catch (error) {
      this.#fail(error as Error)
    }
    return !this.#paused
  }

  onSent(): void {
    this.#sent = true
    this.#await()
  }

  onHeld(): void {
    this.#await()
  }

  onTaken(): void {
    this.#patience.end()
  }

  onBroken(error: Error): void {
    this.#fail(error)
  }

  onInterim(status: number, fields: string[]): void {
    // It is for who sent "Expect: 100-continue", which we never do (RFC 9110 section 15.2).
    if (status !== 100) this.#handler?.onHeaders(status, fields, noop, '')
  }

  onHead(status: number, fields: string[], reason: string, bare: boolean): void {
    this.#hasHead()
    if (this.#handler?.onHeaders(status, fields, this.#resume, reason, bare) === false) this.#paused = true
    if (bare) this.onEnd([])
  }

  onWhole(status: number, fields: string[], reason: string, body: string): void {
    const handler = this.#handler
    if (handler === undefined) return
    if (handler.onWhole === undefined) {
      this.onHead(status, fields, reason, false)
      handler.onData(Buffer.from(body, 'latin1'))
      this.onEnd([])
      return
    }
    this.#hasHead()
    handler.onWhole(status, fields, reason, body)
    this.#finish()
  }

  onBody(bytes: Buffer): void {
    if (this.#handler?.onData(copyToLentMemory(bytes)) === false) this.#paused = true
  }

  onEnd(trailers: string[]): void {
    this.#handler?.onComplete(trailers)
    this.#finish()
  }

  onSwitch(fields: string[], first: Buffer): void {
    const socket = this.#socket
    const handler = this.#handler
    this.#leave()
    socket[CONNECTION] = undefined
    socket.off('data', onData).off('error', onError).off('end', onEnd).off('close', onClose)
    if (first.length > 0) socket.unshift(Buffer.from(first))
    try {
      handler?.onUpgrade?.(101, fields, socket)
    } catch (error) {
      socket.destroy()
      handler?.onError(error as Error)
    }
  }

  /** Reads as a stream, which is there for another protocol later. */
  readAsStream(): void {
    this.#socket.on('data', onData)
  }

  /** Ends it, with the request that it may have. */
  end(error?: Error): void {
    if (this.#handler === undefined) this.#socket.destroy()
    else this.#fail(error ?? new errors.SocketError('closed'))
  }

  /** Notes why it will close. */
  broke(error: Error): void {
    this.#failure ??= error
  }

  /** Takes the end of what the other side sends. */
  ended(): void {
    try {
      if (!this.#answers.close()) this.#socket.destroy()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  closed(): void {
    const handler = this.#handler
    this.#leave()
    // What is told of a connection by the bytes that it has read: whether it has been of use before.
    handler?.onError(
      Object.assign(this.#failure ?? new errors.SocketError('other side closed'), {
        socket: { bytesRead: this.#answered }
      })
    )
  }

  /** Waits for the head of the answer, now that the other side has all that it takes. */
  #await(): void {
    if (!this.#headed) this.#patience.begin(this.#sending?.headersTimeout ?? 0)
  }

  #hasHead(): void {
    this.#headed = true
    this.#patience.end()
  }

  /** Ends the request, whose answer is whole. */
  #finish(): void {
    const sending = this.#sending
    if (sending === undefined) return
    const outflow = this.#outflow
    this.#handler = undefined
    this.#sending = undefined
    this.#outflow = undefined
    // Whoever could not take the last part holds up no next request; over TLS it may have come after the reading stopped.
    if (this.#paused) this.#resume()
    this.#answered++
    // What is left of a body is for nobody, and stands in the way of another request; a body that came with the answer to HEAD would be the next one's.
    const again = this.#sent && this.#answers.persistent && this.usable
    if (again && sending.method !== 'HEAD' && sending.upgrade === undefined) {
      this.proving = true
      this.#owner.answered(this)
      afterQuietPoll(this)
    } else {
      outflow?.stop()
      this.#socket.destroy()
    }
  }

  onQuietPoll(): void {
    // A connection with surplus bytes was destroyed; its pool learns of it by 'close'.
    if (!this.proving || !this.usable) return
    this.proving = false
    this.#owner.proven(this)
  }

  #fail(error: Error): void {
    const handler = this.#handler
    this.#handler = undefined
    this.#sending = undefined
    this.#answers.stop()
    this.#patience.end()
    this.#outflow?.stop()
    this.#outflow = undefined
    this.#socket.destroy()
    handler?.onError(error)
  }

  #leave(): void {
    this.#handler = undefined
    this.#sending = undefined
    this.#patience.stop()
    this.#outflow?.stop()
    this.#outflow = undefined
    this.#owner.ended(this)
  }
}

// One function each for all connections.
function onData(this: OwnedSocket, chunk: Buffer): void {
  if (this[CONNECTION]?.take(chunk, chunk.length) === false) this.pause()
}

function onError(this: OwnedSocket, error: Error): void {
  this[CONNECTION]?.broke(error)
}

function onEnd(this: OwnedSocket): void {
  this[CONNECTION]?.ended()
}

function onClose(this: OwnedSocket): void {
  this[CONNECTION]?.closed()
}

const uncork = (socket: Socket): void => socket.uncork()

const noop = (): void => {}
