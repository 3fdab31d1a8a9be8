import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'
import { readBody } from '../../src/kit/index.ts'
import { decodeBody } from '../../src/lib/body/content-coding.ts'
import { hasByteOrderMark } from '../../src/lib/body/json.ts'
import type { Invalid, SchemaValidator } from '../../src/lib/body/json-schema/schema-errors.ts'
import { type ScanFault, scanJson } from '../../src/lib/body/scan-json.ts'
import { BodyTooLarge } from '../../src/lib/refusals.ts'
import { size } from '../../src/lib/units.ts'
import { CodingUnsupported, MediaUndeclared, oneError } from './errors.ts'

const LIMITS = { levels: 64, keys: 10_000 } as const

// The list of all errors takes time and memory for each; of a larger body only the first is told.
const MAX_LISTED = 64 * 1024

const METHODS_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'QUERY'])

const JSON_TYPE = /^(?:application|[\w.+-]+)\/(?:json|[\w.-]+\+json)$/

/** Judges a JSON body by its schema; refuses at once what is not JSON by its own account. */
export async function judgeJsonBody(
  request: FastifyRequest,
  validator: () => SchemaValidator,
  maxBody: string
): Promise<Invalid | undefined> {
  const body = await readBody(request, { maxBody })
  if (body.length === 0)
    return METHODS_WITH_BODY.has(request.method) ? oneError('required', 'must not be empty') : undefined
  const contentType = request.headers['content-type'] ?? ''
  const [type = ''] = contentType.toLowerCase().split(';', 1)
  if (!isJsonType(type.trim()) || !isUtf8Charset(contentType)) throw new MediaUndeclared('application/json')
  const bytes = await decoded(request, body, maxBody)
  return bytes === undefined
    ? oneError('contentEncoding', 'must be encoded as its Content-Encoding says')
    : judgeJson(bytes, validator())
}

/** Judges the bytes of a JSON document: first what two parsers may read differently, then the schema. */
export function judgeJson(bytes: Buffer, validate: SchemaValidator): Invalid | undefined {
  if (hasByteOrderMark(bytes)) return oneError('bom', 'must have no byte order mark')
  if (!isUtf8(bytes)) return oneError('utf8', 'must be UTF-8')
  const text = bytes.toString()
  const ambiguous = scanJson(text, LIMITS)
  if (ambiguous !== undefined) return describeScan(ambiguous)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return oneError('json', 'must be JSON')
  }
  return text.length > MAX_LISTED ? validate.first(value) : validate(value)
}

/** Decodes a body up to what the route lets through; undefined where it is malformed. */
export async function decoded(
  request: FastifyRequest,
  body: Buffer,
  maxBody: string
): Promise<Buffer | undefined> {
  const max = Math.min(size(maxBody), request.limits?.body ?? Number.POSITIVE_INFINITY)
  const bytes = await decodeBody(body, request.headers['content-encoding'], max)
  if (Buffer.isBuffer(bytes)) return bytes
  if (bytes.fault === 'tooLarge') throw new BodyTooLarge()
  if (bytes.fault === 'unknown') throw new CodingUnsupported()
  return undefined
}

/** Returns whether a media type, in lower case, is JSON (RFC 6839). */
export const isJsonType = (type: string): boolean => JSON_TYPE.test(type)

/** Returns whether a media type, in lower case, is that of a form. */
export const isFormType = (type: string): boolean => type === 'application/x-www-form-urlencoded'

/** Returns whether a Content-Type names no charset, or UTF-8 (RFC 8259 section 11). */
export function isUtf8Charset(contentType = ''): boolean {
  const [, ...parameters] = contentType.toLowerCase().split(';')
  return parameters.every(
    (parameter) => !/^\s*charset\s*=/.test(parameter) || /=\s*"?utf-?8"?\s*$/.test(parameter)
  )
}

const DETAILS: Readonly<Record<ScanFault['fault'], string>> = {
  duplicateKey: 'must not have a key twice',
  proto: 'must not have the key __proto__',
  depth: `must not be nested more than ${LIMITS.levels} levels deep`,
  keys: `must not have more than ${LIMITS.keys} keys`
}

const describeScan = ({ fault, pointer }: ScanFault): Invalid =>
  oneError(fault, DETAILS[fault], `#${pointer}`)
