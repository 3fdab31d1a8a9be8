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

/** One request on its way to a connection and through it, and its answer. */
export class ClientStream {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
  #connection: Http2Connection | undefined
  #stream: ClientHttp2Stream | undefined
  #isOver = false
  #hasHeaders = false
  /** Whether END_STREAM has come: only then is the answer whole. */
  #endStream = false
  #trailers: string[] = []
  #failure: Error | undefined
  readonly #headersTimeout = new HeadersTimeout((error) => this.#abort(error))

  constructor(sending: DispatchOptions, handler: DispatchHandler) {
    this.options = sending
    this.handler = handler
  }

  /** Fails before anything was sent. */
  fail(error: Error): void {
    if (this.#isOver) return
    this.#end()
    this.handler.onError(error)
  }

  /** Sends the request. */
  start(connection: Http2Connection): void {
    this.#connection = connection
    this.handler.onConnect((error) => this.#abort(error ?? new errors.RequestAbortedError()))
    // Who asked may have left while the request waited.
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

  // Node.js ends what is read from a stream for END_STREAM and for RST_STREAM with NO_ERROR alike; only the latter has closed the stream before.
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
      // It waits for the other side now, not for the client.
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
    // The other side has reset the stream: a write would be an error, and what it has answered would be lost with it.
    stream.on('aborted', () => void body.destroy())
  }

  /** Waits for the head of the answer, now that the other side has all that there is. */
  #startHeadersTimeout(): void {
    if (!this.#hasHeaders && !this.#isOver) this.#headersTimeout.start(this.options.headersTimeout ?? 0)
  }

  #onInformation(raw: readonly string[]): void {
    this.#markReceived()
    const status = statusIn(raw)
    // It is for who sent "Expect: 100-continue", which we never do.
    if (!this.#isOver && status !== 100)
      this.#guard(() => void this.handler.onHeaders(status, this.#fieldsOf(raw), noop, ''))
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
      const bare = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
      const more = this.handler.onHeaders(statusIn(raw), this.#fieldsOf(raw), () => stream.resume(), '', bare)
      if (!more) stream.pause()
    })
    // Node tells of a head a tick late, and of a body at once where it reads within another call: nothing of it flows before.
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

  // A stream that was reset or lost with its connection ends as well.
  #onEnd(): void {
    const stream = this.#stream as ClientHttp2Stream
    if (this.#isOver || !this.#hasHeaders || stream.rstCode !== NGHTTP2_NO_ERROR) return
    this.#end()
    // Whatever is left of the request is for nobody.
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
    // Node says REFUSED_STREAM of what a GOAWAY has left out, too.
    if (
      !this.#hasHeaders &&
      (rstCode === NGHTTP2_REFUSED_STREAM || id === undefined || id > connection.lastStreamId)
    )
      return new RequestNotProcessed()
    if (!connection.isDestroyed)
      return this.#failure ?? new errors.InformationalError(`The stream was reset: ${rstCode}`)
    const lost = new errors.SocketError(connection.failure?.message ?? 'other side closed')
    // What is told of a connection of HTTP/1.1 by the bytes that it has read: whether it has been of use before.
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

/** Resets a stream with CANCEL. Node's own `close` would first say that the request ends here, and half a body would be taken for a whole one; only an AbortError of its own cancels at once. */
const cancel = (stream: ClientHttp2Stream): void => void addAbortSignal(AbortSignal.abort(), stream)

const noop = (): void => {}

/** Makes the head of HTTP/2 of a flat one, whose Host becomes the authority (RFC 9113 section 8.3.1). */
function http2HeadOf({ method, path, headers: said }: DispatchOptions, scheme: string): string[] {
  let authority = ''
  const rest: string[] = []
  for (let i = 0; i < said.length; i += 2) {
    const name = said[i] as string
    const value = said[i + 1] as string
    if (!isHeaderName(name)) throw new errors.InvalidArgumentError(`"${name}" is no name of a header`)
    if (!isHeaderValue(value)) throw new errors.InvalidArgumentError(`a control character in "${name}"`)
    if (name === 'host') authority = value
    else rest.push(name, value)
  }
  return [':method', method, ':scheme', scheme, ':authority', authority, ':path', path, ...rest]
}

const statusIn = (raw: readonly string[]): number => Number(raw[raw.indexOf(':status') + 1])

/** Leaves out of a head what is HTTP/2's own. */
function withoutPseudoHeaders(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i < raw.length; i += 2)
    if (raw[i]?.startsWith(':') === false) fields.push(raw[i] as string, raw[i + 1] as string)
  return fields
}
