import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TargetComparison } from '../../src/kit/concern.ts'
import {
  type Description,
  describeRefusal,
  fp,
  type TargetRoute,
  type TargetRoutes
} from '../../src/kit/index.ts'
import { ignoreBodies } from '../../src/lib/http/bodies.ts'
import { canonicalHost } from '../../src/lib/http/canonical-path.ts'
import { matchesEtag } from '../../src/lib/http/etags.ts'
import { makeRewrite } from '../../src/lib/http/rewrite.ts'
import { pathOf, queryOf } from '../../src/lib/http/url-parts.ts'
import { MethodRefused, type Refusal, RouteUnknown } from '../../src/lib/refusals.ts'
import type { ApiDocsOptions } from './options.ts'
import { type Form, type Rendered, renderDocument, UI_OWN_FILES } from './rendered.ts'
import { findUi, INSTALL_NOTE, UI_FILES, UI_POLICY } from './swagger-ui.ts'

export { options } from './options.ts'

export const key = 'apiDocs'
export const target = true
// Otherwise the deadline of the request would cut slow downloads of the script.
export const streams = true
export const exposes = true

export const notes = ({ ui }: ApiDocsOptions): string[] =>
  ui && findUi() === undefined ? [INSTALL_NOTE] : []

export const describes = (): Description => ({
  methods: ['GET'],
  responses: {
    '200': {
      description: 'The OpenAPI document, or a page that shows it.',
      content: {
        'application/json': { type: 'object' },
        'application/yaml': {},
        'text/html': { type: 'string' }
      }
    },
    '304': { description: 'The document has not changed.' }
  },
  refusals: [describeRefusal(RouteUnknown)]
})

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  options: { ui: { class: 'exposure', message: 'has the page of Swagger UI, or no longer' } }
}

export default fp<TargetRoutes<ApiDocsOptions>>(
  async function apiDocs(app, { routes }) {
    ignoreBodies(app)
    const folder = routes.some(({ options }) => options.ui) ? findUi() : undefined
    if (folder !== undefined) {
      const { default: fastifyStatic } = await import('@fastify/static')
      await app.register(fastifyStatic, { root: folder, serve: false, etag: true, lastModified: true })
    }
    for (const route of routes) {
      const handler = makeHandler(route, route.options.ui ? folder : undefined)
      for (const mount of route.mounts)
        app.route({ ...mount, method: [...mount.method], exposeHeadRoute: false, handler })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

const FORM_OF_FILE: ReadonlyMap<string, Form> = new Map([
  ['', 'page'],
  ['openapi.json', 'json'],
  ['openapi.yaml', 'yaml']
])

function makeHandler(
  { info }: TargetRoute<ApiDocsOptions>,
  uiFolder: string | undefined
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  const hasFiles = info.paths.some((path) => path.endsWith('/*'))
  const relativePath = makeRewrite(BASE, info.paths)

  async function sendForm(request: FastifyRequest, reply: FastifyReply, form: Form): Promise<unknown> {
    const host = canonicalHost(request.raw.headers.host ?? '') ?? ''
    const document = await request.server.describe(host)
    return sendRendered(request, reply, await renderDocument(document, form))
  }

  function sendFile(request: FastifyRequest, reply: FastifyReply, name: string): unknown {
    const own = uiFolder === undefined ? undefined : UI_OWN_FILES.get(name)
    if (own !== undefined) return sendRendered(request, reply, own)
    const form = FORM_OF_FILE.get(name)
    if (form !== undefined) return sendForm(request, reply, form)
    if (uiFolder === undefined || !UI_FILES.has(name)) throw fileNotFound()
    // Stages that read bodies need whole ones.
    if (info.head.readsBodies) delete request.raw.headers.range
    reply.headers({ 'cache-control': cacheControl(request), 'content-security-policy': UI_POLICY })
    return reply.sendFile(name, uiFolder, { cacheControl: false })
  }

  return async function serveApiDocs(request, reply) {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply.header('allow', 'GET, HEAD')
      throw new MethodRefused(request.method)
    }
    const path = pathOf(request)
    const relative = relativePath(path, request)
    if (relative.startsWith(`${BASE}/`)) return sendFile(request, reply, relative.slice(BASE.length + 1))
    const extension = /\.(json|ya?ml)\/?$/.exec(path)?.[1]
    if (extension !== undefined) return sendForm(request, reply, extension === 'json' ? 'json' : 'yaml')
    // The links of the page are relative.
    if (hasFiles && !path.endsWith('/'))
      return reply.redirect(`${path.replace(/^\/+/, '/')}/${queryOf(request.raw.url ?? '')}`, 308)
    return sendForm(request, reply, 'pageAlone')
  }
}

// What the pattern of the route matches before "/*", so that it differs from what comes after.
const BASE = '/docs'

function sendRendered(
  request: FastifyRequest,
  reply: FastifyReply,
  { type, body, etag, policy }: Rendered
): unknown {
  reply.headers({ etag, 'cache-control': cacheControl(request) })
  if (policy !== undefined) reply.header('content-security-policy', policy)
  const condition = request.headers['if-none-match']
  if (condition !== undefined && matchesEtag(condition, etag)) return reply.code(304).send()
  return reply.type(type).send(body)
}

const cacheControl = ({ caller }: FastifyRequest): string =>
  caller === null ? 'no-cache' : 'private, no-cache'

/** Returns the 404 for a missing file; it counts as a response of the target, like an upstream's. */
const fileNotFound = (): Refusal =>
  Object.assign<Refusal, Partial<Refusal>>(new RouteUnknown(), { byTarget: true })
