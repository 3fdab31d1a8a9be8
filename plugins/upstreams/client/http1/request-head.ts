import { errors } from 'undici'
import { type DispatchOptions, isStream } from '../../../../src/lib/contracts/dispatch.ts'
import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'

// Whitespace and control characters would end the request line early (request splitting).
const FORBIDDEN_IN_PATH = /[^\x21-\x7e\x80-\xff]/

// Methods whose requests state a length even without a body (RFC 9110 section 8.6).
const WITH_CONTENT = new Set(['POST', 'PUT', 'PATCH'])

/** Returns the value of the Content-Length field; undefined if there is none. */
export function contentLengthIn(headers: readonly string[]): number | undefined {
  for (let i = 0; i < headers.length; i += 2)
    if (headers[i] === 'content-length') return Number(headers[i + 1])
  return undefined
}

/** Returns the head of a request; throws if a path or field could be read as something else. */
export function buildHead(
  { method, path, headers, body, upgrade }: DispatchOptions,
  length: number | undefined
): string {
  if (FORBIDDEN_IN_PATH.test(path))
    throw new errors.InvalidArgumentError('Invalid request path: control character')
  let head = `${method} ${path} HTTP/1.1\r\n`
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (!isHeaderName(name)) throw new errors.InvalidArgumentError(`Invalid header name "${name}"`)
    if (!isHeaderValue(value))
      throw new errors.InvalidArgumentError(`Invalid value of header "${name}": control character`)
    head += `${name}: ${value}\r\n`
  }
  if (length === undefined) {
    if (isStream(body)) head += 'transfer-encoding: chunked\r\n'
    else if (body) head += `content-length: ${body.length}\r\n`
    else if (WITH_CONTENT.has(method)) head += 'content-length: 0\r\n'
  } else if (!isStream(body) && length !== (body?.length ?? 0))
    throw new errors.RequestContentLengthMismatchError()
  return upgrade
    ? `${head}connection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`
    : `${head}connection: ${method === 'HEAD' ? 'close' : 'keep-alive'}\r\n\r\n`
}
