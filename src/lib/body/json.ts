import { isUtf8 } from 'node:buffer'
import { isDeeperThan } from './scan-json.ts'

/** The maximum nesting of lists and objects in a body. */
export const MAX_LEVELS = 64

/** Why bytes are not JSON that the gateway accepts. */
export interface JsonFault {
  readonly fault: 'empty' | 'utf8' | 'depth' | 'syntax'
}

/** Bytes that are proven to be JSON (RFC 8259), without a byte order mark. */
export class ProvenJson {
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** Their text, decoded at each call: kept, it would double the memory of a body. */
  get text(): string {
    return this.bytes.toString()
  }
}

/** Returns whether reading JSON ended in a fault. */
export const isJsonFault = (read: object): read is JsonFault => 'fault' in read

/** Returns whether bytes begin with the byte order mark of UTF-8. */
export const hasByteOrderMark = (bytes: Buffer): boolean =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf

/** Validates that bytes are JSON, at most 64 levels deep, so that they can be copied into a response. */
export function provenJson(bytes: Buffer): ProvenJson | JsonFault {
  const decoded = decodeJson(bytes)
  if (isJsonFault(decoded)) return decoded
  try {
    JSON.parse(decoded.text)
    return decoded.proven
  } catch {
    return { fault: 'syntax' }
  }
}

/** Proves that bytes are JSON as `provenJson` does, and reads their value as `parseJson` does, in one parse. */
export function parsedJson(
  bytes: Buffer
): { readonly proven: ProvenJson; readonly value: unknown } | JsonFault {
  const decoded = decodeJson(bytes)
  if (isJsonFault(decoded)) return decoded
  try {
    return { proven: decoded.proven, value: parseJson(decoded.text) }
  } catch {
    return { fault: 'syntax' }
  }
}

// The grammar is checked by the callers.
function decodeJson(bytes: Buffer): { readonly proven: ProvenJson; readonly text: string } | JsonFault {
  const own = hasByteOrderMark(bytes) ? bytes.subarray(3) : bytes
  if (own.length === 0) return { fault: 'empty' }
  if (!isUtf8(own)) return { fault: 'utf8' }
  const text = own.toString()
  return isDeeperThan(text, MAX_LEVELS) ? { fault: 'depth' } : { proven: new ProvenJson(own), text }
}

/** A number that a double can't represent, as its text in the JSON. */
export type RawNumber = ReturnType<typeof JSON.rawJSON>

/** Returns whether a JSON value is an object, and not a list or a RawNumber. */
export const isJsonObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value)

/** Returns whether a value is a number that a double can't represent. */
export const isRawNumber = (value: unknown): value is RawNumber =>
  typeof value === 'object' && value !== null && 'rawJSON' in value && JSON.isRawJSON(value)

// A double has at least 15 digits and two digits of exponent (IEEE 754), and JSON.stringify drops the sign of zero.
const MAYBE_LOST = /(?:^|[[:,\s])(?:-?(?:[\d.]{16}|[\d.]+[eE][+-]?\d{3})|-0(?!\.\d*[1-9]))/

/** Parses JSON without loss: a number that a double can't represent becomes a RawNumber; throws a SyntaxError. The text is proven to be at most 64 levels deep. */
export function parseJson(text: string): unknown {
  return MAYBE_LOST.test(text) ? JSON.parse(text, keepNumber) : JSON.parse(text)
}

/** Writes a value as JSON, with each RawNumber as it was written. */
export const stringifyJson = (value: unknown): string => JSON.stringify(value) ?? 'null'

const keepNumber = (_key: string, value: unknown, { source }: { readonly source?: string }): unknown =>
  typeof value === 'number' && source !== undefined && !isExact(value, source) ? JSON.rawJSON(source) : value

// If the shortest text of the double is another number than the original text, digits were lost.
const isExact = (value: number, source: string): boolean =>
  String(value) === source ||
  (Number.isFinite(value) && !Object.is(value, -0) && decimal(String(value)) === decimal(source))

const DECIMAL = /^(-?)0*(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/

/** Brings a number into one form: its digits without zeros around them, and the power of ten of the last one. */
function decimal(written: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = DECIMAL.exec(written) ?? []
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const end = lastDigit(digits)
  if (end === 0) return '0'
  const power = Number(exponent) - fraction.length + digits.length - end
  return `${sign}${digits.slice(0, end)}e${power}`
}

function lastDigit(digits: string): number {
  let end = digits.length
  while (end > 0 && digits.charCodeAt(end - 1) === 0x30) end--
  return end
}
