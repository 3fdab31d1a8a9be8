import type { WrittenRequest } from '../simulation/request-bytes.ts'
import type { TestRequest, WrittenHeaders } from './request-schema.ts'

/** The address of the client where a request names none (RFC 5737). */
const DEFAULT_ADDRESS = '192.0.2.1'

/** Returns a request as it is sent, and the address that it comes from. */
export function requestOf(request: TestRequest): WrittenRequest & { readonly from: string } {
  if (typeof request === 'string') {
    const space = request.indexOf(' ')
    return {
      method: request.slice(0, space),
      url: request.slice(space + 1).trimStart(),
      headers: [],
      body: undefined,
      from: DEFAULT_ADDRESS
    }
  }
  const { method = 'GET', url, headers, body, from = DEFAULT_ADDRESS } = request
  return { method, url, headers: fieldsOf(headers, body), body: bodyBytes(body), from }
}

/** Writes a request for people. */
export function showRequest(request: TestRequest): string {
  const { method, url } = requestOf(request)
  return `${method} ${url}`
}

/** Returns the bytes of a body: a text as it is, anything else as JSON; undefined for none. */
export function bodyBytes(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

/** Returns headers as names and values, with the media type of a body that is written as JSON. */
export function fieldsOf(headers: WrittenHeaders | undefined, body: unknown): [string, string][] {
  const fields = Object.entries(headers ?? {}).flatMap(([name, value]) =>
    [value].flat().map((each): [string, string] => [name, String(each)])
  )
  const isTyped = fields.some(([name]) => name.toLowerCase() === 'content-type')
  return body === undefined || typeof body === 'string' || isTyped
    ? fields
    : [...fields, ['content-type', 'application/json']]
}
