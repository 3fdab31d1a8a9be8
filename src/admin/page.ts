import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { preferredOffer } from '../lib/http/accept.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { AdminAccess } from './guard.ts'

// The page and its scripts are served as they are in the package, whether this file is compiled or not.
const own = (name: string): URL => new URL(`dashboard/${name}`, import.meta.resolve('sallyport/package.json'))

/** The files of the page, by their names in URLs below /dashboard/. */
const FILES: Readonly<Record<string, () => URL>> = {
  ...Object.fromEntries(
    [
      'actions.js',
      'app.css',
      'app.js',
      'charts.js',
      'config.js',
      'data.js',
      'explain.js',
      'format.js',
      'html.js',
      'icon.svg',
      'panels.js',
      'routes.js',
      'upstreams.js'
    ].map((name) => [name, () => own(name)])
  ),
  'preact.js': () => new URL(import.meta.resolve('preact')),
  'htm.js': () => new URL(import.meta.resolve('htm')),
  'uplot.js': () => new URL('uPlot.esm.js', import.meta.resolve('uplot')),
  'uplot.css': () => new URL('uPlot.min.css', import.meta.resolve('uplot'))
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml'
}

/** The policy of the page: its own files, and requests to its own origin. */
export const PAGE_POLICY = {
  useDefaults: false,
  directives: {
    'default-src': ["'none'"],
    'script-src': ["'self'"],
    'style-src': ["'self'"],
    'img-src': ["'self'"],
    'connect-src': ["'self'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"]
  }
}

const TEXT = `/metrics
/status
/config
/options
/limits
/reloads
POST /purge
POST /drain
POST /undrain
POST /reload
POST /log-level
`

const PAGE: AdminAccess = { access: 'page' }

interface StaticFile {
  readonly body: Buffer
  readonly etag: string
}

/** Adds the dashboard and its files, without data; for other clients than browsers / is a list of paths. */
export function addPage(app: FastifyInstance): void {
  const files = new Map<string, Promise<StaticFile>>()
  const read = (url: URL): Promise<StaticFile> =>
    getOrCreate(files, url.href, async () => {
      const body = await readFile(url)
      return { body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 20)}"` }
    })
  app.get('/', { config: PAGE }, async ({ headers }, reply) => {
    const type = preferredOffer(headers.accept, [
      { value: 'text', types: ['text/plain'] },
      { value: 'html', types: ['text/html'] }
    ])
    reply.header('vary', 'accept')
    if (type !== 'html') return TEXT
    return reply.type(TYPES['html'] ?? '').send((await read(own('index.html'))).body)
  })
  for (const [name, find] of Object.entries(FILES))
    app.get(`/dashboard/${name}`, { config: PAGE }, async ({ headers }, reply) => {
      const { body, etag } = await read(find())
      // A newer gateway has other files under the same names.
      reply.headers({ etag, 'cache-control': 'no-cache' })
      if (headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.type(TYPES[name.split('.').at(-1) ?? ''] ?? '').send(body)
    })
}
