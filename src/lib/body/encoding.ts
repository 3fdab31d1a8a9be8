import { isUtf8 } from 'node:buffer'
import { FormatError } from './format-errors.ts'

/** The encodings that a body may have. */
export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be'

/** The names of an encoding, in lower case (IANA Character Sets). */
const NAMES: Readonly<Record<Encoding, readonly string[]>> = {
  'utf-8': ['utf-8', 'utf8'],
  'utf-16le': ['utf-16', 'utf-16le'],
  'utf-16be': ['utf-16', 'utf-16be']
}

const UTF16 = {
  'utf-16le': new TextDecoder('utf-16le', { fatal: true }),
  'utf-16be': new TextDecoder('utf-16be', { fatal: true })
}

/** Decodes a body that has to be UTF-8, and drops its byte order mark; throws a FormatError. */
export function decodeUtf8(bytes: Buffer, contentType: string | undefined): string {
  checkEncoding(charsetOf(contentType), 'utf-8')
  return fromUtf8(bytes)
}

/** Decodes XML in UTF-8 or UTF-16 (XML 1.0 appendix F), and drops its byte order mark; throws a FormatError. */
export function decodeXml(
  bytes: Buffer,
  contentType: string | undefined
): { readonly text: string; readonly encoding: Encoding } {
  const encoding = detectEncoding(bytes)
  checkEncoding(charsetOf(contentType), encoding)
  return { text: encoding === 'utf-8' ? fromUtf8(bytes) : fromUtf16(bytes, encoding), encoding }
}

/** Throws a FormatError where a name is not that of the encoding that the bytes have. */
export function checkEncoding(name: string | undefined, encoding: Encoding): void {
  if (name === undefined) return
  const declared = name.toLowerCase()
  if (NAMES[encoding].includes(declared)) return
  throw new FormatError(
    Object.values(NAMES).some((names) => names.includes(declared))
      ? 'the encoding is not the declared one'
      : 'unsupported encoding'
  )
}

function fromUtf8(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new FormatError('invalid UTF-8')
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
  return bytes.toString('utf8', marked ? 3 : 0)
}

function fromUtf16(bytes: Buffer, encoding: keyof typeof UTF16): string {
  try {
    return UTF16[encoding].decode(bytes)
  } catch {
    throw new FormatError('invalid UTF-16')
  }
}

// By the byte order mark, or by the "<" that a document begins with.
function detectEncoding([first, second]: Buffer): Encoding {
  if ((first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)) return 'utf-16le'
  if ((first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)) return 'utf-16be'
  return 'utf-8'
}

const charsetOf = (contentType: string | undefined): string | undefined =>
  contentType === undefined ? undefined : /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType)?.[1]
