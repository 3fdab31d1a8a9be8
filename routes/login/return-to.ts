import type { FastifyRequest } from 'fastify'
import { publicOrigin } from '../../src/lib/caller.ts'
import { queryValue } from '../../src/lib/http/url-parts.ts'
import { formField } from './form.ts'

// In characters; a cookie has to hold it.
const MAX_RETURN_TO_LENGTH = 2048

/** Reads where to go after the login: `return_to` of the query, else of the form; undefined without a valid one. */
export const returnToOf = (request: FastifyRequest): string | undefined =>
  sameOriginPath(returnToInQuery(request) ?? formField(request.body, 'return_to'), request)

/** Reads where to go after a form was sent: `return_to` of the form, else of the query; undefined without a valid one. */
export const returnToOfForm = (request: FastifyRequest): string | undefined =>
  sameOriginPath(formField(request.body, 'return_to') ?? returnToInQuery(request), request)

const returnToInQuery = ({ raw }: FastifyRequest): string | undefined =>
  queryValue(raw.url ?? '', 'return_to')

/** Returns a path of the gateway's own origin, and undefined for anything else (CWE-601; parsed as the WHATWG URL parser does). */
function sameOriginPath(value: string | undefined, request: FastifyRequest): string | undefined {
  if (value === undefined || value.length > MAX_RETURN_TO_LENGTH || hasIgnoredCharacters(value))
    return undefined
  const origin = publicOrigin(request)
  let url: URL
  try {
    url = new URL(value, origin)
  } catch {
    return undefined
  }
  const isPath = value.startsWith('/') && !value.startsWith('//')
  const isAbsolute = request.server.publicUrl !== null && value.startsWith(`${origin}/`)
  if (
    (!isPath && !isAbsolute) ||
    url.origin !== new URL(origin).origin ||
    url.username !== '' ||
    url.password !== ''
  )
    return undefined
  const path = url.pathname + url.search + url.hash
  // Percent-encoding may have made it longer.
  return path.startsWith('//') || path.length > MAX_RETURN_TO_LENGTH ? undefined : path
}

/** Returns whether a URL parser would drop characters, or read them as slashes, before it looks for the host. */
function hasIgnoredCharacters(value: string): boolean {
  for (const char of value)
    if (char <= ' ' || char === '\\' || char === '\u007f' || (char > '~' && /[\s\p{C}]/u.test(char)))
      return true
  return false
}
