import { type ClientHttp2Stream, constants } from 'node:http2'
import { addAbortSignal } from 'node:stream'
import { errors } from 'undici'
import { type Handler, isStream, type Sending } from '../../../../src/lib/contracts/dispatch.ts'
import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'
import { RequestNotProcessed, RequestNotSendable } from '../../../../src/lib/refusals.ts'
import { HeadersTimeout } from '../headers-timeout.ts'
import type { Connection } from './connection.ts'

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

/** One request on its way to a connection and through it, and its answer. */
export class Stream {
  readonly sending: Sending
  readonly handler: Handler
  #connection: Connection | undefined
  #stream: ClientHttp2Stream | undefined
  #over = false
  #headed = false
  /** Whether END_STREAM has come: only then is the answer whole. */
  #endStream = false
  #trailers: string[] = []
  #failure: Error | undefined
  readonly #patience = new HeadersTimeout((error) => this.#abort(error))

  constructor(sending: Sending, handler: Handler) {
    this.sending = sending
    this.handler = handler
  }

  /** Fails before anything was sent. */
  fail(error: Error): void {
    if (this.#over) return
    this.#end()
    this.handler.onError(error)
  }

  /** Sends the request. */
  begin(connection: Connection): void {
    this.#connection = connection
    this.handler.onConnect((error) => this.#abort(error ?? new errors.RequestAbortedError()))
    // Who asked may have left while the request waited.
    if (this.#over) {
      connection.leave()
      return
    }
    const { body } = this.sending
    let stream: ClientHttp2Stream
    try {
      stream = connection.request(
        headOf(this.sending, connection.scheme),
        body === null || body === undefined
      )
    } catch (error) {
      connection.leave()
      this.fail(connection.hasRoom ? new RequestNotSendable(error as Error) : new RequestNotProcessed())
      return
    }
    this.#stream = stream
    this.#watchEnd(stream)
    stream.on('headers', (_headers, _flags, raw) => this.#informed(raw as never))
    stream.on('response', (_headers, flags, raw) => this.#answered(flags, raw as never))
    stream.on('trailers', (_trailers, _flags, raw) => {
      this.#trailers = fieldsOf(raw as never)
    })
    stream.on('end', () => this.#ended())
    stream.on('error', (error) => {
      this.#failure = error
    })
    stream.on('close', () => this.#closed())
    this.#upload(stream)
  }

  // Node.js ends what is read from a stream for END_STREAM and for RST_STREAM with NO_ERROR alike; only the latter has closed the stream before.
  #watchEnd(stream: ClientHttp2Stream): void {
    const { push } = stream
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#endStream = true
      return push.call(stream, chunk, encoding)
    }
  }

  #upload(stream: ClientHttp2Stream): void {
    const { body } = this.sending
    if (!isStream(body)) {
      if (body !== null && body !== undefined) stream.end(body)
      this.#owes()
      return
    }
    body.on('data', (chunk: Buffer) => {
      if (this.#over || stream.write(chunk)) return
      body.pause()
      // It waits for the other side now, not for the client.
      this.#owes()
    })
    stream.on('drain', () => {
      this.#patience.end()
      body.resume()
    })
    body.on('end', () => {
      stream.end()
      this.#owes()
    })
    body.on('error', (error) => this.#abort(error))
    // The other side has reset the stream: a write would be an error, and what it has answered would be lost with it.
    stream.on('aborted', () => void body.destroy())
  }

  /** Waits for the head of the answer, now that the other side has all that there is. */
  #owes(): void {
    if (!this.#headed && !this.#over) this.#patience.begin(this.sending.headersTimeout ?? 0)
  }

  #informed(raw: readonly string[]): void {
    this.#hear()
    const status = statusOf(raw)
    // It is for who sent "Expect: 100-continue", which we never do.
    if (!this.#over && status !== 100)
      this.#try(() => void this.handler.onHeaders(status, this.#fieldsOf(raw), noop, ''))
  }

  #answered(flags: number, raw: readonly string[]): void {
    this.#hear()
    if (this.#over) return
    this.#headed = true
    this.#patience.stop()
    if (this.#connection !== undefined) this.#connection.answered++
    const stream = this.#stream as ClientHttp2Stream
    this.#try(() => {
      this.handler.onResponseStarted?.()
      const bare = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
      const more = this.handler.onHeaders(statusOf(raw), this.#fieldsOf(raw), () => stream.resume(), '', bare)
      if (!more) stream.pause()
    })
    // Node tells of a head a tick late, and of a body at once where it reads within another call: nothing of it flows before.
    stream.on('data', (chunk: Buffer) => this.#took(chunk))
  }

  #fieldsOf(raw: readonly string[]): string[] {
    let length = 0
    for (const text of raw) length += text.length
    if (length > (this.#connection?.maxHeaders ?? 0)) throw new errors.HeadersOverflowError()
    return fieldsOf(raw)
  }

  #took(chunk: Buffer): void {
    this.#hear()
    if (this.#over) return
    this.#try(() => {
      if (!this.handler.onData(chunk)) this.#stream?.pause()
    })
  }

  // A stream that was reset or lost with its connection ends as well.
  #ended(): void {
    const stream = this.#stream as ClientHttp2Stream
    if (this.#over || !this.#headed || stream.rstCode !== NGHTTP2_NO_ERROR) return
    this.#end()
    // Whatever is left of the request is for nobody.
    if (!this.#endStream || !stream.writableEnded) cancel(stream)
    if (this.#endStream) this.handler.onComplete(this.#trailers)
    else this.handler.onError(this.#reason())
  }

  #closed(): void {
    if (!this.#over) {
      this.#end()
      this.handler.onError(this.#reason())
    }
    this.#connection?.leave()
  }

  #reason(): Error {
    const { id, rstCode } = this.#stream as ClientHttp2Stream
    const connection = this.#connection as Connection
    // Node says REFUSED_STREAM of what a GOAWAY has left out, too.
    if (
      !this.#headed &&
      (rstCode === NGHTTP2_REFUSED_STREAM || id === undefined || id > connection.lastTaken)
    )
      return new RequestNotProcessed()
    if (!connection.over)
      return this.#failure ?? new errors.InformationalError(`The stream was reset: ${rstCode}`)
    const lost = new errors.SocketError(connection.failure?.message ?? 'other side closed')
    // What is told of a connection of HTTP/1.1 by the bytes that it has read: whether it has been of use before.
    return Object.assign(lost, { socket: { bytesRead: connection.answered } })
  }

  #abort(error: Error): void {
    if (this.#over) return
    this.#end()
    const stream = this.#stream
    if (stream !== undefined) {
      cancel(stream)
      this.#connection?.suspect()
    }
    this.handler.onError(error)
  }

  #end(): void {
    this.#over = true
    this.#patience.stop()
    const { body } = this.sending
    if (isStream(body) && !body.readableEnded) body.destroy()
  }

  #hear(): void {
    if (this.#connection !== undefined) this.#connection.heard = true
  }

  #try(tell: () => void): void {
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
function headOf({ method, path, headers: said }: Sending, scheme: string): string[] {
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

const statusOf = (raw: readonly string[]): number => Number(raw[raw.indexOf(':status') + 1])

/** Leaves out of a head what is HTTP/2's own. */
function fieldsOf(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i < raw.length; i += 2)
    if (raw[i]?.startsWith(':') === false) fields.push(raw[i] as string, raw[i + 1] as string)
  return fields
}
