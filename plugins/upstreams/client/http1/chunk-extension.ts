import { isHeaderName } from '../../../../src/lib/http/headers.ts'
import { MalformedResponse } from './fields.ts'

const CR = 13
const SEMICOLON = 59
const EQUALS = 61
const QUOTE = 34
const BACKSLASH = 92

/** Reads the extensions behind the size of a chunk, a byte at a time (RFC 9112 section 7.1.1): tokens and quoted strings without blanks, as llhttp takes them. */
export class ChunkExtension {
  #state: 'start' | 'name' | 'value' | 'quoted' | 'escaped' | 'end of quoted' = 'start'
  /** The bytes that were read since `begin`. */
  length = 0

  /** Begins behind the semicolon. */
  start(): void {
    this.#state = 'start'
    this.length = 0
  }

  /** Reads a byte; returns true for the CR behind the last extension, throws Malformed for what is no extension. */
  read(byte: number): boolean {
    this.length++
    if (this.#state === 'quoted') {
      if (byte === QUOTE) this.#state = 'end of quoted'
      else if (byte === BACKSLASH) this.#state = 'escaped'
      else checkText(byte)
    } else if (this.#state === 'escaped') {
      checkText(byte)
      this.#state = 'quoted'
    } else if (this.#state === 'start') {
      if (!isToken(byte)) throw new MalformedResponse('a chunk extension without a name')
      this.#state = 'name'
    } else return this.#readUnquoted(byte)
    return false
  }

  #readUnquoted(byte: number): boolean {
    if (byte === CR) return true
    if (byte === SEMICOLON) this.#state = 'start'
    else if (this.#state === 'name' && byte === EQUALS) this.#state = 'value'
    else if (this.#state === 'value' && byte === QUOTE) this.#state = 'quoted'
    else if (this.#state === 'end of quoted' || !isToken(byte))
      throw new MalformedResponse('a chunk extension that is no token and no quoted string')
    return false
  }
}

function checkText(byte: number): void {
  if ((byte < 32 && byte !== 9) || byte === 127)
    throw new MalformedResponse('a control character in a chunk extension')
}

const TOKENS: readonly boolean[] = Array.from({ length: 256 }, (_, byte) =>
  isHeaderName(String.fromCharCode(byte))
)
const isToken = (byte: number): boolean => TOKENS[byte] === true
