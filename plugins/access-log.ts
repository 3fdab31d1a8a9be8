import type { FastifyReply, FastifyRequest } from 'fastify'
import { fp, perRoute, type RouteInfo, Type } from '../src/kit/index.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { requestHeader } from '../src/lib/http/headers.ts'
import { concernOfCode, elapsed, onRequestDone, ownBytesOf, statusOf } from '../src/lib/http/response-end.ts'
import { lineWriter, quote } from '../src/lib/log-lines.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { Share, share } from '../src/lib/units.ts'
import { pathOf } from '../src/lib/values.ts'

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
    const writeLine = lineWriter(app.log)
    perRoute(app, key, root, ({ headers, redact, sample }, route) => {
      const kept = share(sample)
      const shown: LoggedHeaders = headers.map((name) => [name, redact.includes(name)] as const)
      const write = (request: FastifyRequest, reply: FastifyReply): void => {
        const status = statusOf(reply)
        if (kept < 1 && status < 400 && Math.random() >= kept) return
        const level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info'
        if (writeLine === undefined) request.log[level](logEntry(request, reply, route, status, shown))
        else writeLine(level, serialize(logEntry(request, reply, route, status, shown)))
      }
      return {
        onRequest(request, reply, done) {
          onRequestDone(request, reply, write)
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

/** The headers that a line shows, each with whether its value stays hidden. */
type LoggedHeaders = readonly (readonly [name: string, hidden: boolean])[]

/** What the line of an answer tells. */
interface LogEntry {
  readonly requestId: string
  readonly method: string
  readonly path: string
  readonly route: string
  readonly status: number
  readonly durationMs: number
  readonly upstream: string | undefined
  readonly target: string | undefined
  readonly upstreamMs: number | undefined
  readonly bytesIn: number
  readonly bytesOut: number
  readonly caller: string | undefined
  readonly ip: string
  aborted?: true
  refusedBy?: string | undefined
  code?: string
  wouldRefuse?: string[]
  headers?: Record<string, unknown>
}

/** Gathers what the line of an answer tells; the path is without its query. */
function logEntry(
  request: FastifyRequest,
  reply: FastifyReply,
  { name: route, gates }: RouteInfo,
  status: number,
  shown: LoggedHeaders
): LogEntry {
  const { forwarding, caller, refusal, reported } = request
  const answered = forwarding !== null && forwarding.ms >= 0
  const line: LogEntry = {
    requestId: request.id,
    method: request.method,
    path: pathOf(request),
    route,
    status,
    durationMs: round(elapsed(request)),
    upstream: forwarding?.upstream,
    target: forwarding?.target,
    upstreamMs: answered ? round(forwarding.ms) : undefined,
    bytesIn: forwarding?.bytesIn ?? (Number(request.headers['content-length']) || 0),
    bytesOut: answered ? forwarding.bytesOut : ownBytesOf(request, reply),
    caller: caller?.id,
    ip: addressOf(request)
  }
  if (!reply.raw.writableEnded) line.aborted = true
  if (refusal !== null) {
    line.refusedBy = concernOfCode(refusal.code, gates)
    line.code = refusal.code
  }
  if (reported !== null) line.wouldRefuse = reported.map(({ gate, code }) => `${gate} ${code}`)
  if (shown.length > 0)
    line.headers = Object.fromEntries(
      shown.map(([name, hidden]) => [name, hidden ? '[redacted]' : requestHeader(request, name)])
    )
  return line
}

/** Writes a line as JSON, field by field: its keys are known, so nothing has to find out what they are. */
function serialize(line: LogEntry): string {
  const { upstream, caller } = line
  let json = `"requestId":${quote(line.requestId)},"method":"${line.method}","path":${quote(line.path)},"route":${quote(line.route)},"status":${line.status},"durationMs":${line.durationMs}`
  if (upstream !== undefined)
    json += `,"upstream":${quote(upstream)},"target":${quote(line.target ?? '')}${line.upstreamMs === undefined ? '' : `,"upstreamMs":${line.upstreamMs}`}`
  json += `,"bytesIn":${line.bytesIn},"bytesOut":${line.bytesOut}${caller === undefined ? '' : `,"caller":${quote(caller)}`},"ip":"${line.ip}"`
  if (line.aborted) json += ',"aborted":true'
  if (line.code !== undefined)
    json += `${line.refusedBy === undefined ? '' : `,"refusedBy":${quote(line.refusedBy)}`},"code":${quote(line.code)}`
  if (line.wouldRefuse !== undefined) json += `,"wouldRefuse":${JSON.stringify(line.wouldRefuse)}`
  if (line.headers !== undefined) json += `,"headers":${JSON.stringify(line.headers)}`
  return json
}

const round = (ms: number): number => Math.round(ms * 100) / 100
