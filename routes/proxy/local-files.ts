import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type OptionFault, type TargetRoute, Type } from '../../src/kit/index.ts'
import { isClosed } from '../../src/lib/http/response.ts'
import {
  addSendFile,
  fileNameOf,
  fileSender,
  folderFaults,
  isPage,
  kindOf,
  pageOf
} from '../../src/lib/http/static-files.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, File } from '../../src/lib/units.ts'
import type { Handler } from './handler.ts'
import type { ProxyOptions } from './options.ts'

export const files = Type.Object(
  {
    root: File({ description: 'The folder that is looked in.' }),
    cleanUrls: Type.Boolean({
      default: false,
      description: 'Whether /about gets about.html if there is no file of that name.'
    }),
    maxAge: Duration({
      default: '0s',
      description: 'How long browsers may cache a file; pages (.html) are always revalidated.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Sends a file of a folder if there is one for the path of a GET or HEAD, and forwards everything else.',
    examples: [{ root: 'public', maxAge: '7d' }]
  }
)

/** Returns the errors in the option `files`. */
export const filesFaults = ({ root }: Static<typeof files>): OptionFault[] =>
  folderFaults(root, ['files', 'root'])

/** Adds what `filesFirst` needs to an encapsulated plugin, if any of its routes has files. */
export async function prepareFiles(
  app: FastifyInstance,
  routes: readonly TargetRoute<ProxyOptions>[]
): Promise<void> {
  const root = routes.find(({ options }) => options.files !== undefined)?.options.files?.root
  if (root !== undefined) await addSendFile(app, root)
}

/** Compiles a handler that sends a file where the folder of the route has one, and forwards otherwise. */
export function filesFirst(
  { info, options }: Pick<TargetRoute<ProxyOptions>, 'info' | 'options'>,
  forward: Handler
): Handler {
  if (options.files === undefined) return forward
  const { root, maxAge, cleanUrls } = options.files
  const nameOf = fileNameOf(info.paths)
  const send = fileSender(root, { maxAge, dotfiles: 'deny' })
  const fileFor = async (name: string, request: FastifyRequest): Promise<string | undefined> => {
    if ((await kindOf(root, name)) === 'file') return name
    return cleanUrls && (await isPage(root, pathOf(request), name)) ? pageOf(name) : undefined
  }
  const sendOrForward = async (request: FastifyRequest, reply: FastifyReply, name: string): Promise<void> => {
    const found = await fileFor(name, request)
    // The deadline may have passed meanwhile, or the client may be gone.
    if (reply.sent || isClosed(reply.raw)) return
    if (found === undefined) forward(request, reply)
    else send(request, reply, found)
  }
  return function answerFromFiles(request, reply) {
    const path = pathOf(request)
    const name = mayBeFile(request, path) ? nameOf(path, request) : undefined
    if (name === undefined) forward(request, reply)
    else
      sendOrForward(request, reply, name).catch((error: Error) => {
        if (!reply.sent && !isClosed(reply.raw)) reply.send(error)
      })
  }
}

/** Returns whether a request can be answered by a file: it reads, is no WebSocket, and does not name a folder. */
const mayBeFile = ({ method, raw }: FastifyRequest, path: string): boolean =>
  (method === 'GET' || method === 'HEAD') && !path.endsWith('/') && upgradeOf(raw) === undefined
