import { type MediaOffer, preferredOffer } from '../http/accept.ts'
import { isObject } from '../schema.ts'
import { readCsv } from './csv.ts'
import { decodeUtf8 } from './encoding.ts'
import { readForm } from './form.ts'
import { FormatError } from './format-errors.ts'
import {
  type FormatName,
  type FormatOption,
  type FormatOptions,
  formatOptionsOf,
  type WrittenFormat
} from './format-options.ts'
import { isJsonFault, parsedJson, stringifyJson } from './json.ts'
import { readNdjson } from './ndjson.ts'
import { compileTypes } from './schema-types.ts'
import { compileLists } from './xml-names.ts'
import { readXml } from './xml-read.ts'
import { writeXml } from './xml-write.ts'

/** Reads and writes the bodies of one "format" option. */
export interface Format {
  readonly from: FormatName
  readonly to: readonly WrittenFormat[]
  /** The Content-Type of each format that is written. */
  readonly contentTypes: typeof CONTENT_TYPES
  /** Reads a body of at most `maxBody` bytes into a value; throws a FormatError. */
  read(bytes: Buffer, contentType: string | undefined, maxBody: number): unknown
  /** Writes a value; throws a FormatXml for what XML can't carry. */
  write(value: unknown, type: WrittenFormat): Buffer
  /** Chooses what the client gets by its Accept header; the first one if it accepts none. */
  choose(accept: string | undefined): WrittenFormat
}

const CONTENT_TYPES = {
  json: 'application/json; charset=utf-8',
  xml: 'application/xml; charset=utf-8'
} as const

const OFFERS: Readonly<Record<WrittenFormat, MediaOffer<WrittenFormat>>> = {
  json: { value: 'json', types: ['application/json'] },
  xml: { value: 'xml', types: ['application/xml', 'text/xml'] }
}

type Read = Format['read']

/** Compiles the option "format". */
export function compileFormat(option: FormatOption): Format {
  const options = formatOptionsOf(option)
  const { from, to, root } = options
  const offers = to.map((type) => OFFERS[type])
  const read = readerOf(options)
  return {
    from,
    to,
    contentTypes: CONTENT_TYPES,
    read(bytes, contentType, maxBody) {
      if (bytes.length > maxBody) throw new FormatError('too large', 'size')
      return read(bytes, contentType, maxBody)
    },
    write(value, type) {
      if (type === 'json' || root === undefined) return Buffer.from(stringifyJson(value))
      return writeXml(from === 'xml' ? withoutRoot(value, root) : value, root)
    },
    choose: (accept) => preferredOffer(accept, offers) ?? to[0] ?? 'json'
  }
}

function readerOf(options: FormatOptions): Read {
  const read = textReaderOf(options)
  if (options.schema === undefined) return read
  const toTypes = compileTypes(options.schema)
  return (bytes, contentType, maxBody) => toTypes(read(bytes, contentType, maxBody))
}

function textReaderOf({ from, lists, namespaces }: FormatOptions): Read {
  if (from === 'json') return readJson
  if (from === 'xml') {
    const reading = { lists: compileLists(lists), namespaces }
    return (bytes, contentType) => readXml(bytes, contentType, reading)
  }
  const read = { csv: readCsv, ndjson: readNdjson, form: readForm }[from]
  return (bytes, contentType, maxBody) => read(decodeUtf8(bytes, contentType), maxBody)
}

function readJson(bytes: Buffer): unknown {
  const parsed = parsedJson(bytes)
  if (isJsonFault(parsed)) throw new FormatError(`malformed JSON: ${parsed.fault}`)
  return parsed.value
}

// Where the service sends XML, the root element is the one key of the value already.
function withoutRoot(value: unknown, root: string): unknown {
  if (!isObject(value)) return value
  const [key, ...others] = Object.keys(value)
  return key === root && others.length === 0 ? value[root] : value
}
