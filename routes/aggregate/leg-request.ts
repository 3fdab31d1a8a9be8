import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type JsonTemplate, jsonTemplate, writeJson } from '../../src/lib/body/values-in-json.ts'
import { escapesFor } from '../../src/lib/escape.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { setHeader } from '../../src/lib/http/flat-head.ts'
import { cleanHeader, forwardedNames, isResourceField, keepsUnderscores } from '../../src/lib/http/headers.ts'
import { forwardedHead } from '../../src/lib/http/request-head.ts'
import { isObject } from '../../src/lib/schema.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import { scalarText } from './leg-path.ts'
import type { LegOptions } from './options.ts'
import { type ReadValue, reference, type Values } from './references.ts'

/** Writes the headers and the body of a leg's request. */
export interface LegRequest {
  readonly method: string
  /** The names of the leg's own headers, in lower case. */
  readonly ownNames: readonly string[]
  /** Returns the headers: those that all legs have, what describes the body, and the leg's own. */
  head(base: readonly string[], values: Values, body: LegBody | null): string[]
  /** Returns the body; null for none, undefined where a value is missing. */
  body(values: Values): LegBody | null | undefined
}

/** A request body and the headers that describe it. */
export interface LegBody {
  readonly bytes: Buffer
  readonly type: string | undefined
  /** Its Content-Encoding. */
  readonly coding?: string | undefined
}

const ACCEPT = {
  json: 'application/json',
  xml: 'application/xml, text/xml',
  csv: 'text/csv',
  ndjson: 'application/x-ndjson',
  form: 'application/x-www-form-urlencoded'
}

/** Compiles the headers that all legs of a route have: those that a proxied request would have. */
export function legHeadWriter(
  app: FastifyInstance,
  options: Readonly<Record<string, unknown>>
): (request: FastifyRequest) => readonly string[] {
  const { requestId } = options
  const write = forwardedHead({
    preserveHost: false,
    keepsUnderscores: keepsUnderscores(options),
    only: forwardedNames(options),
    requestId: isObject(requestId) ? String(requestId['header']) : undefined,
    names: app.hasDecorator('identityNames') ? app.identityNames : new Set<string>(),
    cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null,
    clientIpHeader: app.clientIpHeader
  })
  return (request) => headOfLegs(write(request, app.trusts(peerOf(request)), ''))
}

/** Removes the headers about the body of the client's request, its conditions, and its response as a whole. */
function headOfLegs(head: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < head.length; i += 2) {
    const name = head[i] as string
    if (name !== 'accept' && name !== 'accept-encoding' && !isResourceField(name))
      kept.push(name, head[i + 1] as string)
  }
  return kept
}

/** Compiles the request of a leg. */
export function compileLegRequest({ method, headers, body, format }: LegOptions): LegRequest {
  const own = Object.entries(headers).map(([name, value]) => ({
    name: name.toLowerCase(),
    read: value === false ? undefined : textReader(value)
  }))
  const from = (typeof format === 'string' ? format : format?.from) ?? 'json'
  const written =
    Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1] || undefined
  return {
    method,
    ownNames: own.map(({ name }) => name),
    body: compileBody(body, written),
    head(base, values, legBody) {
      const head = [...base, 'accept', ACCEPT[from], 'accept-encoding', 'identity']
      if (legBody !== null) {
        const { bytes, type, coding } = legBody
        head.push('content-length', String(bytes.length))
        if (type !== undefined) head.push('content-type', type)
        if (coding !== undefined) head.push('content-encoding', coding)
      }
      for (const { name, read } of own) {
        const value = read?.(values)
        setHeader(head, name, value === undefined ? undefined : cleanHeader(value))
      }
      return head
    }
  }
}

/** Compiles a text with values; undefined where one is missing or is no text. */
function textReader(text: string): (values: Values) => string | undefined {
  const parts = templateParts(text).map((part) =>
    typeof part === 'string' ? part : reference(part.reference).read
  )
  return (values) => {
    let made = ''
    for (const part of parts) {
      const added = typeof part === 'string' ? part : scalarText(part(values))
      if (added === undefined) return undefined
      made += added
    }
    return made
  }
}

const JSON_TYPE = 'application/json'

function compileBody(body: unknown, type: string | undefined): LegRequest['body'] {
  if (body === undefined) return () => null
  if (body === '{body}') return clientBody
  if (typeof body === 'string' && (type === undefined ? !isOneReference(body) : !/\bjson\b/i.test(type)))
    return textBody(body, type ?? 'text/plain; charset=utf-8')
  return jsonBody(jsonTemplate(body))
}

const clientBody: LegRequest['body'] = ({ body, request }) =>
  body === undefined || body.bytes.length === 0
    ? null
    : {
        bytes: body.bytes,
        type: request.raw.headers['content-type'],
        coding: request.raw.headers['content-encoding']
      }

function isOneReference(text: string): boolean {
  const parts = templateParts(text)
  return parts.length === 1 && typeof parts[0] === 'object'
}

function jsonBody(template: JsonTemplate): LegRequest['body'] {
  const resolve = resolverOf(template)
  return (values) => {
    const chunks = writeJson(template, (name) => resolve.get(name)?.(values))
    return chunks === undefined ? undefined : { bytes: Buffer.concat(chunks), type: JSON_TYPE }
  }
}

/** Reads each reference of a template once. */
export const resolverOf = ({ references }: JsonTemplate): ReadonlyMap<string, ReadValue> =>
  new Map(references.map((text) => [text, reference(text).copy]))

/** Compiles a text whose values are escaped for its type (CWE-91, CWE-116). */
function textBody(text: string, type: string): LegRequest['body'] {
  const parts = templateParts(text)
  const before: string[] = []
  for (const [i, part] of parts.entries()) {
    const last = parts[i - 1]
    if (typeof part === 'object') before.push(typeof last === 'string' ? last : '')
  }
  const escapeValue = escapesFor(type, before)
  const readers = parts.map((part) => (typeof part === 'string' ? part : reference(part.reference).read))
  return (values) => {
    let made = ''
    let index = 0
    for (const part of readers) {
      if (typeof part === 'string') {
        made += part
        continue
      }
      const value = scalarText(part(values))
      if (value === undefined) return undefined
      made += escapeValue === undefined ? value : escapeValue(value, index)
      index++
    }
    return { bytes: Buffer.from(made), type }
  }
}
