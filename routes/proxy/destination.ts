import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { canonicalPath, type SlashPolicy } from '../../src/lib/http/canonical-path.ts'
import { type Rewrite, restOf, shapeOf } from '../../src/lib/http/rewrite.ts'
import { pathOf } from '../../src/lib/values.ts'

/** Writes the Destination of a request for the target that gets it. */
export type WriteDestination = (target: UpstreamTarget) => string

/** Finds out how the Destination of a request goes on; undefined where it stays as it came. */
export type ReadDestination = (request: FastifyRequest) => WriteDestination | undefined

// What is refused as the path of a request is not translated either.
const POLICY: SlashPolicy = { encodedSlash: 'keep', doubleSlash: 'reject' }

/** Compiles how a route translates the Destination of WebDAV's COPY and MOVE (RFC 4918 section 10.3): a service takes it only where it names its own host. */
export function makeDestination(
  app: FastifyInstance,
  patterns: readonly string[],
  rewrite: Rewrite | undefined,
  { preserveHost }: { readonly preserveHost: boolean }
): ReadDestination {
  const shapes = patterns.map(shapeOf)
  const depth = shapes[0]?.depth ?? 0
  if (!shapes.every((shape) => shape.wildcard && shape.depth === depth)) return () => undefined
  return (request) => {
    const { destination } = request.headers
    if (typeof destination !== 'string') return undefined
    // What the config says of it counts.
    if (request.headerChanges?.some(({ name }) => name === 'destination') === true) return undefined
    const [, origin = '', path = '', rest = ''] = PARTS.exec(destination) ?? []
    if (path === '' || (origin !== '' && !isOwn(origin, app, request))) return undefined
    const read = canonicalPath(path, POLICY)
    if (read.refusal !== undefined) return undefined
    // What the route's own part of the path stands for is the same in both, or it is another place's.
    const own = pathOf(request)
    const folder = own.slice(0, own.length - restOf(own, depth).length)
    if (read.path !== folder && !read.path.startsWith(`${folder}/`)) return undefined
    const inner = (rewrite === undefined ? read.path : rewrite(read.path, request)) + rest
    return ({ origin: scheme, host, base }) => {
      if (origin === '') return base + inner
      if (preserveHost) return origin + base + inner
      return `${scheme.slice(0, scheme.indexOf(':'))}://${host}${base}${inner}`
    }
  }
}

// An origin or none, a path, and what follows it.
const PARTS = /^(https?:\/\/[^/?#]+)?(\/(?!\/)[^?#]*)(.*)$/i

/** Tells whether an origin is the one that the client has asked, whatever its scheme: TLS may end in front of the gateway. */
function isOwn(origin: string, { publicUrl }: FastifyInstance, { raw, host }: FastifyRequest): boolean {
  const asked = URL.parse(origin)
  if (asked === null) return false
  return (
    [raw.headers.host, host].some(
      (name) => name !== undefined && URL.parse(`${asked.protocol}//${name}`)?.host === asked.host
    ) || URL.parse(publicUrl ?? '')?.host === asked.host
  )
}
