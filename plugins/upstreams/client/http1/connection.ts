import type { Socket } from 'node:net'
import { errors } from 'undici'
import { copyToLentMemory } from '../../../../src/lib/body/lent-memory.ts'
import {
  type DispatchHandler,
  type DispatchOptions,
  isStream
} from '../../../../src/lib/contracts/dispatch.ts'
import { RequestNotSendable } from '../../../../src/lib/refusals.ts'
import { HeadersTimeout } from '../headers-timeout.ts'
import { BodyWriter, type WriterListener } from './body-writer.ts'
import { afterQuietPoll, type QuietPollListener } from './quiet-poll.ts'
import { buildHead, contentLengthIn } from './request-head.ts'
import { type ParserListener, ResponseParser } from './response-parser.ts'

/** Told what becomes of a connection. */
export interface Http1ConnectionOwner {
  /** Its answer is complete; it may take another request after a quiet poll phase. */
  onResponseComplete(connection: Http1Connection): void
  /** Nothing was read behind the answer: it takes another request. */
  onReusable(connection: Http1Connection): void
  /** It takes no more. */
  onClosed(connection: Http1Connection): void
}

const CONNECTION = Symbol('connection')

interface OwnedSocket extends Socket {
  [CONNECTION]?: Http1Connection | undefined
}

/** How the sockets of connections read: into the same bytes, all of them, since what one has read is worked off before another reads; there is no stream and no buffer a read. */
export const onread = {
  buffer: Buffer.allocUnsafeSlow(65_536),
  callback(this: OwnedSocket, size: number, bytes: Uint8Array): boolean {
    return this[CONNECTION]?.onRead(bytes as Buffer, size) ?? true
  }
}

/** One connection of HTTP/1.1, and the one request that it has. */
export class Http1Connection implements ParserListener, WriterListener, QuietPollListener {
  /** When it had its last answer, by the process's clock. */
  idleSince = 0
  /** Whether its last answer is complete, and a poll phase without surplus bytes has yet to pass. */
  awaitsQuietPoll = false
  readonly #socket: OwnedSocket
  readonly #owner: Http1ConnectionOwner
  readonly #parser: ResponseParser
  readonly #headersTimeout = new HeadersTimeout((error) => this.#fail(error))
  readonly #resume: () => void
  #handler: DispatchHandler | undefined
  #options: DispatchOptions | undefined
  #bodyWriter: BodyWriter | undefined
  #isBodySent = false
  #responseStarted = false
  #hasHeaders = false
  #paused = false
  #responses = 0
  #failure: Error | undefined

