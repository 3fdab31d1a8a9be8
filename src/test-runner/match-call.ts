import type { UpstreamCall } from '../lib/contracts/simulation.ts'
import { fieldPairs } from '../lib/http/headers.ts'
import type { ExpectedCall } from './expectation-schema.ts'
import type { Mismatch } from './match.ts'
import { bodyMismatches } from './match-body.ts'
import { headerMismatches } from './match-headers.ts'
import { quoted, textMismatch } from './match-text.ts'

/** Compares a request that an upstream got; null expects none. Messages begin with `who`. */
export function callMismatches(
  expected: ExpectedCall | null,
  call: UpstreamCall | undefined,
  who: string
): Mismatch[] {
  if (expected === null)
    return call === undefined
      ? []
      : [{ path: [], message: `${who}: expected no request, got ${shown(call)}` }]
  if (call === undefined) return [{ path: [], message: `${who}: expected a request, got none` }]
  const { name, method, path, headers, body } = expected
  const found: Mismatch[] = []
  if (name !== undefined && name !== call.upstream)
    found.push({ path: ['name'], message: `name: expected ${quoted(name)}, got ${quoted(call.upstream)}` })
  if (method !== undefined && method !== call.method)
    found.push({ path: ['method'], message: `method: expected ${method}, got ${call.method}` })
  const wrongPath = path === undefined ? undefined : textMismatch(path, call.path)
  if (wrongPath !== undefined) found.push({ path: ['path'], message: `path: ${wrongPath}` })
  if (headers !== undefined)
    for (const each of headerMismatches(headers, fieldPairs(call.headers)))
      found.push({ ...each, path: ['headers', ...each.path] })
  if (body !== undefined)
    for (const each of bodyMismatches(body, call.body)) found.push({ ...each, path: ['body', ...each.path] })
  return found.map((each) => ({ ...each, message: `${who}: ${each.message}` }))
}

/** Writes a request to an upstream for a message. */
export const shown = ({ method, path, upstream }: UpstreamCall): string =>
  `${method} ${path} to upstream "${upstream}"`
