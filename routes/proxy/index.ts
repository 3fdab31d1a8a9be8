import httpProxy from '@fastify/http-proxy'
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { type About, fp, type OptionFault, type RouteInfo, type TargetRoutes } from '../../src/kit/index.ts'
import { acceptAnyContentType } from '../../src/lib/http/bodies.ts'
import { rewriteFaults } from '../../src/lib/http/rewrite.ts'
import { upstreamFault } from '../../src/lib/http/upstream-names.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { forEachSliced } from '../../src/lib/time-slicing.ts'
import { fallbackFaults } from './fallback.ts'
import { type Handler, makeHandler, rewritePatterns } from './handler.ts'
import { filesFaults, filesFirst, prepareFiles } from './local-files.ts'
import { options, type ProxyOptions } from './options.ts'
import { SharedPlans } from './shared.ts'
import { splitFaults } from './split.ts'
import { implies } from './timeouts.ts'
import { upstreamPath } from './upstream-path.ts'
import { warnings } from './warnings.ts'

export const key = 'proxy'

export { comparison } from './compare.ts'
export { describes } from './describe.ts'
export { implies, options, upstreamPath, warnings }

export const target = true
export const streams = true
export const exposes = true
export const rootDefaults = true
export const groupDefaults = true
export const exclusive = ['upstream', 'split']
export const stateless = ({ split, mirror }: ProxyOptions): boolean =>
  split === undefined && mirror === undefined

export const upstreams = ({ upstream, split, mirror }: ProxyOptions): string[] =>
  [upstream, mirror?.upstream, ...(split ?? []).map((part) => part.upstream)].filter(
    (name) => name !== undefined
  )

export function faults(
  { upstream, split, sticky, mirror, rewrite, fallback, files }: ProxyOptions,
  { upstreams, paths, inherited }: About
): OptionFault[] {
  const found: OptionFault[] = []
  const references = [
    { name: upstream, path: ['upstream'] },
    { name: mirror?.upstream, path: ['mirror', 'upstream'] },
    ...(split ?? []).map((part, i) => ({ name: part.upstream, path: ['split', i, 'upstream'] }))
  ]
  for (const { name, path } of references) {
    const message = name === undefined ? undefined : upstreamFault(name, upstreams)
    if (message !== undefined) found.push({ path, message })
  }
  if ((upstream === undefined) === (split === undefined))
    found.push({
      path: split === undefined ? [] : ['split'],
      message: 'expected either "upstream" or "split"'
    })
  if (split !== undefined) found.push(...splitFaults(split))
  else if (sticky !== undefined)
    found.push({ path: ['sticky'], message: 'expected "split" beside it: "sticky" keeps clients at a part' })
  if (fallback !== undefined) found.push(...fallbackFaults(fallback))
  if (files !== undefined) found.push(...filesFaults(files))
  return rewrite === undefined
    ? found
    : [...found, ...rewriteFaults(rewrite, rewritePatterns(paths, inherited), ['rewrite'])]
}

// The last hook before Fastify parses the body. Fastify runs no parser for a GET or for a body without a type (HTTP/2), and
// would lose the stream that an extension has replaced it with.
function keepPayload(
  request: FastifyRequest,
  _reply: FastifyReply,
  payload: RequestPayload,
  done: (error: null, payload: RequestPayload) => void
): void {
  acceptAnyContentType(request)
  if (payload !== request.raw) request.body = payload
  done(null, payload)
}

export type { ProxyOptions }

interface MountGroup {
  readonly method: string[]
  readonly urls: string[]
}

export default fp<TargetRoutes<ProxyOptions>>(
  async function proxy(app, { routes }) {
    const targetRoutes = new Map(routes.map((route) => [route.info, route]))
    const handlers = new Map<RouteInfo, Handler>()
    const shared = new SharedPlans(app)
    const groups = new Map<string, MountGroup>()
    for (const { url, method } of routes.flatMap(({ mounts }) => mounts)) {
      const group = groups.get(method.join()) ?? { method: [...method], urls: [] }
      group.urls.push(url)
      groups.set(method.join(), group)
    }
    for (const { method, urls } of groups.values())
      await app.register(async function mounted(own) {
        await prepareFiles(own, routes)
        // @fastify/http-proxy registers the routes and leaves bodies unread; the handler replaces its own.
        own.addHook('onRoute', function useForwardHandler(route) {
          const info = route.config?.sallyport?.route
          const targetRoute = info === undefined ? undefined : targetRoutes.get(info)
          if (targetRoute === undefined) return
          route.handler = getOrCreate(handlers, targetRoute.info, () =>
            filesFirst(targetRoute, makeHandler(app, shared, targetRoute))
          )
          route.preParsing = [...[route.preParsing ?? []].flat(), keepPayload]
        })
        const { route } = own
        const mounts: (() => void)[] = []
        own.route = function mountLater(this: typeof own, options) {
          // The route table serves HEAD with GET; the plugin has no option for that.
          mounts.push(() => route.call(this, { ...options, exposeHeadRoute: false } as never))
          return this as never
        }
        // Fastify's text parser would buffer the body and decode it as UTF-8.
        own.removeAllContentTypeParsers()
        await own.register(httpProxy, {
          upstream: 'http://gateway.invalid',
          routes: urls,
          httpMethods: method,
          globalAgent: true
        } as never)
        // The plugin registers all routes at once, which would block the event loop.
        await forEachSliced(mounts, (mount) => mount())
      })
  },
  { name: key, fastify: '5.x', dependencies: ['upstreams'] }
)
