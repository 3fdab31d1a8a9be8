import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Comparison } from '../src/kit/concern.ts'
import { fp, perRoute, type RouteInfo, Type } from '../src/kit/index.ts'
import type { LegReport } from '../src/lib/caller.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import { requestHeader } from '../src/lib/http/headers.ts'
import { concernOfCode, elapsed, onRequestDone, ownBytesOf, statusOf } from '../src/lib/http/response-end.ts'
import { pathOf } from '../src/lib/http/url-parts.ts'
import { lineWriter, quote } from '../src/lib/log-lines.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { Share, share } from '../src/lib/units.ts'

export const key = 'accessLog'

export const options = Type.Object(
  {
    headers: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: [],
      description: 'Request headers to log, in lower case.',
      examples: [['user-agent', 'referer']]
    }),
    redact: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: ['authorization', 'cookie', 'proxy-authorization', 'set-cookie', 'x-api-key'],
      description: 'Headers whose values are replaced by "[redacted]", in lower case.'
    }),
    sample: Share({
      default: '100%',
      description: 'The share of successful responses that are logged; errors always are.'
    })
  },
  {
    additionalProperties: false,
    description: 'Writes one JSON line per response to stdout.',
    examples: [{ headers: ['user-agent'], sample: '10%' }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const always = true
export type AccessLogOptions = Static<typeof options>

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: {
    headers: { class: 'exposure', message: 'logs other headers of requests' },
    redact: { class: 'exposure', message: 'hides other headers in the log' },
    sample: 'how many requests are logged changes none of them'
  },
  onOff: 'whether requests are logged changes none of them'
}

export default fp<AccessLogOptions>(
  async function accessLog(app, root) {
    const writeLine = lineWriter(app.log)
    perRoute(app, key, root, ({ headers, redact, sample }, route) => {
      const sampleRate = share(sample)
      const loggedHeaders: LoggedHeaders = headers.map((name) => [name, redact.includes(name)] as const)
      const write = (request: FastifyRequest, reply: FastifyReply): void => {
        const status = statusOf(reply)
        if (sampleRate < 1 && status < 400 && Math.random() >= sampleRate) return
        const level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info'
        if (writeLine === undefined)
          request.log[level](logEntry(request, reply, route, status, loggedHeaders))
        else writeLine(level, serialize(logEntry(request, reply, route, status, loggedHeaders)))
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

/** The logged headers, each with whether its value is redacted. */
type LoggedHeaders = readonly (readonly [name: string, redacted: boolean])[]

/** The fields of an access log line. */
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
  upstreamStatus?: number
  aborted?: true
  traceId?: string
  refusedBy?: string | undefined
  code?: string
  wouldRefuse?: string[]
  legs?: readonly LegReport[]
  headers?: Record<string, unknown>
}

/** Collects the fields of a line; the path is without the query. */
function logEntry(
  request: FastifyRequest,
  reply: FastifyReply,
  { name: route, gates }: RouteInfo,
  status: number,
  loggedHeaders: LoggedHeaders
): LogEntry {
  const { forwarding, caller, refusal, reported, traceContext } = request
  const hasUpstreamResponse = forwarding !== null && forwarding.ms >= 0
  const replacedStatus = forwarding?.replacedStatus
  const line: LogEntry = {
    requestId: request.id,
    method: request.method,
    path: pathOf(request),
    route,
    status,
    durationMs: round(elapsed(request)),
    upstream: forwarding?.upstream,
    target: forwarding?.target,
    upstreamMs: hasUpstreamResponse ? round(forwarding.ms) : undefined,
    bytesIn: forwarding?.bytesIn ?? (Number(request.headers['content-length']) || 0),
    bytesOut:
      hasUpstreamResponse && replacedStatus === undefined ? forwarding.bytesOut : ownBytesOf(request, reply),
    caller: caller?.id,
    ip: addressOf(request)
  }
  if (replacedStatus !== undefined) line.upstreamStatus = replacedStatus
  if (traceContext !== null) line.traceId = traceContext.traceId
  if (!reply.raw.writableEnded) line.aborted = true
  if (refusal !== null) {
    line.refusedBy = concernOfCode(refusal.code, gates)
    line.code = refusal.code
  }
  if (reported !== null) line.wouldRefuse = reported.map(({ gate, code }) => `${gate} ${code}`)
  if (request.legs !== null) line.legs = request.legs
  if (loggedHeaders.length > 0)
    line.headers = Object.fromEntries(
      loggedHeaders.map(([name, redacted]) => [name, redacted ? '[redacted]' : requestHeader(request, name)])
    )
  return line
}

/** Serializes the fields by hand, since JSON.stringify of the whole object is slower. */
function serialize(line: LogEntry): string {
  const { upstream, caller } = line
  let json = `"requestId":${quote(line.requestId)},"method":"${line.method}","path":${quote(line.path)},"route":${quote(line.route)},"status":${line.status},"durationMs":${line.durationMs}`
  if (upstream !== undefined)
    json += `,"upstream":${quote(upstream)},"target":${quote(line.target ?? '')}${line.upstreamMs === undefined ? '' : `,"upstreamMs":${line.upstreamMs}`}`
  json += `,"bytesIn":${line.bytesIn},"bytesOut":${line.bytesOut}${caller === undefined ? '' : `,"caller":${quote(caller)}`},"ip":"${line.ip}"`
  if (line.upstreamStatus !== undefined) json += `,"upstreamStatus":${line.upstreamStatus}`
  if (line.traceId !== undefined) json += `,"traceId":"${line.traceId}"`
  if (line.aborted) json += ',"aborted":true'
  if (line.code !== undefined)
    json += `${line.refusedBy === undefined ? '' : `,"refusedBy":${quote(line.refusedBy)}`},"code":${quote(line.code)}`
  if (line.wouldRefuse !== undefined) json += `,"wouldRefuse":${JSON.stringify(line.wouldRefuse)}`
  if (line.legs !== undefined) json += `,"legs":${JSON.stringify(line.legs)}`
  if (line.headers !== undefined) json += `,"headers":${JSON.stringify(line.headers)}`
  return json
}

const round = (ms: number): number => Math.round(ms * 100) / 100
