import type { FastifyRequest } from 'fastify'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { pathOf } from '../../src/lib/values.ts'
import type { ResponseRewrite } from './response-head.ts'

/** Makes the way back for what a target says of itself: its own origin becomes the gateway's, and the stripped part of a path is put back. */
export function makeResponseRewrite(
  target: UpstreamTarget,
  rewrite: string | undefined,
  stripped: (path: string) => string
): ResponseRewrite {
  // What the upstream's paths begin with and the client's do not.
  const inner =
    target.base + (rewrite === undefined || rewrite.includes('{') ? '' : rewrite.replace(/\/$/, ''))
  const hostname = target.host.replace(/:\d*$/, '').toLowerCase()
  const outward = (path: string, prefix: string): string | undefined => {
    if (inner === '' && prefix === '') return path
    if (prefix !== '' && inner !== prefix && isWithin(path, prefix)) return path
    if (!isWithin(path, inner)) return undefined
    const outer = prefix + path.slice(inner.length)
    return outer.startsWith('/') ? outer : `/${outer}`
  }
  const location = (value: string, request: FastifyRequest): string => {
    const own = ownPath(value, target.origin)
    if (own === undefined) return value
    // A path of its own that no route of ours leads to: at least its address stays behind.
    return oneSlash(outward(own, stripped(pathOf(request))) ?? own)
  }
  return {
    location,
    refresh(value, request) {
      const [, before = '', quote = '', rest = ''] = REFRESH.exec(value) ?? []
      if (rest === '') return value
      const end = quote === '' ? -1 : rest.indexOf(quote)
      const to = end === -1 ? rest : rest.slice(0, end)
      return before + quote + location(to, request) + rest.slice(to.length)
    },
    link: (value, request) =>
      value.replace(/<([^<>]*)>/g, (_whole, to: string) => `<${location(to, request)}>`),
    cookie(value, request) {
      return value
        .split(';')
        .flatMap((part, i) => {
          const equals = part.indexOf('=')
          if (i === 0 || equals === -1) return [part]
          const attribute = part.slice(0, equals).trim().toLowerCase()
          const given = part.slice(equals + 1).trim()
          if (attribute === 'domain' && given.replace(/^\./, '').toLowerCase() === hostname) return []
          if (attribute !== 'path' || !given.startsWith('/')) return [part]
          return [` Path=${cookiePath(given, stripped(pathOf(request)), outward)}`]
        })
        .join(';')
    }
  }
}

// A number of seconds, a delimiter, and a URL with or without "url=" and quotes (WHATWG HTML, "shared declarative refresh steps").
const REFRESH = /^([\s\d.]*[;,\s]\s*(?:url\s*=\s*)?)(["']?)(.*)$/i

function cookiePath(
  path: string,
  prefix: string,
  outward: (path: string, prefix: string) => string | undefined
): string {
  if (path === '/') return prefix === '' ? '/' : prefix
  return outward(path, prefix) ?? path
}

/** Tells whether a path, with what follows it, is a folder or lies in it; browsers read a backslash as a slash. */
const isWithin = (path: string, folder: string): boolean =>
  path.startsWith(folder) &&
  (path.length === folder.length || '/?#\\'.includes(path[folder.length] as string))

// Two slashes in front, of either kind, would name another host; browsers skip tabs between them.
const oneSlash = (path: string): string => path.replace(/^[/\\][/\\\t]+/, '/')

/** Reads a Location as a path of the upstream, as browsers do (WHATWG URL); undefined where it names another origin. */
function ownPath(value: string, origin: string): string | undefined {
  if (/^\/(?![/\\])/.test(value)) return value
  // With a scheme of its own it is absolute, however few slashes follow.
  const absolute = /^(?:(https?:)[/\\]*|[/\\]{2})([^/\\?#]*)(.*)$/i.exec(value)
  if (absolute === null) return undefined
  const [, scheme = origin.slice(0, origin.indexOf(':') + 1), authority = '', rest = ''] = absolute
  try {
    // What follows the authority stays as the bytes that it is.
    if (new URL(`${scheme}//${authority}`).origin !== origin) return undefined
  } catch {
    return undefined
  }
  return rest.startsWith('/') ? rest : `/${rest}`
}
