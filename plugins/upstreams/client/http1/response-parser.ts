import { errors } from 'undici'
import { tokensOf } from '../../../../src/lib/http/headers.ts'
import { ChunkExtension } from './chunk-extension.ts'
import {
  checkPartialHead,
  hexDigit,
  MalformedResponse,
  REASON_INDEX,
  readField,
  readStatus,
  readTrailer,
  ZERO
} from './fields.ts'

/** Receives the parts of each response, in their order. */
export interface ParserListener {
  /** Called for each 1xx response but 101 (RFC 9110 section 15.2). */
  onInformation(status: number, fields: string[]): void
  /** Called with the headers; `endStream` says that no body follows. */
  onHeaders(status: number, fields: string[], reason: string, endStream: boolean): void
  /** Called instead of the other three, with headers and a complete latin1 body that arrived in one read. */
  onCompleteResponse(status: number, fields: string[], reason: string, body: string): void
  /** Called with a part of the body; its bytes are valid until this returns. */
  onData(bytes: Buffer): void
  onComplete(trailers: string[]): void
  /** Called with the headers of a 101 response and the first bytes of the new protocol. */
  onUpgrade(fields: string[], first: Buffer): void
}

/** The part of a response that the next byte belongs to. */
type State =
  | 'nothing'
  | 'head'
  | 'counted'
  | 'until close'
  | 'chunk size'
  | 'chunk extension'
  | 'chunk size LF'
  | 'chunk'
  | 'chunk CR'
  | 'chunk LF'
  | 'trailers'

const LF = 10
const CR = 13
const SEMICOLON = 59

// Hexadecimal digits of a chunk size: more would exceed the safe integers.
const MAX_CHUNK_SIZE_DIGITS = 13
// Decimal digits of a Content-Length: more would exceed the safe integers.
const MAX_CONTENT_LENGTH_DIGITS = 15

/** Parses the responses of one connection. Anything that is not strictly HTTP/1.1 or HTTP/1.0 throws MalformedResponse. */
export class ResponseParser {
  readonly #listener: ParserListener
  readonly #maxHeaders: number
  readonly #extension = new ChunkExtension()
  #state: State = 'nothing'
  #isHead = false
  #expectsUpgrade = false
  // The part of the head or the trailers that has arrived.
  #buffered = ''
  #remaining = 0
  #digits = 0
  /** Whether the connection stays open after this response. */
  persistent = true
  /** The upstream's keep-alive timeout in milliseconds; 0 if it sent none. */
  keepAliveMs = 0

  /** Calls `listener`; `maxHeaders` bounds the bytes of a head, of the trailers and of a chunk extension. */
  constructor(taker: ParserListener, maxHeaders: number) {
    this.#listener = taker
    this.#maxHeaders = maxHeaders
  }

  /** Expects the response to a request. */
  expect(method: string, switches: boolean): void {
    this.#state = 'head'
    this.#isHead = method === 'HEAD'
    this.#expectsUpgrade = switches
    this.#buffered = ''
    this.persistent = true
  }

  /** Ignores all further input. */
  stop(): void {
    this.#state = 'nothing'
    this.#buffered = ''
  }

  /** Whether no response is expected. */
  get isIdle(): boolean {
    return this.#state === 'nothing'
  }

