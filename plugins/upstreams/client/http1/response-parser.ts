import { errors } from 'undici'
import { wordsIn } from '../../../../src/lib/http/headers.ts'
import { ChunkExtension } from './chunk-extension.ts'
import { checkPartialHead, MalformedResponse, REASON_INDEX, readField, readStatus, ZERO } from './fields.ts'

/** Told what comes of an answer, in its order. */
export interface ParserListener {
  /** Takes a head that another one follows (RFC 9110 section 15.2). */
  onInformation(status: number, fields: string[]): void
  /** Takes a head; `bare` says that no body follows. */
  onHeaders(status: number, fields: string[], reason: string, bare: boolean): void
  /** Takes a head and its whole body, a byte a character; it is the end as well. */
  onCompleteResponse(status: number, fields: string[], reason: string, body: string): void
  /** Takes a part of a body, whose bytes are only good until this returns. */
  onData(bytes: Buffer): void
  onComplete(trailers: string[]): void
  /** Takes the head of a 101, and the first bytes of the other protocol. */
  onUpgrade(fields: string[], first: Buffer): void
}

/** Where in an answer the next byte belongs. */
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

// Digits of a chunk's size, in hexadecimal: more of them is more than a number can count exactly.
const MAX_CHUNK_SIZE_DIGITS = 13
// Digits of a length in bytes.
const MAX_CONTENT_LENGTH_DIGITS = 15

/** Reads the answers of one connection, one after the other; what is not strictly HTTP/1.1 or 1.0 throws a Malformed. */
export class ResponseParser {
  readonly #listener: ParserListener
  readonly #maxHeaders: number
  readonly #extension = new ChunkExtension()
  #state: State = 'nothing'
  #isHead = false
  #expectsUpgrade = false
  // The part of a head or of trailers that has come so far.
  #buffered = ''
  #remaining = 0
  #digits = 0
  /** Whether the other side keeps the connection after this answer. */
  persistent = true
  /** Milliseconds that it says it keeps an idle connection for; 0 where it does not say. */
  keepAliveMs = 0

  /** Takes the listener, and the most bytes that a head, the trailers or a chunk extension may have. */
  constructor(taker: ParserListener, maxHeaders: number) {
    this.#listener = taker
    this.#maxHeaders = maxHeaders
  }

  /** Waits for the answer to a request. */
  expect(method: string, switches: boolean): void {
    this.#state = 'head'
    this.#isHead = method === 'HEAD'
    this.#expectsUpgrade = switches
    this.#buffered = ''
    this.persistent = true
  }

  /** Reads no more of what comes. */
  stop(): void {
    this.#state = 'nothing'
    this.#buffered = ''
  }

  /** Whether no answer is due. */
  get isIdle(): boolean {
    return this.#state === 'nothing'
  }

