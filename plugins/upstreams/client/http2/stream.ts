import { type ClientHttp2Stream, constants } from 'node:http2'
import { addAbortSignal } from 'node:stream'
import { errors } from 'undici'
import {
  type DispatchHandler,
  type DispatchOptions,
  isStream
} from '../../../../src/lib/contracts/dispatch.ts'
import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'
import { RequestNotProcessed, RequestNotSendable } from '../../../../src/lib/refusals.ts'
import { HeadersTimeout } from '../headers-timeout.ts'
import type { Http2Connection } from './connection.ts'

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

/** One request, queued or on an HTTP/2 stream, and its response. */
export class ClientStream {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
  #connection: Http2Connection | undefined
  #stream: ClientHttp2Stream | undefined
  #isOver = false
  #hasHeaders = false
  /** Whether END_STREAM has arrived: without it the response is incomplete. */
  #endStream = false
  #trailers: string[] = []
  #failure: Error | undefined
  readonly #headersTimeout = new HeadersTimeout((error) => this.#abort(error))

  constructor(options: DispatchOptions, handler: DispatchHandler) {
    this.options = options
    this.handler = handler
  }

  /** Fails a request of which nothing was sent. */
  fail(error: Error): void {
    if (this.#isOver) return
    this.#end()
    this.handler.onError(error)
  }

  /** Sends the request. */
  start(connection: Http2Connection): void {
    this.#connection = connection
    this.handler.onConnect((error) => this.#abort(error ?? new errors.RequestAbortedError()))
    // The client may have left while the request was queued.
    if (this.#isOver) {
      connection.onStreamClosed()
      return
    }
    const { body } = this.options
    let stream: ClientHttp2Stream
    try {
      stream = connection.request(
        http2HeadOf(this.options, connection.scheme),
        body === null || body === undefined
      )
    } catch (error) {
      connection.onStreamClosed()
      this.fail(connection.hasRoom ? new RequestNotSendable(error as Error) : new RequestNotProcessed())
      return
    }
    this.#stream = stream
    this.#detectEndStream(stream)
    stream.on('headers', (_headers, _flags, raw) => this.#onInformation(raw as never))
    stream.on('response', (_headers, flags, raw) => this.#onResponse(flags, raw as never))
    stream.on('trailers', (_trailers, _flags, raw) => {
      this.#trailers = withoutPseudoHeaders(raw as never)
    })
    stream.on('end', () => this.#onEnd())
    stream.on('error', (error) => {
      this.#failure = error
    })
    stream.on('close', () => this.#onClose())
    this.#sendBody(stream)
  }

  // Node.js ends the readable side for END_STREAM and for RST_STREAM with NO_ERROR alike; only the latter closes the stream first.
  #detectEndStream(stream: ClientHttp2Stream): void {
    const { push } = stream
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#endStream = true
      return push.call(stream, chunk, encoding)
    }
  }

  #sendBody(stream: ClientHttp2Stream): void {
    const { body } = this.options
    if (!isStream(body)) {
      if (body !== null && body !== undefined) stream.end(body)
      this.#startHeadersTimeout()
      return
    }
    body.on('data', (chunk: Buffer) => {
      if (this.#isOver || stream.write(chunk)) return
      body.pause()
      // The gateway now waits for the upstream, not for the client.
      this.#startHeadersTimeout()
    })
    stream.on('drain', () => {
      this.#headersTimeout.pause()
      body.resume()
    })
    body.on('end', () => {
      stream.end()
      this.#startHeadersTimeout()
    })
    body.on('error', (error) => this.#abort(error))
    // After RST_STREAM a write would raise an error and discard the response.
    stream.on('aborted', () => void body.destroy())
  }

  /** Starts the headers timeout, now that the upstream has all that it accepts. */
  #startHeadersTimeout(): void {
    if (!this.#hasHeaders && !this.#isOver) this.#headersTimeout.start(this.options.headersTimeout ?? 0)
  }

  #onInformation(raw: readonly string[]): void {
    this.#markReceived()
    const status = statusIn(raw)
    // 100 answers "Expect: 100-continue", which the gateway never sends.
    if (!this.#isOver && status !== 100)
      this.#guard(() => {
        const fields = this.#fieldsOf(raw)
        this.handler.onInformation?.(status, fields)
      })
  }

  #onResponse(flags: number, raw: readonly string[]): void {
    this.#markReceived()
    if (this.#isOver) return
    this.#hasHeaders = true
    this.#headersTimeout.stop()
    if (this.#connection !== undefined) this.#connection.responses++
    const stream = this.#stream as ClientHttp2Stream
    this.#guard(() => {
      this.handler.onResponseStarted?.()
      const endStream = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
      const more = this.handler.onHeaders(
        statusIn(raw),
        this.#fieldsOf(raw),
        () => stream.resume(),
        '',
        endStream
      )
      if (!more) stream.pause()
    })
    // Node.js emits the headers a tick late, but data possibly at once: without a listener, no data flows before the headers.
    stream.on('data', (chunk: Buffer) => this.#onData(chunk))
  }

  #fieldsOf(raw: readonly string[]): string[] {
    let length = 0
    for (const text of raw) length += text.length
    if (length > (this.#connection?.maxHeaders ?? 0)) throw new errors.HeadersOverflowError()
    return withoutPseudoHeaders(raw)
  }

  #onData(chunk: Buffer): void {
    this.#markReceived()
    if (this.#isOver) return
    this.#guard(() => {
      if (!this.handler.onData(chunk)) this.#stream?.pause()
    })
  }

  // A stream that was reset, or lost its connection, emits 'end' too.
  #onEnd(): void {
    const stream = this.#stream as ClientHttp2Stream
    if (this.#isOver || !this.#hasHeaders || stream.rstCode !== NGHTTP2_NO_ERROR) return
    this.#end()
    // The upstream has answered, so the rest of the request body is not needed.
    if (!this.#endStream || !stream.writableEnded) cancel(stream)
    if (this.#endStream) this.handler.onComplete(this.#trailers)
    else this.handler.onError(this.#failureReason())
  }

  #onClose(): void {
    if (!this.#isOver) {
      this.#end()
      this.handler.onError(this.#failureReason())
    }
    this.#connection?.onStreamClosed()
  }

  #failureReason(): Error {
    const { id, rstCode } = this.#stream as ClientHttp2Stream
    const connection = this.#connection as Http2Connection
    // Node.js reports REFUSED_STREAM for streams beyond a GOAWAY too.
    if (
      !this.#hasHeaders &&
      (rstCode === NGHTTP2_REFUSED_STREAM || id === undefined || id > connection.lastStreamId)
    )
      return new RequestNotProcessed()
    if (!connection.isDestroyed)
      return this.#failure ?? new errors.InformationalError(`HTTP/2 stream reset with code ${rstCode}`)
    const lost = new errors.SocketError(connection.failure?.message ?? 'other side closed')
    // `bytesRead` tells a stale connection from one that never worked, as with HTTP/1.1.
    return Object.assign(lost, { socket: { bytesRead: connection.responses } })
  }

  #abort(error: Error): void {
    if (this.#isOver) return
    this.#end()
    const stream = this.#stream
    if (stream !== undefined) {
      cancel(stream)
      this.#connection?.pingIfSilent()
    }
    this.handler.onError(error)
  }

  #end(): void {
    this.#isOver = true
    this.#headersTimeout.stop()
    const { body } = this.options
    if (isStream(body) && !body.readableEnded) body.destroy()
  }

  #markReceived(): void {
    if (this.#connection !== undefined) this.#connection.hasReceived = true
  }

  #guard(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#abort(error as Error)
    }
  }
}

/** Resets a stream with CANCEL. `close()` would send END_STREAM first, so half a body would pass for a complete one; only an AbortError cancels at once. */
const cancel = (stream: ClientHttp2Stream): void => void addAbortSignal(AbortSignal.abort(), stream)

/** Returns the HTTP/2 head; Host becomes :authority (RFC 9113 section 8.3.1). */
function http2HeadOf({ method, path, headers }: DispatchOptions, scheme: string): string[] {
  let authority = ''
  const rest: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (!isHeaderName(name)) throw new errors.InvalidArgumentError(`Invalid header name "${name}"`)
    if (!isHeaderValue(value))
      throw new errors.InvalidArgumentError(`Invalid value of header "${name}": control character`)
    if (name === 'host') authority = value
    else rest.push(name, value)
  }
  return [':method', method, ':scheme', scheme, ':authority', authority, ':path', path, ...rest]
}

const statusIn = (raw: readonly string[]): number => Number(raw[raw.indexOf(':status') + 1])

/** Returns the fields without pseudo-headers. */
function withoutPseudoHeaders(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i < raw.length; i += 2)
    if (raw[i]?.startsWith(':') === false) fields.push(raw[i] as string, raw[i + 1] as string)
  return fields
}
