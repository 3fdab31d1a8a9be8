import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { canonicalPath, type SlashPolicy } from '../../src/lib/http/canonical-path.ts'
import { type Rewrite, restOf, shapeOf } from '../../src/lib/http/rewrite.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'

/** Writes the Destination header of a request for a target. */
export type WriteDestination = (target: UpstreamTarget) => string

/** Reads how the Destination header of a request is rewritten; undefined to pass it unchanged. */
export type ReadDestination = (request: FastifyRequest) => WriteDestination | undefined

// A path that would be rejected in a request is not rewritten here.
const SLASH_POLICY: SlashPolicy = { encodedSlash: 'keep', doubleSlash: 'reject' }

/** Compiles how a route rewrites the Destination of WebDAV's COPY and MOVE (RFC 4918 section 10.3), which has to name the upstream's own host. */
export function makeDestination(
  app: FastifyInstance,
  patterns: readonly string[],
  rewrite: Rewrite | undefined,
  { preserveHost }: { readonly preserveHost: boolean }
): ReadDestination {
  const shapes = patterns.map(shapeOf)
  const depth = shapes[0]?.depth ?? 0
  // "/dav" beside "/dav/*" is the same folder.
  const isFolder = shapes.some(({ wildcard }) => wildcard) && shapes.every((shape) => shape.depth === depth)
  if (!isFolder) return () => undefined
  return (request) => {
    const { destination } = request.headers
    if (typeof destination !== 'string') return undefined
    // The option "headers" has set it.
    if (request.headerChanges?.some(({ name }) => name === 'destination') === true) return undefined
    const [, origin = '', path = '', rest = ''] = PARTS.exec(destination) ?? []
    if (path === '' || (origin !== '' && !isOwnOrigin(origin, app, request))) return undefined
    const parsed = canonicalPath(path, SLASH_POLICY)
    if (parsed.refusal !== undefined) return undefined
    // Source and destination have to be in the same folder of the route.
    const own = pathOf(request)
    const folder = own.slice(0, own.length - restOf(own, depth).length)
    if (parsed.path !== folder && !parsed.path.startsWith(`${folder}/`)) return undefined
    const inner = (rewrite === undefined ? parsed.path : rewrite(parsed.path, request)) + rest
    return ({ origin: scheme, host, base }) => {
      if (origin === '') return base + inner
      if (preserveHost) return origin + base + inner
      return `${scheme.slice(0, scheme.indexOf(':'))}://${host}${base}${inner}`
    }
  }
}

// Optional origin, path, and the rest.
const PARTS = /^(https?:\/\/[^/?#]+)?(\/(?!\/)[^?#]*)(.*)$/i

/** Returns whether an origin has the host of the request or of publicUrl; the scheme may differ if TLS ends at a proxy in front. */
function isOwnOrigin(origin: string, { publicUrl }: FastifyInstance, { raw, host }: FastifyRequest): boolean {
  const url = URL.parse(origin)
  if (url === null) return false
  return (
    [raw.headers.host, host].some(
      (name) => name !== undefined && URL.parse(`${url.protocol}//${name}`)?.host === url.host
    ) || URL.parse(publicUrl ?? '')?.host === url.host
  )
}
