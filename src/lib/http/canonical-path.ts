import { createError } from '@fastify/error'

/** How unusual slashes in a path are treated. */
export interface SlashPolicy {
  /** Whether an encoded slash (%2F) is kept, refused, or decoded. */
  readonly encodedSlash: 'keep' | 'reject' | 'decode'
  /** Whether an empty segment (//) is kept, refused, or merged. */
  readonly doubleSlash: 'keep' | 'reject' | 'merge'
}

/** How the path of a request is normalized before routing. */
export interface PathPolicy extends SlashPolicy {
  /** Whether paths match case-insensitively. */
  readonly ignoreCase: boolean
  /** Whether a path is refused that an upstream may read as a path of another route, bypassing its gates. */
  readonly ambiguous: 'reject' | 'keep'
  readonly mode: 'enforce' | 'report'
}

/** The policy of a gateway without `paths` in its config. */
export const DEFAULT_PATH_POLICY: PathPolicy = {
  encodedSlash: 'keep',
  doubleSlash: 'reject',
  ignoreCase: false,
  ambiguous: 'keep',
  mode: 'enforce'
}

/** The path is read differently by different servers, or has dot segments (RFC 3986 section 5.2.4, CVE-2021-41773). */
export const PathUnsafe = createError<[string]>('SP_ERR_PATHS_UNSAFE', 'The path %s', 400)
/** The path has an encoded slash or an empty segment, and the policy refuses it. */
export const PathSlash = createError<[string]>(
  'SP_ERR_PATHS_SLASH',
  'The path has %s, which this gateway does not accept',
  400
)
/** The upstream may read the path as one of another route, whose gates the request would bypass. */
export const PathAmbiguous = createError(
  'SP_ERR_PATHS_AMBIGUOUS',
  'Ambiguous path: the upstream may read it as a path with other access rules',
  400
)
/** The request target is neither a path nor an absolute http(s) URL (RFC 9112 section 3.2). */
export const TargetForm = createError(
  'SP_ERR_PATHS_TARGET',
  'The request target is neither a path nor an absolute http or https URL',
  400
)
/** The Host is missing, repeated or malformed (RFC 9112 section 3.2). */
export const HostInvalid = createError<[string]>('SP_ERR_PATHS_HOST', 'The request has %s', 400)
/** The HTTP version is not 1.0, 1.1 or 2. */
export const VersionInvalid = createError(
  'SP_ERR_PATHS_VERSION',
  'The HTTP version of the request is not supported',
  505
)

/** A path as router, gates and upstream see it, or why it is refused. */
export interface Canonical {
  readonly path: string
  readonly refusal?: Error & { code: string }
  /** Whether the policy refuses it, so that report mode lets the request pass. */
  readonly byPolicy?: boolean
}

// The class of each character of a path: 0 plain, 1 needs decoding or a check, 2 invalid (control, space, backslash, "#", non-ASCII).
const CLASS = new Uint8Array(256)
for (let code = 0; code < 256; code++)
  if (code <= 0x20 || code >= 0x7f || code === 0x5c || code === 0x23) CLASS[code] = 2
for (const char of '%/.') CLASS[char.charCodeAt(0)] = 1

const hex = (code: number): number =>
  code >= 48 && code <= 57
    ? code - 48
    : code >= 65 && code <= 70
      ? code - 55
      : code >= 97 && code <= 102
        ? code - 87
        : -1

const unreserved = (code: number): boolean =>
  (code >= 97 && code <= 122) ||
  (code >= 65 && code <= 90) ||
  (code >= 48 && code <= 57) ||
  code === 45 ||
  code === 46 ||
  code === 95 ||
  code === 126

/** Returns the canonical form of a path without its query: encoded unreserved characters are decoded, the rest is unchanged (RFC 3986 section 6.2.2). */
export function canonicalPath(path: string, policy: SlashPolicy): Canonical {
  let plain = true
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i)
    const kind = code < 256 ? CLASS[code] : 2
    if (kind === 0) continue
    if (kind === 2)
      return unsafe(
        path,
        code === 0x5c
          ? 'has a backslash'
          : code === 0x23
            ? 'has a fragment'
            : 'has a character that must be percent-encoded'
      )
    if (code === 47 && path.charCodeAt(i + 1) !== 47 && path.charCodeAt(i + 1) !== 46) continue
    if (code === 46) continue
    plain = false
  }
  return plain ? { path } : normalize(path, policy)
}

