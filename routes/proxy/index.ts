import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type About,
  DurationOrNone,
  durationOrNone,
  fp,
  LONGEST_TIMER,
  makeRewrite,
  nearest,
  type OptionFault,
  originMatcher,
  pathOf,
  peerOf,
  queryOf,
  type Rewrite,
  type RouteInfo,
  restOf,
  rewriteFaults,
  SAYS,
  type Static,
  shapeOf,
  type TargetRoute,
  type TargetRoutes,
  Type,
  upgradeOf
} from '../../src/kit/index.ts'
import { makeBack } from './back.ts'
import type { Upstream, UpstreamTarget } from './contract.ts'
import { bodyOf, Exchange } from './exchange.ts'
import { type AnswerHead, type RequestHead, requestHead } from './head.ts'
import type { Joint } from './joint.ts'
import { OriginRefused, unavailable } from './refusals.ts'

export const key = 'proxy'
export const target = true
export const streams = true
export const rootDefaults = true

const timeouts = Type.Object(
  {
    headers: Type.Optional(
      DurationOrNone({
        description: 'How long the head of an answer may take; by default as the upstream says.'
      })
    ),
    body: Type.Optional(
      DurationOrNone({
        description: 'How long a body may stand still between two bytes; by default as the upstream says.'
      })
    )
  },
  { additionalProperties: false, description: 'How long the upstream may take on this route.' }
)

// What holds where the word is only true.
const WEBSOCKET = { idle: '10m', lifetime: '24h' }

const websocket = Type.Object(
  {
    origins: Type.Optional(
      Type.Array(
        Type.String({ pattern: '^https?://[^/]+$', [SAYS]: 'an origin such as "https://app.example.com"' }),
        {
          description: 'The origins whose pages may open one; by default any, as far as csrf lets them.'
        }
      )
    ),
    idle: DurationOrNone({ default: WEBSOCKET.idle, description: 'How long one may be silent.' }),
    lifetime: DurationOrNone({ default: WEBSOCKET.lifetime, description: 'How long one may last.' })
  },
  { additionalProperties: false, description: 'What WebSockets may take.' }
)

export const options = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'Where to: a name from "upstreams", or a URL for a one-off.'
    }),
    rewrite: Type.Optional(
      Type.String({
        pattern: '^/[^?#]*$',
        [SAYS]: 'a path that begins with "/", without a query (the word "query" sets one)',
        description:
          'What replaces the part of the path before "/*" ("/" strips it), or the whole of an exact path; without it the path goes on unchanged.'
      })
    ),
    preserveHost: Type.Boolean({
      default: false,
      description: "Whether the upstream gets the client's Host instead of its own."
    }),
    rewriteBack: Type.Boolean({
      default: true,
      description:
        "Whether Location and Set-Cookie come back as the gateway's where they name the upstream's own origin or stripped path."
    }),
    websocket: Type.Unsafe<boolean | Static<typeof websocket>>({
      anyOf: [{ type: 'boolean' }, websocket],
      default: true,
      description: 'Whether WebSockets pass, through every gate as any request; an object limits them.'
    }),
    timeouts: Type.Optional(timeouts)
  },
  { additionalProperties: false, description: 'Forwards to an upstream.' }
)

export type ProxyOptions = Static<typeof options>

export function faults({ upstream, rewrite }: ProxyOptions, { upstreams, paths }: About): OptionFault[] {
  const found: OptionFault[] = []
  if (
    !upstreams.includes(upstream) &&
    !/^(https?:\/\/[^/?#\s]+(\/[^?#\s]*)?|unix:\/[^?#\s]+)$/.test(upstream)
  ) {
    const near = nearest(upstream, upstreams)
    found.push({
      path: ['upstream'],
      message: `No upstream "${upstream}"; ${near !== undefined ? `did you mean "${near}"?` : upstreams.length === 0 ? 'the config has none, and a URL such as "http://localhost:4001" would do' : `the config has ${upstreams.join(', ')}`}`
    })
  }
  return rewrite === undefined ? found : [...found, ...rewriteFaults(rewrite, paths, ['rewrite'])]
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => void

export default fp<TargetRoutes<ProxyOptions>>(
  async function proxy(app, { routes }) {
    const handlers = new Map<RouteInfo, Handler>()
    for (const route of routes) handlers.set(route.info, makeHandler(app, route))
    const groups = new Map<string, { method: string[]; urls: string[] }>()
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
          if (handler !== undefined) route.handler = handler
        })
        await own.register(httpProxy, {
          upstream: 'http://gateway.invalid',
          routes: urls,
          httpMethods: method,
          globalAgent: true,
          exposeHeadRoutes: false
        } as never)
      })
  },
  { name: key, fastify: '5.x', dependencies: ['upstreams'] }
)

