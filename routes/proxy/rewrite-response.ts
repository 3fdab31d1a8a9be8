import type { FastifyRequest } from 'fastify'
import type { ResponseSource } from '../../src/lib/contracts/cache.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'
import type { ResponseRewrite } from './response-head.ts'

/** Compiles the rewrite of response headers that name a target: its origin becomes the gateway's, and the stripped prefix of paths is added again. */
export function makeResponseRewrite(
  target: ResponseSource,
  rewrite: string | undefined,
  stripped: (path: string) => string
): ResponseRewrite {
  // The prefix that only the upstream's paths have.
  const inner =
    target.base + (rewrite === undefined || rewrite.includes('{') ? '' : rewrite.replace(/\/$/, ''))
  const own = ownNames(target)
  const toClientPath = (path: string, prefix: string): string | undefined => {
    if (inner === '' && prefix === '') return path
    if (prefix !== '' && inner !== prefix && isWithin(path, prefix)) return path
    if (!isWithin(path, inner)) return undefined
    const outer = prefix + path.slice(inner.length)
    return outer.startsWith('/') ? outer : `/${outer}`
  }
  const location = (value: string, request: FastifyRequest): string => {
    const path = upstreamPath(value, own.origins)
    if (path === undefined) return value
    // Without a path on this route, at least the upstream's address is removed.
    return oneSlash(toClientPath(path, stripped(pathOf(request))) ?? path)
  }
  return {
    location,
    refresh(value, request) {
      const [, before = '', quote = '', rest = ''] = REFRESH.exec(value) ?? []
      if (rest === '') return value
      const end = quote === '' ? -1 : rest.indexOf(quote)
      const url = end === -1 ? rest : rest.slice(0, end)
      return before + quote + location(url, request) + rest.slice(url.length)
    },
    link: (value, request) =>
      value.replace(/<([^<>]*)>/g, (_match, url: string) => `<${location(url, request)}>`),
    cookie(value, request) {
      return value
        .split(';')
        .flatMap((part, i) => {
          const equals = part.indexOf('=')
          if (i === 0 || equals === -1) return [part]
          const attribute = part.slice(0, equals).trim().toLowerCase()
          const attributeValue = part.slice(equals + 1).trim()
          if (attribute === 'domain' && own.hostnames.has(attributeValue.replace(/^\./, '').toLowerCase()))
            return []
          if (attribute !== 'path' || !attributeValue.startsWith('/')) return [part]
          return [` Path=${cookiePath(attributeValue, stripped(pathOf(request)), toClientPath)}`]
        })
        .join(';')
    }
  }
}

/** Returns the origins and host names that are the target's own: those of its URL, and those of the option "host". */
function ownNames({ host, origin }: ResponseSource): {
  readonly origins: ReadonlySet<string>
  readonly hostnames: ReadonlySet<string>
} {
  const url = URL.parse(origin)
  const named = URL.parse(`${url?.protocol}//${host}`)
  if (url === null || named === null) return { origins: new Set([origin]), hostnames: new Set() }
  // A service may add the port that it listens on to the name that it was asked by.
  const withPort =
    named.port === '' ? `${named.origin}${url.port === '' ? '' : `:${url.port}`}` : named.origin
  return {
    origins: new Set([origin, named.origin, withPort]),
    hostnames: new Set([url.hostname, named.hostname])
  }
}

// A number of seconds, a delimiter, and a URL with or without "url=" and quotes (WHATWG HTML, "shared declarative refresh steps").
const REFRESH = /^([\s\d.]*[;,\s]\s*(?:url\s*=\s*)?)(["']?)(.*)$/i

function cookiePath(
  path: string,
  prefix: string,
  toClientPath: (path: string, prefix: string) => string | undefined
): string {
  if (path === '/') return prefix === '' ? '/' : prefix
  return toClientPath(path, prefix) ?? path
}

/** Returns whether a path, perhaps with a query, is a folder or in it; browsers read a backslash as a slash. */
const isWithin = (path: string, folder: string): boolean =>
  path.startsWith(folder) &&
  (path.length === folder.length || '/?#\\'.includes(path[folder.length] as string))

// Two slashes or backslashes at the start name another host; browsers ignore tabs between them.
const oneSlash = (path: string): string => path.replace(/^[/\\][/\\\t]+/, '/')

/** Reads a Location as a path of the upstream, as browsers do (WHATWG URL); undefined if it names another origin. */
function upstreamPath(value: string, origins: ReadonlySet<string>): string | undefined {
  if (/^\/(?![/\\])/.test(value)) return value
  // After a scheme, browsers accept any number of slashes.
  const absolute = /^(?:(https?:)[/\\]*|[/\\]{2})([^/\\?#]*)(.*)$/i.exec(value)
  if (absolute === null) return undefined
  const [first = ''] = origins
  const [, scheme = first.slice(0, first.indexOf(':') + 1), authority = '', rest = ''] = absolute
  try {
    // Only the authority is parsed: the rest must stay unchanged.
    if (!origins.has(new URL(`${scheme}//${authority}`).origin)) return undefined
  } catch {
    return undefined
  }
  return rest.startsWith('/') ? rest : `/${rest}`
}
