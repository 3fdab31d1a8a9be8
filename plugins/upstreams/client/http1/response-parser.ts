import { errors } from 'undici'
import { wordsIn } from '../../../../src/lib/http/headers.ts'
import { ChunkExtension } from './chunk-extension.ts'
import { AFTER_STATUS, checkBeginning, Malformed, readField, readStatus, ZERO } from './fields.ts'

/** Told what comes of an answer, in its order. */
export interface ParserListener {
  /** Takes a head that another one follows (RFC 9110 section 15.2). */
  onInterim(status: number, fields: string[]): void
  /** Takes a head; `bare` says that no body follows. */
  onHead(status: number, fields: string[], reason: string, bare: boolean): void
  /** Takes a head and its whole body, a byte a character; it is the end as well. */
  onWhole(status: number, fields: string[], reason: string, body: string): void
  /** Takes a part of a body, whose bytes are only good until this returns. */
  onBody(bytes: Buffer): void
  onEnd(trailers: string[]): void
  /** Takes the head of a 101, and the first bytes of the other protocol. */
  onSwitch(fields: string[], first: Buffer): void
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
const MOST_DIGITS = 13
// Digits of a length in bytes.
const MOST_LENGTH = 15

/** Reads the answers of one connection, one after the other; what is not strictly HTTP/1.1 or 1.0 throws a Malformed. */
export class ResponseParser {
  readonly #taker: ParserListener
  readonly #maxHeaders: number
  readonly #extension = new ChunkExtension()
  #state: State = 'nothing'
  #bodiless = false
  #switches = false
  // The part of a head or of trailers that has come so far.
  #held = ''
  #left = 0
  #digits = 0
  /** Whether the other side keeps the connection after this answer. */
  persistent = true
  /** Milliseconds that it says it keeps an idle connection for; 0 where it does not say. */
  keeps = 0

  /** Takes the listener, and the most bytes that a head, the trailers or a chunk extension may have. */
  constructor(taker: ParserListener, maxHeaders: number) {
    this.#taker = taker
    this.#maxHeaders = maxHeaders
  }

  /** Waits for the answer to a request. */
  expect(method: string, switches: boolean): void {
    this.#state = 'head'
    this.#bodiless = method === 'HEAD'
    this.#switches = switches
    this.#held = ''
    this.persistent = true
  }

  /** Reads no more of what comes. */
  stop(): void {
    this.#state = 'nothing'
    this.#held = ''
  }

  /** Whether no answer is due. */
  get idle(): boolean {
    return this.#state === 'nothing'
  }

