import { statSync } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import type {} from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { OptionFault } from '../schema.ts'
import { duration } from '../units.ts'
import { makeRewrite, type Rewrite } from './rewrite.ts'

/** Adds `reply.sendFile`, with ranges and validators, to an encapsulated plugin. */
export async function addSendFile(app: FastifyInstance, root: string): Promise<void> {
  // With its dependencies it takes 50 ms to load.
  const { default: fastifyStatic } = await import('@fastify/static')
  await app.register(fastifyStatic, {
    root,
    serve: false,
    dotfiles: 'deny',
    index: false,
    etag: true,
    lastModified: true
  })
}

/** Sends a file that has been found in its folder. */
export type SendFile = (request: FastifyRequest, reply: FastifyReply, name: string) => unknown

interface SenderOptions {
  readonly maxAge: string
  /** Whether names that begin with a dot are refused. */
  readonly dotfiles: 'allow' | 'deny'
}

/** Compiles how the files of a folder are sent; pages (.html) are always revalidated. */
export function fileSender(root: string, { maxAge, dotfiles }: SenderOptions): SendFile {
  const seconds = Math.floor(duration(maxAge) / 1000)
  return (request, reply, name) => {
    // Stages that read bodies need whole ones.
    if (request.routeOptions.config.sallyport?.route?.head.readsBodies === true)
      delete request.raw.headers.range
    const scope = request.caller === null ? 'public' : 'private'
    const caching = extname(name) === '.html' || seconds === 0 ? 'no-cache' : `${scope}, max-age=${seconds}`
    return reply.header('cache-control', caching).sendFile(name, root, { cacheControl: false, dotfiles })
  }
}

/** Compiles the name of the file that a path asks for: of what "/*" matches, or the whole of an exact path; undefined for a hidden one (".git") or one with an encoded separator. */
export function fileNameOf(
  patterns: readonly string[]
): (path: string, request: FastifyRequest) => string | undefined {
  const part = filePathOf(patterns)
  return (path, request) => decodeName(part(path, request))
}

function filePathOf(patterns: readonly string[]): Rewrite {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('/*')))
  if (exact.size === patterns.length) return (path) => path
  const below = makeRewrite(
    '/',
    patterns.filter((pattern) => !exact.has(pattern))
  )
  return (path, request) => (exact.has(path) ? path : below(path, request))
}

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

/** Returns what a name stands for in a folder. */
export async function kindOf(root: string, name: string): Promise<'file' | 'folder' | 'none'> {
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

/** Returns the name of the page that a path without its extension names: "/about.html" for "/about". */
export const pageOf = (name: string): string => `${name}.html`

/** Returns whether a path names a page of a folder without its extension. */
export const isPage = async (root: string, path: string, name: string): Promise<boolean> =>
  !path.endsWith('/') && (await kindOf(root, pageOf(name))) === 'file'

/** Returns the error of a folder in the config that does not exist, as a list of one fault or none. */
export const folderFaults = (root: string, path: OptionFault['path']): OptionFault[] =>
  isOfKind(root, 'isDirectory')
    ? []
    : [
        {
          path,
          message: `There is no folder "${root}"; folders are relative to the config file that names them`
        }
      ]

/** Returns the error of a file in the config that does not exist, as a list of one fault or none. */
export const fileFaults = (file: string, path: OptionFault['path'], message: string): OptionFault[] =>
  isOfKind(file, 'isFile') ? [] : [{ path, message }]

function isOfKind(path: string, kind: 'isDirectory' | 'isFile'): boolean {
  try {
    return statSync(path)[kind]()
  } catch {
    return false
  }
}
