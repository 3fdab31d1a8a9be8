import type { FastifyRequest } from 'fastify'
import { pathOf } from '../../src/kit/index.ts'
import type { UpstreamTarget } from './contract.ts'
import type { Back } from './head.ts'

/** Makes the way back for what a target says of itself: its own origin becomes the gateway's, and the stripped part of a path is put back. */
export function makeBack(
  target: UpstreamTarget,
  rewrite: string | undefined,
  stripped: (path: string) => string
): Back {
  // What the upstream's paths begin with and the client's do not.
  const inner =
    target.base + (rewrite === undefined || rewrite.includes('{') ? '' : rewrite.replace(/\/$/, ''))
  const [hostname = ''] = target.host.split(':')
  const outward = (path: string, request: FastifyRequest): string | undefined => {
    const prefix = stripped(pathOf(request))
    if (inner === '' && prefix === '') return path
    if (prefix !== '' && (path === prefix || path.startsWith(`${prefix}/`)) && inner !== prefix) return path
    if (inner === '') return prefix + path
    if (path === inner || path.startsWith(`${inner}/`) || path.startsWith(`${inner}?`))
      return prefix + path.slice(inner.length) || '/'
    return undefined
  }
  return {
    location(value, request) {
      const own = ownPath(value, target.origin)
      if (own === undefined) return value
      // A path of its own that no route of ours leads to: at least its address stays behind.
      return oneSlash(outward(own, request) ?? own)
    },
    cookie(value, request) {
      return value
        .split(';')
        .flatMap((part, i) => {
          if (i === 0) return [part]
          const [name = '', said = ''] = part.split('=', 2)
          const attribute = name.trim().toLowerCase()
          if (
            attribute === 'domain' &&
            said.trim().replace(/^\./, '').toLowerCase() === hostname.toLowerCase()
          )
            return []
          if (attribute !== 'path' || !said.trim().startsWith('/')) return [part]
          return [
            ` Path=${cookiePath(said.trim(), outward(said.trim(), request), stripped(pathOf(request)))}`
          ]
        })
        .join(';')
    }
  }
}

function cookiePath(said: string, outward: string | undefined, prefix: string): string {
  if (said === '/') return prefix === '' ? '/' : prefix
  return outward ?? said
}

// Two slashes in front, of either kind, would name another host.
const oneSlash = (path: string): string => path.replace(/^[/\\]{2,}/, '/')

/** Reads a Location as a path of the upstream, as browsers do (WHATWG URL); undefined where it names another origin. */
function ownPath(value: string, origin: string): string | undefined {
  if (/^\/(?![/\\])/.test(value)) return value
  if (!/^(https?:|[/\\]{2})/i.test(value)) return undefined
  try {
    // With a scheme of its own it is absolute, however few slashes follow.
    const url = /^https?:/i.test(value) ? new URL(value) : new URL(value, origin)
    return url.origin === origin ? url.pathname + url.search + url.hash : undefined
  } catch {
    return undefined
  }
}
