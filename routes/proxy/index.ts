import httpProxy from '@fastify/http-proxy'
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { type About, fp, type OptionFault, type RouteInfo, type TargetRoutes } from '../../src/kit/index.ts'
import { acceptAnyContentType } from '../../src/lib/http/bodies.ts'
import { rewriteFaults } from '../../src/lib/http/rewrite.ts'
import { nearest } from '../../src/lib/schema.ts'
import { forEachSliced } from '../../src/lib/time-slicing.ts'
import { share } from '../../src/lib/units.ts'
import { fallbackFaults } from './fallback.ts'
import { type Handler, makeHandler } from './handler.ts'
import { options, type ProxyOptions } from './options.ts'
import { SharedPlans } from './shared.ts'
import { implies, warnings } from './timeouts.ts'

export const key = 'proxy'

export { implies, options, warnings }

export const target = true
export const streams = true
export const rootDefaults = true

export const upstreams = ({ upstream, split, mirror }: ProxyOptions): string[] =>
  [upstream, mirror?.upstream, ...(split ?? []).map((part) => part.upstream)].filter(
    (name) => name !== undefined
  )

export function faults(
  { upstream, split, mirror, rewrite, fallback }: ProxyOptions,
  { upstreams, paths }: About
): OptionFault[] {
  const found: OptionFault[] = []
  const named = [
    { name: upstream, path: ['upstream'] },
    { name: mirror?.upstream, path: ['mirror', 'upstream'] },
    ...(split ?? []).map((part, i) => ({ name: part.upstream, path: ['split', i, 'upstream'] }))
  ]
  for (const { name, path } of named)
    if (name !== undefined && !upstreams.includes(name) && !URL_FORM.test(name))
      found.push({ path, message: unknown(name, upstreams) })
  if ((upstream === undefined) === (split === undefined))
    found.push({
      path: split === undefined ? [] : ['split'],
      message: 'A proxy needs either "upstream" or "split", which say where to'
    })
  if (split !== undefined) {
    const total = split.reduce((sum, part) => sum + share(part.share), 0)
    if (Math.abs(total - 1) > 1e-6)
      found.push({
        path: ['split'],
        message: `The shares of "split" make ${Number((total * 100).toFixed(4))}%; together they have to make 100%`
      })
  }
  if (fallback !== undefined) found.push(...fallbackFaults(fallback))
  return rewrite === undefined ? found : [...found, ...rewriteFaults(rewrite, paths, ['rewrite'])]
}

// The last hook before Fastify looks at a body. Fastify runs no parser for a body without a type (HTTP/2) or of a GET, and
// would forget the stream that an extension has put in its place.
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

const URL_FORM = /^(https?:\/\/[^/?#\s]+(\/[^?#\s]*)?|unix:\/[^?#\s]+)$/

function unknown(name: string, upstreams: readonly string[]): string {
  const near = nearest(name, upstreams)
  if (near !== undefined) return `No upstream "${name}"; did you mean "${near}"?`
  return upstreams.length === 0
    ? `No upstream "${name}"; the config has none, and a URL such as "http://localhost:4001" would do`
    : `No upstream "${name}"; the config has ${upstreams.join(', ')}`
}

interface Mounted {
  readonly method: string[]
  readonly urls: string[]
}

export default fp<TargetRoutes<ProxyOptions>>(
  async function proxy(app, { routes }) {
    const handlers = new Map<RouteInfo, Handler>()
    const common = new SharedPlans(app)
    await forEachSliced(routes, (route) => void handlers.set(route.info, makeHandler(app, common, route)))
    const groups = new Map<string, Mounted>()
    for (const { url, method } of routes.flatMap(({ mounts }) => mounts)) {
      const group = groups.get(method.join()) ?? { method: [...method], urls: [] }
      group.urls.push(url)
      groups.set(method.join(), group)
    }
    for (const { method, urls } of groups.values())
      await app.register(async function mounted(own) {
        // http-proxy mounts the routes and lets bodies pass unread; the answering, and the paths, are ours.
        own.addHook('onRoute', function answerByForwarder(route) {
          const handler =
            route.config?.sallyport?.route === undefined
              ? undefined
              : handlers.get(route.config.sallyport.route)
          if (handler === undefined) return
          route.handler = handler
          route.preParsing = [...[route.preParsing ?? []].flat(), keepPayload]
        })
        const { route } = own
        const mounts: (() => void)[] = []
        own.route = function mountLater(this: typeof own, options) {
          // It can't be told that HEAD needs no route of its own: the table sends it where GET goes.
          mounts.push(() => route.call(this, { ...options, exposeHeadRoute: false } as never))
          return this as never
        }
        // Fastify's own reader of text would take such a body whole, and as UTF-8.
        own.removeAllContentTypeParsers()
        await own.register(httpProxy, {
          upstream: 'http://gateway.invalid',
          routes: urls,
          httpMethods: method,
          globalAgent: true
        } as never)
        // It mounts all of them at once, which would be one long slice of work.
        await forEachSliced(mounts, (mount) => mount())
      })
  },
  { name: key, fastify: '5.x', dependencies: ['upstreams'] }
)
