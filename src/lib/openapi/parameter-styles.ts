import type { TextReader } from '../body/json-schema/text-values.ts'
import type { Parameter } from './operations.ts'

/** A parameter as it came: its name decoded, its value still percent-encoded. */
export type RawPair = readonly [name: string, value: string]

/** What a parameter reads as: a value, or why there is none. */
export type ReadParameter =
  | { readonly value: unknown }
  | { readonly fault: 'missing' | 'repeated' | 'malformed' }

type Styled = Pick<Parameter, 'name' | 'style' | 'explode'>
type Decode = (text: string) => string

const MISSING: ReadParameter = { fault: 'missing' }
const REPEATED: ReadParameter = { fault: 'repeated' }
const MALFORMED: ReadParameter = { fault: 'malformed' }

/** Reads a parameter of the path by its style (OpenAPI 3.1, Style Values). */
export const readPathText = (parameter: Styled, reader: TextReader, text: string): ReadParameter =>
  attempt(() => {
    if (parameter.style === 'label') return readLabel(parameter, reader, text)
    if (parameter.style === 'matrix') return readMatrix(parameter, reader, text)
    return readSimple(parameter, reader, text, decodeURIComponent)
  })

/** Reads a header, whose style is always "simple" and whose value is not percent-encoded. */
export const readHeaderText = (parameter: Styled, reader: TextReader, text: string): ReadParameter =>
  attempt(() => readSimple(parameter, reader, text, (each) => each.trim()))

/** Reads a parameter of the query or of the cookies by its style; `properties` are the names that its schema declares. */
export const readPairs = (
  parameter: Styled,
  reader: TextReader,
  pairs: readonly RawPair[],
  properties: readonly string[]
): ReadParameter =>
  attempt(() => {
    const { name, style, explode } = parameter
    if (reader.isObject && style === 'deepObject') return readDeepObject(name, reader, pairs)
    if (reader.isObject && explode && style === 'form') return readExploded(reader, pairs, properties)
    const texts = pairs.filter(([each]) => each === name).map(([, text]) => text)
    const [text] = texts
    if (text === undefined) return MISSING
    if (reader.isList && explode) return { value: texts.map((each) => reader.item(decodeForm(each))) }
    // Some servers take the first and others the last.
    if (texts.length > 1) return REPEATED
    const parts = text === '' ? [] : text.split(DELIMITERS[style] ?? ',')
    if (reader.isList) return { value: parts.map((each) => reader.item(decodeForm(each))) }
    if (reader.isObject) return readAlternating(parts, reader, decodeForm)
    return { value: reader.scalar(decodeForm(text)) }
  })

/** Decodes a name or a value of a query; throws a URIError where it is not percent-encoded UTF-8. */
export const decodeForm: Decode = (text) => decodeURIComponent(text.replaceAll('+', ' '))

// A delimiter that is part of a value is percent-encoded; blanks and bars always are.
const DELIMITERS: Readonly<Record<string, string | RegExp>> = {
  form: ',',
  spaceDelimited: /%20|\+/,
  pipeDelimited: /\||%7c/i
}

function readSimple({ explode }: Styled, reader: TextReader, text: string, decode: Decode): ReadParameter {
  if (reader.isList) return { value: text.split(',').map((each) => reader.item(decode(each))) }
  if (!reader.isObject) return { value: reader.scalar(decode(text)) }
  return explode
    ? readAssignments(text.split(','), reader, decode)
    : readAlternating(text.split(','), reader, decode)
}

function readLabel({ explode }: Styled, reader: TextReader, text: string): ReadParameter {
  if (!text.startsWith('.')) return MALFORMED
  const own = text.slice(1)
  const parts = own === '' ? [] : own.split(explode ? '.' : ',')
  if (reader.isList) return { value: parts.map((each) => reader.item(decodeURIComponent(each))) }
  if (!reader.isObject) return { value: reader.scalar(decodeURIComponent(own)) }
  return explode
    ? readAssignments(parts, reader, decodeURIComponent)
    : readAlternating(parts, reader, decodeURIComponent)
}

function readMatrix({ name, explode }: Styled, reader: TextReader, text: string): ReadParameter {
  if (!text.startsWith(';')) return MALFORMED
  const parts = text.slice(1).split(';')
  if (reader.isObject && explode) return readAssignments(parts, reader, decodeURIComponent)
  const values = parts.map((part) => {
    const [own = '', ...rest] = part.split('=')
    return decodeURIComponent(own) === name ? rest.join('=') : undefined
  })
  const [first] = values
  if (first === undefined || values.includes(undefined)) return MALFORMED
  if (reader.isList && explode)
    return { value: values.map((each) => reader.item(decodeURIComponent(each ?? ''))) }
  if (values.length > 1) return REPEATED
  const items = first === '' ? [] : first.split(',')
  if (reader.isList) return { value: items.map((each) => reader.item(decodeURIComponent(each))) }
  if (reader.isObject) return readAlternating(items, reader, decodeURIComponent)
  return { value: reader.scalar(decodeURIComponent(first)) }
}

/** Reads "R,100,G,200". */
function readAlternating(parts: readonly string[], reader: TextReader, decode: Decode): ReadParameter {
  if (parts.length % 2 === 1) return MALFORMED
  const pairs = Array.from({ length: parts.length / 2 }, (_, i) => [
    decode(parts[i * 2] ?? ''),
    decode(parts[i * 2 + 1] ?? '')
  ])
  return objectOf(pairs as [string, string][], reader)
}

/** Reads "R=100" and "G=200". */
function readAssignments(parts: readonly string[], reader: TextReader, decode: Decode): ReadParameter {
  if (parts.some((part) => !part.includes('='))) return MALFORMED
  return objectOf(
    parts.map((part) => {
      const end = part.indexOf('=')
      return [decode(part.slice(0, end)), decode(part.slice(end + 1))]
    }),
    reader
  )
}

function readExploded(
  reader: TextReader,
  pairs: readonly RawPair[],
  properties: readonly string[]
): ReadParameter {
  const own = pairs.filter(([name]) => properties.includes(name))
  return own.length === 0
    ? MISSING
    : objectOf(
        own.map(([name, text]) => [name, decodeForm(text)]),
        reader
      )
}

/** Reads "color[R]=100&color[G]=200". */
function readDeepObject(name: string, reader: TextReader, pairs: readonly RawPair[]): ReadParameter {
  const own = pairs.filter(([each]) => each.startsWith(`${name}[`) && each.endsWith(']'))
  if (own.length === 0) return pairs.some(([each]) => each === name) ? MALFORMED : MISSING
  return objectOf(
    own.map(([each, text]) => [each.slice(name.length + 1, -1), decodeForm(text)]),
    reader
  )
}

function objectOf(pairs: readonly (readonly [string, string])[], reader: TextReader): ReadParameter {
  const names = new Set(pairs.map(([name]) => name))
  if (names.size < pairs.length) return REPEATED
  return names.has('__proto__')
    ? MALFORMED
    : { value: Object.fromEntries(pairs.map(([name, text]) => [name, reader.property(name, text)])) }
}

function attempt(read: () => ReadParameter): ReadParameter {
  try {
    return read()
  } catch (error) {
    if (error instanceof URIError) return MALFORMED
    throw error
  }
}
