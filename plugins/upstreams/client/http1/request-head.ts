import { errors } from 'undici'
import { type DispatchOptions, isStream } from '../../../../src/lib/contracts/dispatch.ts'
import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'

// What a request line may hold: one character more, and it could end where nobody meant it to.
const FORBIDDEN_IN_PATH = /[^\x21-\x7e\x80-\xff]/

// Methods that say what their content is even where there is none (RFC 9110 section 8.6).
const WITH_CONTENT = new Set(['POST', 'PUT', 'PATCH'])

/** Tells how long the head of a request says its body is; undefined where it does not. */
export function contentLengthIn(headers: readonly string[]): number | undefined {
  for (let i = 0; i < headers.length; i += 2)
    if (headers[i] === 'content-length') return Number(headers[i + 1])
  return undefined
}

/** Writes the head of a request; throws where it would be read as something else. */
export function buildHead(
  { method, path, headers, body, upgrade }: DispatchOptions,
  length: number | undefined
): string {
  if (FORBIDDEN_IN_PATH.test(path)) throw new errors.InvalidArgumentError('a path with a control character')
  let head = `${method} ${path} HTTP/1.1\r\n`
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (!isHeaderName(name)) throw new errors.InvalidArgumentError(`"${name}" is no name of a header`)
    if (!isHeaderValue(value)) throw new errors.InvalidArgumentError(`a control character in "${name}"`)
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
