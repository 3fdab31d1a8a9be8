import { isHeaderName } from '../../../../src/lib/http/headers.ts'
import { MalformedResponse } from './fields.ts'

const CR = 13
const SEMICOLON = 59
const EQUALS = 61
const QUOTE = 34
const BACKSLASH = 92

/** Parses chunk extensions one byte at a time (RFC 9112 section 7.1.1): tokens and quoted strings without whitespace, as llhttp accepts them. */
export class ChunkExtension {
  #state: 'start' | 'name' | 'value' | 'quoted' | 'escaped' | 'end of quoted' = 'start'
  /** The number of bytes since `start`. */
  length = 0

  /** Starts after the semicolon. */
  start(): void {
    this.#state = 'start'
    this.length = 0
  }

  /** Reads a byte; returns true for the CR after the last extension. Throws MalformedResponse for an invalid extension. */
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
      if (!isToken(byte)) throw new MalformedResponse('Invalid chunk extension: no name')
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
      throw new MalformedResponse('Invalid chunk extension: neither a token nor a quoted string')
    return false
  }
}

function checkText(byte: number): void {
  if ((byte < 32 && byte !== 9) || byte === 127)
    throw new MalformedResponse('Invalid chunk extension: control character')
}

const TOKENS: readonly boolean[] = Array.from({ length: 256 }, (_, byte) =>
  isHeaderName(String.fromCharCode(byte))
)
const isToken = (byte: number): boolean => TOKENS[byte] === true