  /** Takes what the connection has read. */
  read(bytes: Buffer, size: number): void {
    if (this.#state === 'nothing') throw new MalformedResponse('bytes that belong to no answer')
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

  /** Takes the end of what the other side sends; tells whether the answer is whole with that. */
  onSocketEnd(): boolean {
    if (this.#state !== 'until close') return false
    this.#complete([], false)
    return true
  }

  /** Ends the answer; with bytes behind it that nobody asked for, no request may follow on this connection. */
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

  /** Takes a byte of what stands between chunks (RFC 9112 section 7.1). */
  #readFraming(byte: number): void {
    if (this.#state === 'chunk size') this.#readChunkSize(byte)
    else if (this.#state === 'chunk extension') this.#readChunkExtension(byte)
    else if (this.#state === 'chunk size LF') {
      if (byte !== LF) throw new MalformedResponse('a chunk whose size does not end')
      if (this.#remaining > 0) this.#state = 'chunk'
      else {
        this.#state = 'trailers'
        // The line of the last chunk is the one before them: without any, the empty line is next.
        this.#buffered = '\r\n'
      }
    } else {
      if (byte !== (this.#state === 'chunk CR' ? CR : LF))
        throw new MalformedResponse('a chunk longer than its size')
      if (this.#state === 'chunk CR') this.#state = 'chunk LF'
      else this.#startChunk()
    }
  }

  #readChunkSize(byte: number): void {
    const digit = hexDigit(byte)
    if (digit !== -1) {
      if (++this.#digits > MAX_CHUNK_SIZE_DIGITS) throw new MalformedResponse('a chunk too large to count')
      this.#remaining = this.#remaining * 16 + digit
      return
    }
    if (this.#digits === 0) throw new MalformedResponse('a chunk without a size')
    if (byte === CR) this.#state = 'chunk size LF'
    else if (byte === SEMICOLON) {
      this.#state = 'chunk extension'
      this.#extension.start()
    } else throw new MalformedResponse('a chunk whose size is no number')
  }

  #readChunkExtension(byte: number): void {
    if (this.#extension.read(byte)) this.#state = 'chunk size LF'
    else if (this.#extension.length > this.#maxHeaders)
      throw new MalformedResponse('a chunk extension that does not end')
  }

  /** Waits for the size of the next chunk. */
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
    for (let from = 2; from < end; ) from = readField(text, from, trailers)
    const next = at + end + 4 - before
    this.#complete(trailers, next === size)
    return next
  }

  /** Adds what has come to what was held, no more than a head may have; tells where the empty line behind it begins, or -1 where it is yet to come. */
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
      if (status < 100) throw new MalformedResponse('a status that there is none of')
      // HTTP/1.0 has none (RFC 9110 section 15.2): a reader that knows that takes what follows for another answer.
      if (version === 0) throw new MalformedResponse('an interim answer of HTTP/1.0')
      this.#listener.onInformation(status, fields)
      return body
    }
    const length = this.#readFramingFields(fields, version)
    if (status === 101) {
      if (!this.#expectsUpgrade) throw new MalformedResponse('a switch of protocols that nobody asked for')
      this.#state = 'nothing'
      this.#listener.onUpgrade(fields, bytes.subarray(body, size))
      return size
    }
    if (this.#isHead || status === 204 || status === 304 || length === 0) {
      this.#state = 'nothing'
      // An upstream that announces a body here may send one, which would be read as the next answer.
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

  /** Finds how the body ends, writes its length as a plain number, and what becomes of the connection then (RFC 9112 sections 6.3 and 9.3). */
  #readFramingFields(fields: string[], version: number): number {
    let length = UNTIL_CLOSE
    let said = ''
    this.keepAliveMs = 0
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i]
      const value = fields[i + 1] as string
      if (name === 'content-length') {
        // Two of them, or one beside a transfer coding, are two ways to read what follows.
        if (length !== UNTIL_CLOSE || value.length > MAX_CONTENT_LENGTH_DIGITS || !DIGITS.test(value))
          throw new MalformedResponse('a length that is none')
        length = Number(value)
        // "010" is ten; a reader behind us may take it for eight.
        fields[i + 1] = String(length)
      } else if (name === 'transfer-encoding') {
        if (length !== UNTIL_CLOSE || version === 0 || value.toLowerCase() !== 'chunked')
          throw new MalformedResponse('a transfer coding that is not "chunked" alone')
        length = CHUNKED
      } else if (name === 'connection') {
        said = said === '' ? value : `${said},${value}`
      } else if (name === 'keep-alive')
        this.keepAliveMs = Number(KEEP_ALIVE_TIMEOUT.exec(value)?.[1] ?? 0) * 1000
    }
    this.persistent = isPersistent(said, version)
    return length
  }
}

/** Tells whether a connection outlives an answer, by what that says of it. */
function isPersistent(said: string, version: number): boolean {
  if (said === '') return version === 1
  if (said === 'keep-alive') return true
  const options = wordsIn(said)
  return !options.includes('close') && (version === 1 || options.includes('keep-alive'))
}

// How a body ends that has no length.
const UNTIL_CLOSE = -1
const CHUNKED = -2

const DIGITS = /^\d+$/
const KEEP_ALIVE_TIMEOUT = /timeout=(\d{1,6})/i

function hexDigit(byte: number): number {
  if (byte >= ZERO && byte < ZERO + 10) return byte - ZERO
  const letter = byte | 0x20
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
