/** The limits of a scan. */
export interface ScanLimits {
  /** The maximum nesting of lists and objects. */
  readonly levels: number
  /** The maximum number of keys of all objects together. */
  readonly keys: number
}

/** What two parsers may read differently, or what exceeds a limit. */
export interface ScanFault {
  readonly fault: 'duplicateKey' | 'proto' | 'depth' | 'keys'
  /** The place as a JSON Pointer (RFC 6901); a long key is truncated. */
  readonly pointer: string
}

const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

// From this number of keys on, a Set is faster than a linear search.
const MANY_KEYS = 12

// Bounds the length of error messages.
const MAX_KEY_LENGTH = 64

/** Returns whether a text, valid JSON or not, nests lists and objects deeper than `levels`. */
export function isDeeperThan(text: string, levels: number): boolean {
  let level = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) at = endOfString(text, at)
    else if (char === OPEN_OBJECT || char === OPEN_LIST) {
      if (++level > levels) return true
    } else if (char === CLOSE_OBJECT || char === CLOSE_LIST) level--
  }
  return false
}

/** Finds the closing quote of the string that opens at `start`; the end of the text where it has none. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1 && text.charCodeAt(end - 1) === BACKSLASH && isEscaped(text, end))
    end = text.indexOf('"', end + 1)
  return end === -1 ? text.length : end
}

function isEscaped(text: string, at: number): boolean {
  let start = at
  while (text.charCodeAt(start - 1) === BACKSLASH) start--
  return (at - start) % 2 === 1
}

/** One open list or object. */
class Level {
  isObject = false
  /** Which item of a list is read. */
  index = 0
  /** The key of an object whose value is read. */
  key = ''
  readonly keys: string[] = []
  /** All keys, once there are many. */
  many: Set<string> | undefined

  open(isObject: boolean): void {
    this.isObject = isObject
    this.index = 0
    this.keys.length = 0
    this.many = undefined
  }

  /** Adds a key; returns whether it was present before. */
  repeats(key: string): boolean {
    this.key = key
    if (this.many !== undefined) return this.many.size === this.many.add(key).size
    if (this.keys.includes(key)) return true
    if (this.keys.push(key) > MANY_KEYS) this.many = new Set(this.keys)
    return false
  }
}

/** Scans JSON before it is parsed, and returns its first fault; the grammar is left to the parser. */
export function scanJson(text: string, limits: ScanLimits): ScanFault | undefined {
  const open: Level[] = []
  let level: Level | undefined
  let depth = 0
  let keys = 0
  let isKeyNext = false
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) {
      const end = endOfString(text, at)
      if (isKeyNext && level !== undefined) {
        isKeyNext = false
        const key = unescaped(text.slice(at + 1, end))
        const repeats = level.repeats(key)
        if (++keys > limits.keys) return { fault: 'keys', pointer: pointerTo(open, depth) }
        if (repeats) return { fault: 'duplicateKey', pointer: pointerTo(open, depth) }
        if (key === '__proto__') return { fault: 'proto', pointer: pointerTo(open, depth) }
      }
      at = end
    } else if (char === COMMA) {
      if (level?.isObject === true) isKeyNext = true
      else if (level !== undefined) level.index++
    } else if (char === OPEN_OBJECT || char === OPEN_LIST) {
      if (depth === limits.levels) return { fault: 'depth', pointer: pointerTo(open, depth) }
      level = open[depth] ??= new Level()
      depth++
      isKeyNext = char === OPEN_OBJECT
      level.open(isKeyNext)
    } else if (char === CLOSE_OBJECT || char === CLOSE_LIST) {
      depth = Math.max(0, depth - 1)
      level = depth === 0 ? undefined : open[depth - 1]
      isKeyNext = false
    }
  }
  return undefined
}

function unescaped(key: string): string {
  if (!key.includes('\\')) return key
  try {
    return String(JSON.parse(`"${key}"`))
  } catch {
    return key
  }
}

const pointerTo = (open: readonly Level[], depth: number): string =>
  open
    .slice(0, depth)
    .map(({ isObject, index, key }) => `/${isObject ? segment(key) : index}`)
    .join('')

const segment = (key: string): string =>
  (key.length > MAX_KEY_LENGTH ? `${key.slice(0, MAX_KEY_LENGTH)}…` : key)
    .replaceAll('~', '~0')
    .replaceAll('/', '~1')
