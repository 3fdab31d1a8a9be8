import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  addressOf,
  fp,
  overrideOf,
  pathOf,
  perRoute,
  type RouteInfo,
  Share,
  type Static,
  share,
  Type
} from '../src/kit/index.ts'

export const key = 'accessLog'

export const options = Type.Object(
  {
    headers: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: [],
      description: 'Request headers that the line shows, by their names in lower case.'
    }),
    redact: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: ['authorization', 'cookie', 'proxy-authorization', 'set-cookie', 'x-api-key'],
      description: 'Headers whose values are never written, in lower case.'
    }),
    sample: Share({
      default: '100%',
      description: 'The share of successful answers that get a line; refusals and failures always do.'
    })
  },
  { additionalProperties: false, description: 'Writes one JSON line an answer to stdout.' }
)

export const override = overrideOf(options)
export const always = true
export type AccessLogOptions = Static<typeof options>

export default fp<AccessLogOptions>(
  async function accessLog(app, root) {
    perRoute(app, key, root, ({ headers, redact, sample }, route) => {
      const kept = share(sample)
      const shown = headers.map((name) => [name, redact.includes(name)] as const)
      const write = (request: FastifyRequest, reply: FastifyReply): void => {
        const line = lineOf(request, reply, route)
        const status = line['status'] as number
        if (kept < 1 && status < 400 && Math.random() >= kept) return
        if (shown.length > 0)
          line['headers'] = Object.fromEntries(
            shown.map(([name, hidden]) => [name, hidden ? '[redacted]' : request.headers[name]])
          )
        if (status >= 500) request.log.error(line)
        else if (status >= 400) request.log.warn(line)
        else request.log.info(line)
      }
      return {
        onRequest(request, reply, done) {
          const response: Response = reply.raw
          response[ENTRY] = { request, reply, write }
          // Fastify's onResponse tells of answers that were finished; what a client left, or we cut, has its line, too.
          response.on('close', onClose)
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

const ENTRY = Symbol('access log')

interface Response extends ServerResponse {
  [ENTRY]?:
    | {
        readonly request: FastifyRequest
        readonly reply: FastifyReply
        readonly write: (request: FastifyRequest, reply: FastifyReply) => void
      }
    | undefined
}

function onClose(this: Response): void {
  const entry = this[ENTRY]
  this[ENTRY] = undefined
  entry?.write(entry.request, entry.reply)
}

// What nginx calls an answer that nobody waited for.
const CLIENT_GONE = 499

/** Gathers what the line of an answer tells; the path is without its query. */
function lineOf(
  request: FastifyRequest,
  reply: FastifyReply,
  { name: route, gates }: RouteInfo
): Record<string, unknown> {
  const { forwarding, caller, refusal, reported } = request
  const line: Record<string, unknown> = {
    requestId: request.id,
    method: request.method,
    path: pathOf(request),
    route,
    status: reply.raw.headersSent ? reply.statusCode : CLIENT_GONE,
    durationMs: round(reply.elapsedTime),
    upstream: forwarding?.upstream,
    target: forwarding?.target,
    upstreamMs: forwarding === null || forwarding.ms < 0 ? undefined : round(forwarding.ms),
    bytesIn: forwarding?.bytesIn ?? (Number(request.headers['content-length']) || 0),
    bytesOut: forwarding === null || forwarding.ms < 0 ? ownBytes(request, reply) : forwarding.bytesOut,
    caller: caller?.id,
    ip: addressOf(request)
  }
  if (!reply.raw.writableEnded) line['aborted'] = true
  if (refusal !== null) {
    line['refusedBy'] = wordOf(refusal.code, gates)
    line['code'] = refusal.code
  }
  if (reported !== null) line['wouldRefuse'] = reported.map(({ gate, code }) => `${gate} ${code}`)
  return line
}

// The body of an answer of the gateway's own.
const ownBytes = ({ method }: FastifyRequest, reply: FastifyReply): number =>
  method === 'HEAD' ? 0 : Number(reply.getHeader('content-length')) || 0

const round = (ms: number): number => Math.round(ms * 100) / 100

const words = new Map<string, string | undefined>()

/** Finds the word that a refusal's code begins with: SP_ERR_RATE_LIMIT_EXCEEDED is of rateLimit; undefined where nobody refused, but something failed. */
function wordOf(code: string, gates: readonly string[]): string | undefined {
  if (words.has(code)) return words.get(code)
  const parts = code.replace('SP_ERR_', '').split('_')
  const gate = gates.find((each) => code.startsWith(`SP_ERR_${screaming(each)}_`))
  const word = gate ?? (parts.length > 1 ? parts[0]?.toLowerCase() : undefined)
  words.set(code, word)
  return word
}

const screaming = (word: string): string => word.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