/** Makes the handler of a route; all that depends on options alone is done here, once. */
function makeHandler(app: FastifyInstance, { info, options: said }: TargetRoute<ProxyOptions>): Handler {
  const upstream: Upstream = app.upstream(said.upstream)
  const patterns = info.paths
  const rewrite = said.rewrite === undefined ? undefined : makeRewrite(said.rewrite, patterns)
  const stripped = strippedBy(said.rewrite, patterns)
  const requestId = info.words['requestId'] as { header: string } | false | undefined
  const head: RequestHead = {
    preserveHost: said.preserveHost,
    requestId: typeof requestId === 'object' ? requestId.header : undefined,
    own: app.hasDecorator('identityNames') ? app.identityNames : new Set(),
    cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null
  }
  const { cookie } = head
  const answer: AnswerHead = { plan: info.head, back: undefined, cookie }
  const answers = new Map<UpstreamTarget, AnswerHead>(
    upstream.targets.map((target) => [
      target,
      {
        plan: info.head,
        back: said.rewriteBack ? makeBack(target, said.rewrite, stripped) : undefined,
        cookie
      }
    ])
  )
  const headersTimeout = orElse(said.timeouts?.headers, upstream.timeouts.headers)
  const bodyTimeout = orElse(said.timeouts?.body, upstream.timeouts.body)
  const joint = jointOf(said.websocket)
  if (joint !== undefined) app.takesUpgrades = true
  const mayOpen =
    typeof said.websocket === 'object' && said.websocket.origins !== undefined
      ? originMatcher(said.websocket.origins)
      : () => true
  return function forward(request, reply) {
    const target = upstream.pick()
    if (target === undefined || target.load.requests >= target.most) throw unavailable()
    const path = pathOf(request)
    const prefix = stripped(path)
    const query = queryOf(request.raw.url ?? '')
    const { method } = request
    const upgrades = joint !== undefined && upgradeOf(request.raw) !== undefined
    if (upgrades && request.headers.origin !== undefined && !mayOpen(request.headers.origin))
      throw new OriginRefused()
    const body = upgrades ? null : bodyOf(request)
    const forwarding = {
      upstream: upstream.name,
      target: target.name,
      began: performance.now(),
      ms: -1,
      bytesIn: 0,
      bytesOut: 0
    }
    request.forwarding = forwarding
    const options = {
      path:
        target.base +
        made(path, rewrite, request) +
        (request.changeQuery ? request.changeQuery(query) : query),
      method: method as never,
      headers: requestHead(request, head, target.host, app.trusts(peerOf(request)), prefix),
      body,
      headersTimeout,
      bodyTimeout,
      // undici closes the connection after a HEAD: a body that came with its answer all the same would be the next one's.
      reset: method === 'HEAD',
      ...(upgrades ? { upgrade: 'websocket' } : {})
    }
    new Exchange(
      request,
      reply,
      {
        pool: target.pool,
        load: target.load,
        options,
        answer: answers.get(target) ?? answer,
        joint: upgrades ? joint : undefined,
        again: body === null && IDEMPOTENT.has(method)
      },
      forwarding
    ).start()
  }
}

function jointOf(said: ProxyOptions['websocket']): Joint | undefined {
  if (said === false) return undefined
  const { idle, lifetime } = said === true ? WEBSOCKET : said
  return { idle: durationOrNone(idle), lifetime: longest(durationOrNone(lifetime)) }
}

const longest = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.min(ms, LONGEST_TIMER)

const made = (path: string, rewrite: Rewrite | undefined, request: FastifyRequest): string =>
  rewrite === undefined ? path : rewrite(path, request)

// Methods that may be sent again where the first try was lost with its connection (RFC 9110 section 9.2.2).
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

const orElse = (own: string | false | undefined, upstreams: number): number =>
  own === undefined ? upstreams : (durationOrNone(own) ?? 0)

/** Tells what a rewrite takes off the front of a path: what the upstream does not see, and the client does. */
function strippedBy(rewrite: string | undefined, patterns: readonly string[]): (path: string) => string {
  if (rewrite === undefined || !patterns.every((pattern) => pattern.endsWith('/*'))) return () => ''
  const depths = [...new Set(patterns.map((pattern) => shapeOf(pattern).depth))]
  const [depth] = depths
  if (depths.length !== 1 || depth === undefined || depth === 0) return () => ''
  return (path) => path.slice(0, path.length - restOf(path, depth).length)
}
