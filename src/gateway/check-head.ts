import type { IncomingMessage } from 'node:http'
import { HostInvalid, VersionInvalid } from '../lib/http/canonical-path.ts'
import { isHttp2 } from '../lib/http/http2.ts'
import { isOtherProtocol } from '../lib/other-protocols.ts'
import { CodingUnknown, ExpectationUnknown, HeaderRepeated, Malformed } from '../lib/refusals.ts'

/** An error that refuses a request before it is routed. */
export type RequestRefusal = Error & { code: string }

/** Returns why the head of a request is refused, whatever its path; undefined for a valid head. */
export const headRefusal = (raw: IncomingMessage): RequestRefusal | undefined =>
  versionRefusal(raw) ?? fieldRefusal(raw) ?? hostRefusal(raw)

function versionRefusal(raw: IncomingMessage): RequestRefusal | undefined {
  const { httpVersionMajor, httpVersionMinor, headers } = raw
  if (httpVersionMajor === 1 ? httpVersionMinor > 1 : !isHttp2(raw)) return new VersionInvalid()
  // HTTP/1.0 has no transfer codings: a proxy may read the body differently (RFC 9112 section 6.1).
  const isHttp10 = httpVersionMajor === 1 && httpVersionMinor === 0
  return isHttp10 && (headers['transfer-encoding'] !== undefined || isOtherProtocol(raw))
    ? new Malformed()
    : undefined
}

function fieldRefusal(raw: IncomingMessage): RequestRefusal | undefined {
  const { expect, 'transfer-encoding': coding } = raw.headers
  if (coding !== undefined && !isChunkedOnly(coding)) return new CodingUnknown()
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return new ExpectationUnknown()
  const repeated = repeatedHeader(raw)
  return repeated === undefined ? undefined : new HeaderRepeated(repeated)
}

function hostRefusal(raw: IncomingMessage): RequestRefusal | undefined {
  const { host, ':authority': authority } = raw.headers
  // The authority replaces the Host, and both must be equal (RFC 9113 section 8.3.1).
  if (isHttp2(raw) && typeof authority === 'string' && host !== undefined && host !== authority)
    return new HostInvalid('a Host beside another authority')
  const count = countHosts(raw)
  return count === 1 ? undefined : new HostInvalid(count === 0 ? 'no Host' : 'more than one Host')
}

/** Sets the Host to the authority of an HTTP/2 request or of an absolute URL. Returns the path and query; undefined for an invalid target. */
export function takeAuthority(raw: IncomingMessage): string | undefined {
  const { headers, url: target = '' } = raw
  if (isHttp2(raw) && typeof headers[':authority'] === 'string') headers.host = headers[':authority']
  if (target.charCodeAt(0) === 47) return target
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
  if (absolute === null) return undefined
  headers.host = absolute[1] ?? ''
  const rest = absolute[2] ?? ''
  return rest.startsWith('/') ? rest : `/${rest}`
}

// Node.js accepts "gzip, chunked" without decoding gzip, and an upstream would read it as the content (RFC 9112 section 6.1).
const isChunkedOnly = (coding: string): boolean => /^[\s,]*chunked[\s,]*$/i.test(coding)

/** Removes leading zeros from a Content-Length, which another parser may read as octal. */
export function removeLeadingZeros({ headers, rawHeaders }: IncomingMessage): void {
  const { 'content-length': length } = headers
  if (length === undefined || length.length < 2 || !length.startsWith('0')) return
  const number = length.replace(/^0+(?=\d)/, '')
  headers['content-length'] = number
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'content-length') rawHeaders[i + 1] = number
}

// Node.js uses the first of several Host fields, and an upstream may use the last one.
function countHosts(raw: IncomingMessage): number {
  if (isHttp2(raw)) return raw.headers[':authority'] === undefined && raw.headers.host === undefined ? 0 : 1
  const { rawHeaders } = raw
  let found = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 4 && name.toLowerCase() === 'host') found++
  }
  return found
}

/** Returns the name of a header that occurs twice and may occur once. Comparing lengths first is faster. */
function repeatedHeader({ rawHeaders }: IncomingMessage): string | undefined {
  let types = 0
  let credentials = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 12 && name.toLowerCase() === 'content-type' && ++types > 1) return 'Content-Type'
    if (name?.length === 13 && name.toLowerCase() === 'authorization' && ++credentials > 1)
      return 'Authorization'
  }
  return undefined
}
