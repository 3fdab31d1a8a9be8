import type { CacheHead } from '../../src/lib/contracts/cache.ts'
import { fieldIn } from './fields.ts'
import { groupsIn } from './tags.ts'

// RFC 9110 section 9.2.1; QUERY by its draft.
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY'])

/** What a request has changed. */
export interface Changed {
  /** URLs without a scheme: `//host/path?query`. */
  readonly urls: readonly string[]
  readonly groups: readonly string[]
}

/** Returns what an unsafe request that succeeded has changed (RFC 9111 section 4.4, RFC 9875 section 3); undefined for nothing. */
export function changedBy(
  method: string,
  target: { readonly host: string; readonly url: string },
  { status, fields }: CacheHead
): Changed | undefined {
  if (SAFE.has(method) || status < 200 || status > 399) return undefined
  const own = purgeUrl(target.host, target.url)
  const named = ['location', 'content-location'].flatMap((name) => sameHost(target, fieldIn(fields, name)))
  return {
    urls: [...new Set([own, ...named])],
    groups: groupsIn(fieldIn(fields, 'cache-group-invalidation'))
  }
}

/** Returns a URL as entries are known by it: without its scheme and the usual ports. */
export const purgeUrl = (host: string, pathAndQuery: string): string =>
  `//${host.toLowerCase().replace(/:(?:80|443)$/, '')}${pathAndQuery}`

function sameHost(
  { host, url }: { readonly host: string; readonly url: string },
  reference: string | undefined
): string[] {
  if (reference === undefined) return []
  // The scheme makes no difference: TLS may end at a proxy in front.
  const parsed = URL.parse(reference, `http://${host}${url}`)
  const own = URL.parse(`${parsed?.protocol ?? 'http:'}//${host}`)
  return parsed === null || own === null || parsed.host !== own.host
    ? []
    : [purgeUrl(host, parsed.pathname + parsed.search)]
}