function normalize(path: string, policy: SlashPolicy): Canonical {
  const decoded = path.includes('%') ? decodeUnreserved(path, policy.encodedSlash === 'decode') : path
  if (typeof decoded !== 'string') return unsafe(path, decoded.why)
  let normalized = decoded
  if (policy.doubleSlash === 'merge' && normalized.includes('//'))
    normalized = normalized.replaceAll(/\/{2,}/g, '/')
  // An upstream may decode again, so dot segments, NUL and backslashes are searched two decodings deep.
  const found = unsafePart(normalized)
  if (found !== undefined) return unsafe(path, found)
  const slash = slashRefusal(normalized, policy)
  return slash === undefined ? { path: normalized } : { path: normalized, refusal: slash, byPolicy: true }
}

// The reserved characters that a segment may contain unencoded (RFC 3986 section 3.3); "*" is a wildcard in patterns.
const PLAIN_IN_SEGMENT = "!$&'()+,;=:@"

/** Returns the form in which a canonical path and a literal of a pattern are compared. An upstream reads "%40" as "@", so a gate on "/@scope" must, too. */
export function matchable(path: string): string {
  if (!path.includes('%')) return path
  return path.replaceAll(/%[0-9a-f]{2}/gi, (encoded) => {
    const char = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return PLAIN_IN_SEGMENT.includes(char) ? char : encoded.toUpperCase()
  })
}

const unsafe = (path: string, why: string): Canonical => ({ path, refusal: new PathUnsafe(why) })

function slashRefusal(path: string, policy: SlashPolicy): (Error & { code: string }) | undefined {
  if (policy.doubleSlash === 'reject' && path.includes('//')) return new PathSlash('an empty segment (//)')
  if (policy.encodedSlash === 'reject' && /%2f/i.test(path)) return new PathSlash('an encoded slash (%2F)')
  return undefined
}

function decodeUnreserved(path: string, slashes: boolean): string | { why: string } {
  let made = ''
  let from = 0
  for (let i = path.indexOf('%'); i !== -1; i = path.indexOf('%', i + 1)) {
    const high = hex(path.charCodeAt(i + 1))
    const low = hex(path.charCodeAt(i + 2))
    if (high < 0 || low < 0) return { why: 'has a "%" that is not a percent-encoding' }
    const code = high * 16 + low
    if (!unreserved(code) && !(slashes && code === 47)) continue
    made += path.slice(from, i) + String.fromCharCode(code)
    from = i + 3
  }
  return from === 0 ? path : made + path.slice(from)
}

function unsafePart(path: string): string | undefined {
  let read = path
  for (let depth = 0; ; depth++) {
    if (hasDotSegment(read)) return 'has a dot segment'
    if (depth === 2 || !read.includes('%')) return undefined
    const bytes = percentDecoded(read)
    for (const byte of bytes) if (byte < 0x20 || byte === 0x7f) return 'has an encoded control character'
    if (bytes.includes(0x5c)) return 'has an encoded backslash'
    const text = Buffer.from(bytes)
    if (depth === 0 && !isUtf8(text)) return 'is not UTF-8'
    read = text.toString('latin1')
  }
}

const isUtf8 = (bytes: Buffer): boolean => {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}

function percentDecoded(text: string): number[] {
  const bytes: number[] = []
  for (let i = 0; i < text.length; i++) {
    const high = text[i] === '%' ? hex(text.charCodeAt(i + 1)) : -1
    const low = high < 0 ? -1 : hex(text.charCodeAt(i + 2))
    if (low < 0) bytes.push(text.charCodeAt(i))
    else {
      bytes.push(high * 16 + low)
      i += 2
    }
  }
  return bytes
}

// Also finds a dot segment with a path parameter ("..;x=1"): servlet containers drop the parameter and resolve the rest.
function hasDotSegment(path: string): boolean {
  for (let start = path.indexOf('/'); start !== -1; start = path.indexOf('/', start + 1)) {
    let end = start + 1
    while (end < path.length && path.charCodeAt(end) === 46) end++
    const dots = end - start - 1
    if (
      (dots === 1 || dots === 2) &&
      (end === path.length ||
        path[end] === '/' ||
        path[end] === ';' ||
        path[end] === '?' ||
        path[end] === '#' ||
        path[end] === ' ')
    )
      return true
  }
  return false
}

/** Returns the form in which a Host is compared: lower case, without port and final dot; undefined where it is malformed. */
export function canonicalHost(host: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]*?[a-z0-9_-])\.?(?::\d{0,5})?$/.exec(host.toLowerCase())
  return match?.[1]
}