  /** Takes the socket, its pool, and the most bytes that the head of an answer may have. */
  constructor(socket: Socket, owner: Http1ConnectionOwner, maxHeaders: number) {
    this.#socket = socket
    this.#owner = owner
    this.#parser = new ResponseParser(this, maxHeaders)
    this.#resume = () => {
      this.#paused = false
      socket.resume()
    }
    this.#socket[CONNECTION] = this
    socket.on('error', onError).on('end', onEnd).on('close', onClose)
  }

  /** Milliseconds for which the other side keeps it idle; 0 where it does not say. */
  get keepAliveMs(): number {
    return this.#parser.keepAliveMs
  }

  /** Whether it can take a request. */
  get isUsable(): boolean {
    return this.#handler === undefined && !this.#socket.destroyed && this.#socket.writable
  }

  /** Sends a request. */
  send(sending: DispatchOptions, handler: DispatchHandler): void {
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
    const length = contentLengthIn(headers)
    let head: string
    try {
      head = buildHead(sending, length)
    } catch (error) {
      this.#fail(new RequestNotSendable(error as Error))
      return
    }
    this.#options = sending
    this.#responseStarted = false
    this.#hasHeaders = false
    this.#paused = false
    this.#parser.expect(method, upgrade !== undefined)
    if (isStream(body)) {
      this.#isBodySent = false
      // What there is of the body goes out with the head.
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      setImmediate(uncork, this.#socket)
      this.#bodyWriter = new BodyWriter(
        this.#socket,
        body,
        { length, isDisposable: sending.isBodyDisposable === true },
        this
      )
      return
    }
    this.#socket.write(head, 'latin1')
    if (body) this.#socket.write(body)
    this.onBodySent()
  }

  /** Takes what was read; tells whether to read on. */
  onRead(bytes: Buffer, size: number): boolean {
    try {
      if (!this.#responseStarted) {
        this.#responseStarted = true
        this.#handler?.onResponseStarted?.()
      }
      this.#parser.read(bytes, size)
    } catch (error) {
      this.#fail(error as Error)
    }
    return !this.#paused
  }

  onBodySent(): void {
    this.#isBodySent = true
    this.#startHeadersTimeout()
  }

  onBodyPaused(): void {
    this.#startHeadersTimeout()
  }

  onBodyResumed(): void {
    this.#headersTimeout.pause()
  }

  onBodyError(error: Error): void {
    this.#fail(error)
  }

  onInformation(status: number, fields: string[]): void {
    // It is for who sent "Expect: 100-continue", which we never do (RFC 9110 section 15.2).
    if (status !== 100) this.#handler?.onHeaders(status, fields, noop, '')
  }

  onHeaders(status: number, fields: string[], reason: string, bare: boolean): void {
    this.#stopHeadersTimeout()
    if (this.#handler?.onHeaders(status, fields, this.#resume, reason, bare) === false) this.#paused = true
    if (bare) this.onComplete([])
  }

  onCompleteResponse(status: number, fields: string[], reason: string, body: string): void {
    const handler = this.#handler
    if (handler === undefined) return
    if (handler.onCompleteResponse === undefined) {
      this.onHeaders(status, fields, reason, false)
      handler.onData(Buffer.from(body, 'latin1'))
      this.onComplete([])
      return
    }
    this.#stopHeadersTimeout()
    handler.onCompleteResponse(status, fields, reason, body)
    this.#finish()
  }

  onData(bytes: Buffer): void {
    if (this.#handler?.onData(copyToLentMemory(bytes)) === false) this.#paused = true
  }

  onComplete(trailers: string[]): void {
    this.#handler?.onComplete(trailers)
    this.#finish()
  }

  onUpgrade(fields: string[], first: Buffer): void {
    const socket = this.#socket
    const handler = this.#handler
    this.#detach()
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
  onSocketError(error: Error): void {
    this.#failure ??= error
  }

  /** Takes the end of what the other side sends. */
  onSocketEnd(): void {
    try {
      if (!this.#parser.onSocketEnd()) this.#socket.destroy()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  onSocketClose(): void {
    const handler = this.#handler
    this.#detach()
    // What is told of a connection by the bytes that it has read: whether it has been of use before.
    handler?.onError(
      Object.assign(this.#failure ?? new errors.SocketError('other side closed'), {
        socket: { bytesRead: this.#responses }
      })
    )
  }

  /** Waits for the head of the answer, now that the other side has all that it takes. */
  #startHeadersTimeout(): void {
    if (!this.#hasHeaders) this.#headersTimeout.start(this.#options?.headersTimeout ?? 0)
  }

  #stopHeadersTimeout(): void {
    this.#hasHeaders = true
    this.#headersTimeout.pause()
  }

  /** Ends the request, whose answer is whole. */
  #finish(): void {
    const sending = this.#options
    if (sending === undefined) return
    const outflow = this.#bodyWriter
    this.#handler = undefined
    this.#options = undefined
    this.#bodyWriter = undefined
    // Whoever could not take the last part holds up no next request; over TLS it may have come after the reading stopped.
    if (this.#paused) this.#resume()
    this.#responses++
    // What is left of a body is for nobody, and stands in the way of another request; a body that came with the answer to HEAD would be the next one's.
    const again = this.#isBodySent && this.#parser.persistent && this.isUsable
    if (again && sending.method !== 'HEAD' && sending.upgrade === undefined) {
      this.awaitsQuietPoll = true
      this.#owner.onResponseComplete(this)
      afterQuietPoll(this)
    } else {
      outflow?.stop()
      this.#socket.destroy()
    }
  }

  onQuietPoll(): void {
    // A connection with surplus bytes was destroyed; its pool learns of it by 'close'.
    if (!this.awaitsQuietPoll || !this.isUsable) return
    this.awaitsQuietPoll = false
    this.#owner.onReusable(this)
  }

  #fail(error: Error): void {
    const handler = this.#handler
    this.#handler = undefined
    this.#options = undefined
    this.#parser.stop()
    this.#headersTimeout.pause()
    this.#bodyWriter?.stop()
    this.#bodyWriter = undefined
    this.#socket.destroy()
    handler?.onError(error)
  }

  #detach(): void {
    this.#handler = undefined
    this.#options = undefined
    this.#headersTimeout.stop()
    this.#bodyWriter?.stop()
    this.#bodyWriter = undefined
    this.#owner.onClosed(this)
  }
}

// One function each for all connections.
function onData(this: OwnedSocket, chunk: Buffer): void {
  if (this[CONNECTION]?.onRead(chunk, chunk.length) === false) this.pause()
}

function onError(this: OwnedSocket, error: Error): void {
  this[CONNECTION]?.onSocketError(error)
}

function onEnd(this: OwnedSocket): void {
  this[CONNECTION]?.onSocketEnd()
}

function onClose(this: OwnedSocket): void {
  this[CONNECTION]?.onSocketClose()
}

const uncork = (socket: Socket): void => socket.uncork()

const noop = (): void => {}
