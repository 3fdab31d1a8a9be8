import { stat } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TargetComparison } from '../src/kit/concern.ts'
import {
  type About,
  type Description,
  describeRefusal,
  fp,
  type OptionFault,
  type TargetRoute,
  type TargetRoutes,
  Type
} from '../src/kit/index.ts'
import { ignoreBodies } from '../src/lib/http/bodies.ts'
import {
  addSendFile,
  fileFaults,
  fileNameOf,
  fileSender,
  folderFaults,
  isPage,
  kindOf,
  pageOf
} from '../src/lib/http/static-files.ts'
import { pathOf, queryOf } from '../src/lib/http/url-parts.ts'
import { MethodRefused, type Refusal, RouteUnknown } from '../src/lib/refusals.ts'
import type { Static } from '../src/lib/schema.ts'
import { yieldIfDue } from '../src/lib/time-slicing.ts'
import { Duration, EXPECTED, File } from '../src/lib/units.ts'

export const key = 'files'
export const target = true
export const stateless = true
// Otherwise the deadline of the request would cut long downloads.
export const streams = true
export const exposes = true

export const options = Type.Object(
  {
    root: Type.Optional(File({ description: 'The folder that is served.' })),
    file: Type.Optional(
      File({ description: 'The one file that is served, in place of "root"; its route has an exact path.' })
    ),
    fallback: Type.Optional(
      Type.String({
        pattern: '^/',
        [EXPECTED]: 'a path inside the folder, such as "/index.html"',
        description:
          "The file for pages that don't exist, such as the index.html of a single-page app; a path with a file extension is still a 404.",
        examples: ['/index.html']
      })
    ),
    cleanUrls: Type.Boolean({
      default: false,
      description: 'Whether /about serves about.html if there is no file of that name.'
    }),
    maxAge: Duration({
      default: '0s',
      description: 'How long browsers may cache a file; pages (.html) are always revalidated.'
    })
  },
  {
    additionalProperties: false,
    description: 'Serves the files of a folder, or one file.',
    examples: [{ root: 'dist', fallback: '/index.html' }]
  }
)

export type FilesOptions = Static<typeof options>

export function faults({ root, file, fallback, cleanUrls }: FilesOptions, { paths }: About): OptionFault[] {
  if ((root === undefined) === (file === undefined))
    return [{ path: root === undefined ? [] : ['file'], message: 'expected either "root" or "file"' }]
  if (root !== undefined) {
    const missing = folderFaults(root, ['root'])
    if (missing.length > 0 || fallback === undefined) return missing
    return fileFaults(join(root, fallback), ['fallback'], `There is no file "${fallback}" in ${root}`)
  }
  const wildcard = paths.find((path) => path.endsWith('/*'))
  if (wildcard !== undefined)
    return [
      {
        path: ['file'],
        message: `expected an exact path for one file, got "${wildcard}"; "root" with "fallback" serves a file for all paths`
      }
    ]
  if (cleanUrls)
    return [{ path: ['cleanUrls'], message: 'expected "root" beside it: "file" is the only file' }]
  if (fallback !== undefined)
    return [{ path: ['fallback'], message: 'expected "root" beside it: "file" is the only file' }]
  return fileFaults(
    file as string,
    ['file'],
    `There is no file "${file}"; files are relative to the config file that names them`
  )
}

/** Returns whether the path of a single file has an extension; the same path with a final slash then names nothing. */
export const leavesSlash = ({ file }: FilesOptions, path: string): boolean =>
  file !== undefined && extname(path) !== ''

export const describes = (): Description => ({
  methods: ['GET'],
  responses: {
    '200': { description: 'The file.', content: { '*/*': {} } },
    '206': { description: 'The part of the file that Range asks for.', content: { '*/*': {} } },
    '304': { description: 'The file has not changed.' }
  },
  refusals: [describeRefusal(RouteUnknown)]
})

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  reaches: ({ root, file, fallback = '' }: FilesOptions) => [{ file: root ?? file ?? '', as: fallback }],
  changes: (before: FilesOptions, after: FilesOptions) => [
    ...(before.maxAge === after.maxAge
      ? []
      : [
          {
            class: 'timing',
            path: ['maxAge'],
            message: 'lets browsers keep files for another time'
          } as const
        ]),
    ...(before.cleanUrls === after.cleanUrls
      ? []
      : [{ class: 'moved', path: ['cleanUrls'], message: 'serves pages at other paths' } as const])
  ]
}

export default fp<TargetRoutes<FilesOptions>>(
  async function files(app, { routes }) {
    ignoreBodies(app)
    const [first] = routes
    if (first === undefined) return
    await addSendFile(app, rootOf(first.options))
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

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

const rootOf = ({ root, file = '' }: FilesOptions): string => root ?? dirname(file)

function makeHandler({ info, options }: TargetRoute<FilesOptions>): Handler {
  const serve =
    options.file === undefined
      ? folderHandler(info.paths, options)
      : fileHandler(options.file, options.maxAge)
  return async function serveFile(request, reply) {
    if (request.method === 'GET' || request.method === 'HEAD') return serve(request, reply)
    reply.header('allow', 'GET, HEAD')
    throw new MethodRefused(request.method)
  }
}

function folderHandler(paths: readonly string[], options: FilesOptions): Handler {
  const { fallback, maxAge, cleanUrls } = options
  const root = rootOf(options)
  const nameOf = fileNameOf(paths)
  const send = fileSender(root, { maxAge, dotfiles: 'deny' })
  return async (request, reply) => {
    const path = pathOf(request)
    const name = nameOf(path, request)
    if (name === undefined) throw fileNotFound()
    const found = await kindOf(root, name)
    // A relative link of a page would be resolved against another folder.
    if (found === 'file' && !path.endsWith('/')) return send(request, reply, name)
    // Before the folder: static exports have docs.html beside docs/.
    if (cleanUrls && (await isPage(root, path, name))) return send(request, reply, pageOf(name))
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

function fileHandler(file: string, maxAge: string): Handler {
  // The config names the file, so that it may be hidden or a link to any place.
  const send = fileSender(dirname(file), { maxAge, dotfiles: 'allow' })
  const name = `/${basename(file)}`
  return async (request, reply) => {
    const found = await stat(file).catch(() => undefined)
    if (found?.isFile() !== true) throw fileNotFound()
    return send(request, reply, name)
  }
}

/** Returns the 404 for a missing file; it counts as a response of the target, like an upstream's. */
const fileNotFound = (): Refusal =>
  Object.assign<Refusal, Partial<Refusal>>(new RouteUnknown(), { byTarget: true })