  /** Takes what the connection has read. */
  take(bytes: Buffer, size: number): void {
    if (this.#state === 'nothing') throw new Malformed('bytes that belong to no answer')
    for (let at = 0; at < size && !this.idle; ) {
      if (this.#state === 'head') at = this.#takeHead(bytes, at, size)
      else if (this.#state === 'counted' || this.#state === 'chunk') at = this.#takeBody(bytes, at, size)
      else if (this.#state === 'trailers') at = this.#takeTrailers(bytes, at, size)
      else if (this.#state === 'until close') {
        this.#taker.onBody(bytes.subarray(at, size))
        return
      } else this.#takeFraming(bytes[at++] as number)
    }
  }

  /** Takes the end of what the other side sends; tells whether the answer is whole with that. */
  close(): boolean {
    if (this.#state !== 'until close') return false
    this.#end([], false)
    return true
  }

  /** Ends the answer; with bytes behind it that nobody asked for, no request may follow on this connection. */
  #end(trailers: string[], clean: boolean): void {
    this.#state = 'nothing'
    if (!clean) this.persistent = false
    this.#taker.onEnd(trailers)
  }

  #takeBody(bytes: Buffer, at: number, size: number): number {
    const end = Math.min(size, at + this.#left)
    this.#left -= end - at
    this.#taker.onBody(bytes.subarray(at, end))
    if (this.#left > 0 || this.idle) return end
    if (this.#state === 'chunk') this.#state = 'chunk CR'
    else this.#end([], end === size)
    return end
  }

  /** Takes a byte of what stands between chunks (RFC 9112 section 7.1). */
  #takeFraming(byte: number): void {
    if (this.#state === 'chunk size') this.#takeSize(byte)
    else if (this.#state === 'chunk extension') this.#takeExtension(byte)
    else if (this.#state === 'chunk size LF') {
      if (byte !== LF) throw new Malformed('a chunk whose size does not end')
      if (this.#left > 0) this.#state = 'chunk'
      else {
        this.#state = 'trailers'
        // The line of the last chunk is the one before them: without any, the empty line is next.
        this.#held = '\r\n'
      }
    } else {
      if (byte !== (this.#state === 'chunk CR' ? CR : LF)) throw new Malformed('a chunk longer than its size')
      if (this.#state === 'chunk CR') this.#state = 'chunk LF'
      else this.#chunks()
    }
  }

  #takeSize(byte: number): void {
    const digit = hexOf(byte)
    if (digit !== -1) {
      if (++this.#digits > MOST_DIGITS) throw new Malformed('a chunk too large to count')
      this.#left = this.#left * 16 + digit
      return
    }
    if (this.#digits === 0) throw new Malformed('a chunk without a size')
    if (byte === CR) this.#state = 'chunk size LF'
    else if (byte === SEMICOLON) {
      this.#state = 'chunk extension'
      this.#extension.begin()
    } else throw new Malformed('a chunk whose size is no number')
  }

  #takeExtension(byte: number): void {
    if (this.#extension.take(byte)) this.#state = 'chunk size LF'
    else if (this.#extension.length > this.#maxHeaders)
      throw new Malformed('a chunk extension that does not end')
  }

  /** Waits for the size of the next chunk. */
  #chunks(): void {
    this.#state = 'chunk size'
    this.#left = 0
    this.#digits = 0
  }

  #takeTrailers(bytes: Buffer, at: number, size: number): number {
    const before = this.#held.length
    const end = this.#gather(bytes, at, size)
    if (end === -1) return size
    const text = this.#held
    this.#held = ''
    const trailers: string[] = []
    for (let from = 2; from < end; ) from = readField(text, from, trailers)
    const next = at + end + 4 - before
    this.#end(trailers, next === size)
    return next
  }

  /** Adds what has come to what was held, no more than a head may have; tells where the empty line behind it begins, or -1 where it is yet to come. */
  #gather(bytes: Buffer, at: number, size: number): number {
    const before = this.#held.length
    const text = bytes.toString('latin1', at, Math.min(size, at + this.#maxHeaders + 4 - before))
    this.#held = before === 0 ? text : this.#held + text
    const end = this.#held.indexOf('\r\n\r\n', Math.max(0, before - 3))
    if (end > this.#maxHeaders || (end === -1 && this.#held.length > this.#maxHeaders))
      throw new errors.HeadersOverflowError()
    return end
  }

  #takeHead(bytes: Buffer, at: number, size: number): number {
    const before = this.#held.length
    const end = this.#gather(bytes, at, size)
    if (end === -1) {
      checkBeginning(this.#held)
      return size
    }
    const text = this.#held
    this.#held = ''
    const body = at + end + 4 - before
    const line = text.indexOf('\r\n')
    const status = readStatus(text, line)
    const version = text.charCodeAt(7) - ZERO
    const reason = line > AFTER_STATUS ? text.slice(AFTER_STATUS, line) : ''
    const fields: string[] = []
    for (let from = line + 2; from < end; ) from = readField(text, from, fields)
    if (status < 200 && status !== 101) {
      if (status < 100) throw new Malformed('a status that there is none of')
      // HTTP/1.0 has none (RFC 9110 section 15.2): a reader that knows that takes what follows for another answer.
      if (version === 0) throw new Malformed('an interim answer of HTTP/1.0')
      this.#taker.onInterim(status, fields)
      return body
    }
    const length = this.#framing(fields, version)
    if (status === 101) {
      if (!this.#switches) throw new Malformed('a switch of protocols that nobody asked for')
      this.#state = 'nothing'
      this.#taker.onSwitch(fields, bytes.subarray(body, size))
      return size
    }
    if (this.#bodiless || status === 204 || status === 304 || length === 0) {
      this.#state = 'nothing'
      // An upstream that announces a body here may send one, which would be read as the next answer.
      if (body < size || (length !== 0 && length !== UNTIL_CLOSE)) this.persistent = false
      this.#taker.onHead(status, fields, reason, true)
      return size
    }
    if (length > 0 && end + 4 + length <= text.length) {
      this.#state = 'nothing'
      if (body + length < size) this.persistent = false
      this.#taker.onWhole(status, fields, reason, text.slice(end + 4, end + 4 + length))
      return size
    }
    if (length === CHUNKED) this.#chunks()
    else {
      this.#state = length === UNTIL_CLOSE ? 'until close' : 'counted'
      this.#left = length
    }
    this.#taker.onHead(status, fields, reason, false)
    return body
  }

  /** Finds how the body ends, writes its length as a plain number, and what becomes of the connection then (RFC 9112 sections 6.3 and 9.3). */
  #framing(fields: string[], version: number): number {
    let length = UNTIL_CLOSE
    let said = ''
    this.keeps = 0
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i]
      const value = fields[i + 1] as string
      if (name === 'content-length') {
        // Two of them, or one beside a transfer coding, are two ways to read what follows.
        if (length !== UNTIL_CLOSE || value.length > MOST_LENGTH || !DIGITS.test(value))
          throw new Malformed('a length that is none')
        length = Number(value)
        // "010" is ten; a reader behind us may take it for eight.
        fields[i + 1] = String(length)
      } else if (name === 'transfer-encoding') {
        if (length !== UNTIL_CLOSE || version === 0 || value.toLowerCase() !== 'chunked')
          throw new Malformed('a transfer coding that is not "chunked" alone')
        length = CHUNKED
      } else if (name === 'connection') {
        said = said === '' ? value : `${said},${value}`
      } else if (name === 'keep-alive') this.keeps = Number(TIMEOUT.exec(value)?.[1] ?? 0) * 1000
    }
    this.persistent = isKept(said, version)
    return length
  }
}

/** Tells whether a connection outlives an answer, by what that says of it. */
function isKept(said: string, version: number): boolean {
  if (said === '') return version === 1
  if (said === 'keep-alive') return true
  const options = wordsIn(said)
  return !options.includes('close') && (version === 1 || options.includes('keep-alive'))
}

// How a body ends that has no length.
const UNTIL_CLOSE = -1
const CHUNKED = -2

const DIGITS = /^\d+$/
const TIMEOUT = /timeout=(\d{1,6})/i

function hexOf(byte: number): number {
  if (byte >= ZERO && byte < ZERO + 10) return byte - ZERO
  const letter = byte | 0x20
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
