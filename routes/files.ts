import { statSync } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  type Description,
  describeRefusal,
  fp,
  type OptionFault,
  type TargetRoute,
  type TargetRoutes,
  Type
} from '../src/kit/index.ts'
import { ignoreBodies } from '../src/lib/http/bodies.ts'
import { makeRewrite, type Rewrite } from '../src/lib/http/rewrite.ts'
import { MethodRefused, type Refusal, RouteUnknown } from '../src/lib/refusals.ts'
import type { Static } from '../src/lib/schema.ts'
import { yieldIfDue } from '../src/lib/time-slicing.ts'
import { Duration, duration, EXPECTED, File } from '../src/lib/units.ts'
import { pathOf, queryOf } from '../src/lib/values.ts'

export const key = 'files'
export const target = true
// Otherwise the deadline of the request would cut long downloads.
export const streams = true
export const exposes = true

export const options = Type.Object(
  {
    root: File({ description: 'The folder that is served.' }),
    fallback: Type.Optional(
      Type.String({
        pattern: '^/',
        [EXPECTED]: 'a path inside the folder, such as "/index.html"',
        description:
          "The file for pages that don't exist, such as the index.html of a single-page app; a path with a file extension is still a 404.",
        examples: ['/index.html']
      })
    ),
    maxAge: Duration({
      default: '0s',
      description: 'How long browsers may cache a file; pages (.html) are always revalidated.'
    })
  },
  {
    additionalProperties: false,
    description: 'Serves the files of a folder.',
    examples: [{ root: 'dist', fallback: '/index.html' }]
  }
)

export type FilesOptions = Static<typeof options>

export function faults({ root, fallback }: FilesOptions): OptionFault[] {
  if (!isOfKind(root, 'isDirectory'))
    return [
      {
        path: ['root'],
        message: `There is no folder "${root}"; folders are relative to the config file that names them`
      }
    ]
  return fallback === undefined || isOfKind(join(root, fallback), 'isFile')
    ? []
    : [{ path: ['fallback'], message: `There is no file "${fallback}" in ${root}` }]
}

export const describes = (): Description => ({
  methods: ['GET'],
  responses: {
    '200': { description: 'The file.', content: { '*/*': {} } },
    '206': { description: 'The part of the file that Range asks for.', content: { '*/*': {} } },
    '304': { description: 'The file has not changed.' }
  },
  refusals: [describeRefusal(RouteUnknown)]
})

function isOfKind(path: string, kind: 'isDirectory' | 'isFile'): boolean {
  return statSync(path, { throwIfNoEntry: false })?.[kind]() === true
}

export default fp<TargetRoutes<FilesOptions>>(
  async function files(app, { routes }) {
    ignoreBodies(app)
    const [first] = routes
    if (first === undefined) return
    await app.register(fastifyStatic, {
      root: first.options.root,
      serve: false,
      dotfiles: 'deny',
      index: false,
      etag: true,
      lastModified: true
    })
    for (const route of routes) {
      await yieldIfDue()
      for (const mount of route.mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: makeHandler(route)
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

function makeHandler({
  info,
  options: { root, fallback, maxAge }
}: TargetRoute<FilesOptions>): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  const seconds = Math.floor(duration(maxAge) / 1000)
  const filePath = filePathOf(info.paths)
  const send = (request: FastifyRequest, reply: FastifyReply, name: string): unknown => {
    const scope = request.caller === null ? 'public' : 'private'
    const caching = extname(name) === '.html' || seconds === 0 ? 'no-cache' : `${scope}, max-age=${seconds}`
    return reply.header('cache-control', caching).sendFile(name, root, { cacheControl: false })
  }
  return async function serveFile(request, reply) {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply.header('allow', 'GET, HEAD')
      throw new MethodRefused(request.method)
    }
    // Stages that read bodies need whole ones.
    if (info.head.readsBodies) delete request.raw.headers.range
    const path = pathOf(request)
    const name = decodeName(filePath(path, request))
    if (name === undefined) throw fileNotFound()
    const found = await kindOf(root, name)
    if (found === 'file') return send(request, reply, name)
    if (found === 'folder') {
      if (!path.endsWith('/'))
        // A Location that begins with two slashes names another host.
        return reply.redirect(`${path.replace(/^\/+/, '/')}/${queryOf(request.raw.url ?? '')}`, 308)
      const index = `${name === '/' ? '' : name}/index.html`
      if ((await kindOf(root, index)) === 'file') return send(request, reply, index)
    }
    if (fallback !== undefined && extname(path) === '') return send(request, reply, fallback)
    throw fileNotFound()
  }
}

/** Returns the 404 for a missing file; it counts as a response of the target, like an upstream's. */
const fileNotFound = (): Refusal =>
  Object.assign<Refusal, Partial<Refusal>>(new RouteUnknown(), { byTarget: true })

/** Compiles which part of a path names a file: what "/*" matches, or the whole of an exact path. */
function filePathOf(patterns: readonly string[]): Rewrite {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('/*')))
  if (exact.size === patterns.length) return (path) => path
  const below = makeRewrite(
    '/',
    patterns.filter((pattern) => !exact.has(pattern))
  )
  return (path, request) => (exact.has(path) ? path : below(path, request))
}

/** Decodes a path to a file name in the folder; undefined if a segment is hidden (".git") or contains a separator. */
function decodeName(path: string): string | undefined {
  const segments = path
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeURIComponent)
  const isValid = segments.every(
    (segment) =>
      !segment.startsWith('.') && !segment.includes('/') && !segment.includes(sep) && !segment.includes('\0')
  )
  return isValid ? `/${segments.join('/')}` : undefined
}

async function kindOf(root: string, name: string): Promise<'file' | 'folder' | 'none'> {
  try {
    // A symbolic link out of the folder is not followed; the folder itself may be one.
    const [folder, file] = await Promise.all([realpath(root), realpath(join(root, name))])
    if (file !== folder && !file.startsWith(folder.endsWith(sep) ? folder : folder + sep)) return 'none'
    const found = await stat(file)
    return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'none'
  } catch {
    return 'none'
  }
}