  /** Parses the first `size` bytes of a buffer. */
  read(bytes: Buffer, size: number): void {
    if (this.#state === 'nothing') throw new MalformedResponse('Unexpected data: no response is pending')
    for (let at = 0; at < size && !this.isIdle; ) {
      if (this.#state === 'head') at = this.#readHead(bytes, at, size)
      else if (this.#state === 'counted' || this.#state === 'chunk') at = this.#readBody(bytes, at, size)
      else if (this.#state === 'trailers') at = this.#readTrailers(bytes, at, size)
      else if (this.#state === 'until close') {
        this.#listener.onData(bytes.subarray(at, size))
        return
      } else this.#readFraming(bytes[at++] as number)
    }
  }

  /** Handles the upstream's FIN; returns whether that completes the response. */
  onSocketEnd(): boolean {
    if (this.#state !== 'until close') return false
    this.#complete([], false)
    return true
  }

  /** Completes the response. If surplus bytes follow it (`clean` is false), the connection is not reused. */
  #complete(trailers: string[], clean: boolean): void {
    this.#state = 'nothing'
    if (!clean) this.persistent = false
    this.#listener.onComplete(trailers)
  }

  #readBody(bytes: Buffer, at: number, size: number): number {
    const end = Math.min(size, at + this.#remaining)
    this.#remaining -= end - at
    this.#listener.onData(bytes.subarray(at, end))
    if (this.#remaining > 0 || this.isIdle) return end
    if (this.#state === 'chunk') this.#state = 'chunk CR'
    else this.#complete([], end === size)
    return end
  }

  /** Reads a byte between two chunks (RFC 9112 section 7.1). */
  #readFraming(byte: number): void {
    if (this.#state === 'chunk size') this.#readChunkSize(byte)
    else if (this.#state === 'chunk extension') this.#readChunkExtension(byte)
    else if (this.#state === 'chunk size LF') {
      if (byte !== LF) throw new MalformedResponse('Invalid chunk size: no line end')
      if (this.#remaining > 0) this.#state = 'chunk'
      else {
        this.#state = 'trailers'
        // The line break of the last chunk counts: without trailers, the blank line follows at once.
        this.#buffered = '\r\n'
      }
    } else {
      if (byte !== (this.#state === 'chunk CR' ? CR : LF))
        throw new MalformedResponse('Invalid chunk: longer than its size')
      if (this.#state === 'chunk CR') this.#state = 'chunk LF'
      else this.#startChunk()
    }
  }

  #readChunkSize(byte: number): void {
    const digit = hexDigit(byte)
    if (digit !== -1) {
      if (++this.#digits > MAX_CHUNK_SIZE_DIGITS) throw new MalformedResponse('Invalid chunk size: too large')
      this.#remaining = this.#remaining * 16 + digit
      return
    }
    if (this.#digits === 0) throw new MalformedResponse('Invalid chunk size: none')
    if (byte === CR) this.#state = 'chunk size LF'
    else if (byte === SEMICOLON) {
      this.#state = 'chunk extension'
      this.#extension.start()
    } else throw new MalformedResponse('Invalid chunk size: not a number')
  }

  #readChunkExtension(byte: number): void {
    if (this.#extension.read(byte)) this.#state = 'chunk size LF'
    else if (this.#extension.length > this.#maxHeaders)
      throw new MalformedResponse('Chunk extension too long')
  }

  #startChunk(): void {
    this.#state = 'chunk size'
    this.#remaining = 0
    this.#digits = 0
  }

  #readTrailers(bytes: Buffer, at: number, size: number): number {
    const before = this.#buffered.length
    const end = this.#bufferHead(bytes, at, size)
    if (end === -1) return size
    const text = this.#buffered
    this.#buffered = ''
    const trailers: string[] = []
    for (let from = 2; from < end; ) from = readTrailer(text, from, trailers)
    const next = at + end + 4 - before
    this.#complete(trailers, next === size)
    return next
  }

  /** Buffers up to `maxHeaders` bytes; returns the index of the blank line, or -1 if it has not arrived. */
  #bufferHead(bytes: Buffer, at: number, size: number): number {
    const before = this.#buffered.length
    const text = bytes.toString('latin1', at, Math.min(size, at + this.#maxHeaders + 4 - before))
    this.#buffered = before === 0 ? text : this.#buffered + text
    const end = this.#buffered.indexOf('\r\n\r\n', Math.max(0, before - 3))
    if (end > this.#maxHeaders || (end === -1 && this.#buffered.length > this.#maxHeaders))
      throw new errors.HeadersOverflowError()
    return end
  }

  #readHead(bytes: Buffer, at: number, size: number): number {
    const before = this.#buffered.length
    const end = this.#bufferHead(bytes, at, size)
    if (end === -1) {
      checkPartialHead(this.#buffered)
      return size
    }
    const text = this.#buffered
    this.#buffered = ''
    const body = at + end + 4 - before
    const line = text.indexOf('\r\n')
    const status = readStatus(text, line)
    const version = text.charCodeAt(7) - ZERO
    const reason = line > REASON_INDEX ? text.slice(REASON_INDEX, line) : ''
    const fields: string[] = []
    for (let from = line + 2; from < end; ) from = readField(text, from, fields)
    if (status < 200 && status !== 101) {
      if (status < 100) throw new MalformedResponse('Invalid status code: below 100')
      // HTTP/1.0 has no 1xx (RFC 9110 section 15.2), so a client could take the following bytes for another response.
      if (version === 0) throw new MalformedResponse('Unexpected informational response over HTTP/1.0')
      this.#listener.onInformation(status, fields)
      return body
    }
    const length = this.#readFramingFields(fields, version)
    if (status === 101) {
      if (!this.#expectsUpgrade) throw new MalformedResponse('Unexpected 101 Switching Protocols')
      this.#state = 'nothing'
      this.#listener.onUpgrade(fields, bytes.subarray(body, size))
      return size
    }
    if (this.#isHead || status === 204 || status === 304 || length === 0) {
      this.#state = 'nothing'
      // An upstream that announces a body here may send one, and it would be read as the next response.
      if (body < size || (length !== 0 && length !== UNTIL_CLOSE)) this.persistent = false
      this.#listener.onHeaders(status, fields, reason, true)
      return size
    }
    if (length > 0 && end + 4 + length <= text.length) {
      this.#state = 'nothing'
      if (body + length < size) this.persistent = false
      this.#listener.onCompleteResponse(status, fields, reason, text.slice(end + 4, end + 4 + length))
      return size
    }
    if (length === CHUNKED) this.#startChunk()
    else {
      this.#state = length === UNTIL_CLOSE ? 'until close' : 'counted'
      this.#remaining = length
    }
    this.#listener.onHeaders(status, fields, reason, false)
    return body
  }

  /** Returns how the body ends, normalizes Content-Length, and decides whether the connection persists (RFC 9112 sections 6.3 and 9.3). */
  #readFramingFields(fields: string[], version: number): number {
    let length = UNTIL_CLOSE
    let connection = ''
    this.keepAliveMs = 0
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i]
      const value = fields[i + 1] as string
      if (name === 'content-length') {
        // A second Content-Length, or one beside Transfer-Encoding, is a way to smuggle responses.
        if (length !== UNTIL_CLOSE || value.length > MAX_CONTENT_LENGTH_DIGITS || !DIGITS.test(value))
          throw new MalformedResponse('Invalid Content-Length')
        length = Number(value)
        // A client could read "010" as octal.
        fields[i + 1] = String(length)
      } else if (name === 'transfer-encoding') {
        if (length !== UNTIL_CLOSE || version === 0 || value.toLowerCase() !== 'chunked')
          throw new MalformedResponse('Invalid Transfer-Encoding: not just chunked')
        length = CHUNKED
      } else if (name === 'connection') {
        connection = connection === '' ? value : `${connection},${value}`
      } else if (name === 'keep-alive')
        this.keepAliveMs = Number(KEEP_ALIVE_TIMEOUT.exec(value)?.[1] ?? 0) * 1000
    }
    this.persistent = isPersistent(connection, version)
    return length
  }
}

/** Returns whether the connection stays open, by the Connection options of a response. */
function isPersistent(connection: string, version: number): boolean {
  if (connection === '') return version === 1
  if (connection === 'keep-alive') return true
  const options = tokensOf(connection)
  return !options.includes('close') && (version === 1 || options.includes('keep-alive'))
}

// Special lengths of a body without Content-Length.
const UNTIL_CLOSE = -1
const CHUNKED = -2

const DIGITS = /^\d+$/
const KEEP_ALIVE_TIMEOUT = /timeout=(\d{1,6})/i
