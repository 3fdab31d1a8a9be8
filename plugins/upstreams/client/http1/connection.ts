import type { Socket } from 'node:net'
import { errors } from 'undici'
import { copyToPooledMemory } from '../../../../src/lib/body/pooled-memory.ts'
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
import { listen, readAsStream, type SocketListener, unlisten } from './socket-events.ts'

/** The pool, as a connection sees it. */
export interface Http1ConnectionOwner {
  /** A response is complete; the connection may become reusable after a quiet poll phase. */
  onResponseComplete(connection: Http1Connection): void
  /** No surplus bytes followed the response, so the connection can take another request. */
  onReusable(connection: Http1Connection): void
  /** The connection is closed or upgraded. */
  onClosed(connection: Http1Connection): void
}

/** One HTTP/1.1 connection, with at most one request at a time. */
export class Http1Connection implements ParserListener, WriterListener, SocketListener, QuietPollListener {
  /** When the connection became idle, as `performance.now()`. */
  idleSince = 0
  /** Whether a response is complete, but the quiet poll phase after it is not. */
  awaitsQuietPoll = false
  readonly #socket: Socket
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

  /** Reads responses from the socket; `maxHeaders` bounds the bytes of their headers and of their trailers. */
  constructor(socket: Socket, owner: Http1ConnectionOwner, maxHeaders: number) {
    this.#socket = socket
    this.#owner = owner
    this.#parser = new ResponseParser(this, maxHeaders)
    this.#resume = () => {
      this.#paused = false
      socket.resume()
    }
    listen(socket, this)
  }

  /** The upstream's keep-alive timeout in milliseconds; 0 if it sent none. */
  get keepAliveMs(): number {
    return this.#parser.keepAliveMs
  }

  /** Whether the connection can take a request. */
  get isUsable(): boolean {
    return this.#handler === undefined && !this.#socket.destroyed && this.#socket.writable
  }

  /** Sends a request. */
  send(options: DispatchOptions, handler: DispatchHandler): void {
    this.#handler = handler
    handler.onConnect((error) => {
      if (this.#handler === handler) this.#fail(error ?? new errors.RequestAbortedError())
    })
    // The client may have left while the request was queued.
    if (this.#handler === undefined) return
    const { body, method, headers, upgrade } = options
    if (isStream(body) && body.destroyed) {
      this.#fail(new errors.RequestAbortedError())
      return
    }
    const length = contentLengthIn(headers)
    let head: string
    try {
      head = buildHead(options, length)
    } catch (error) {
      this.#fail(new RequestNotSendable(error as Error))
      return
    }
    this.#options = options
    this.#responseStarted = false
    this.#hasHeaders = false
    this.#paused = false
    this.#parser.expect(method, upgrade !== undefined)
    if (isStream(body)) {
      this.#isBodySent = false
      // Corked, so that the first part of the body shares a packet with the headers.
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      setImmediate(uncork, this.#socket)
      this.#bodyWriter = new BodyWriter(
        this.#socket,
        body,
        { length, isDisposable: options.isBodyDisposable === true },
        this
      )
      return
    }
    this.#socket.write(head, 'latin1')
    if (body) this.#socket.write(body)
    this.onBodySent()
  }

  /** Parses what the socket read; returns false to pause. */
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
    // 100 answers "Expect: 100-continue", which the gateway never sends (RFC 9110 section 15.2).
    if (status !== 100) this.#handler?.onInformation?.(status, fields)
  }

  onHeaders(status: number, fields: string[], reason: string, endStream: boolean): void {
    this.#stopHeadersTimeout()
    if (this.#handler?.onHeaders(status, fields, this.#resume, reason, endStream) === false)
      this.#paused = true
    if (endStream) this.onComplete([])
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
    if (this.#handler?.onData(copyToPooledMemory(bytes)) === false) this.#paused = true
  }

  onComplete(trailers: string[]): void {
    this.#handler?.onComplete(trailers)
    this.#finish()
  }

  onUpgrade(fields: string[], first: Buffer): void {
    const socket = this.#socket
    const handler = this.#handler
    this.#detach()
    unlisten(socket)
    if (first.length > 0) socket.unshift(Buffer.from(first))
    try {
      handler?.onUpgrade?.(101, fields, socket)
    } catch (error) {
      socket.destroy()
      handler?.onError(error as Error)
    }
  }

  /** Reads as a stream, because another protocol takes the socket over later. */
  readAsStream(): void {
    readAsStream(this.#socket)
  }

  /** Closes the connection and fails its request, if any. */
  end(error?: Error): void {
    if (this.#handler === undefined) this.#socket.destroy()
    else this.#fail(error ?? new errors.SocketError('closed'))
  }

  /** Remembers why the socket is about to close. */
  onSocketError(error: Error): void {
    this.#failure ??= error
  }

  /** Handles the FIN of the upstream, which may complete a response without a length. */
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
    // `bytesRead` tells a stale connection from one that never worked, as with undici's errors.
    handler?.onError(
      Object.assign(this.#failure ?? new errors.SocketError('other side closed'), {
        socket: { bytesRead: this.#responses }
      })
    )
  }

  /** Starts the headers timeout, now that the upstream has all that it accepts. */
  #startHeadersTimeout(): void {
    if (!this.#hasHeaders) this.#headersTimeout.start(this.#options?.headersTimeout ?? 0)
  }

  #stopHeadersTimeout(): void {
    this.#hasHeaders = true
    this.#headersTimeout.pause()
  }

  /** Ends the request after a complete response. */
  #finish(): void {
    const options = this.#options
    if (options === undefined) return
    const bodyWriter = this.#bodyWriter
    this.#handler = undefined
    this.#options = undefined
    this.#bodyWriter = undefined
    // A paused client must not block the next request. Over TLS, data may arrive after the pause.
    if (this.#paused) this.#resume()
    this.#responses++
    // Do not reuse: the request body is not fully sent, or a HEAD response may still have a body in flight.
    const again = this.#isBodySent && this.#parser.persistent && this.isUsable
    if (again && options.method !== 'HEAD' && options.upgrade === undefined) {
      this.awaitsQuietPoll = true
      this.#owner.onResponseComplete(this)
      afterQuietPoll(this)
    } else {
      bodyWriter?.stop()
      this.#socket.destroy()
    }
  }

  onQuietPoll(): void {
    // A connection with surplus bytes was destroyed; the pool learns of that by 'close'.
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

const uncork = (socket: Socket): void => socket.uncork()
