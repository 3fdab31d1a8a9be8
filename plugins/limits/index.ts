import type { IncomingMessage } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import {
  eachRoute,
  fp,
  type HeadHook,
  type Hooks,
  perOptions,
  type RouteInfo,
  reject,
  Type
} from '../../src/kit/index.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import {
  BodyTooLarge,
  DeadlineExceeded,
  HeadersTooLarge,
  TooSlow,
  UrlTooLong
} from '../../src/lib/refusals.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import {
  DurationOrNone,
  durationOrNone,
  EXPECTED,
  RateOrNone,
  rate,
  rateOrNone,
  SizeOrNone,
  sizeOrNone
} from '../../src/lib/units.ts'
import { attachReader, BodyRateMonitor, type BodyReader, type MinRate } from './body-rate.ts'

export const key = 'limits'

export const options = Type.Object(
  {
    ...gate,
    body: SizeOrNone({
      default: '1mb',
      description: 'The largest body of a request, counted while it streams; beyond it the answer is 413.'
    }),
    headers: SizeOrNone({
      positive: true,
      default: '16kb',
      description: 'The largest header section of a request; beyond it the answer is 431.'
    }),
    headerCount: Type.Unsafe<number | false>({
      anyOf: [{ type: 'integer', minimum: 1 }, { const: false }],
      [EXPECTED]: 'a number from 1, or false for none',
      default: 100,
      description: 'The most headers a request may have; beyond it the answer is 431.'
    }),
    url: SizeOrNone({
      positive: true,
      default: '8kb',
      description: 'The longest request target; beyond it the answer is 414.'
    }),
    time: DurationOrNone({
      positive: true,
      default: '30s',
      description:
        'The time until the head of the answer is sent, all tries included; it stands still only while the gateway waits for bytes of the client. After it the answer is 504.'
    }),
    headerTime: DurationOrNone({
      positive: true,
      default: '10s',
      description:
        'How long a client may take to send its headers; said at the root only, since no route is known before.'
    }),
    bodyRate: RateOrNone({
      positive: true,
      default: '1kb/s',
      description:
        'How fast a client has to send a body, averaged over five seconds, once the gateway reads it; below it the answer is 408.'
    }),
    responseRate: RateOrNone({
      positive: true,
      default: '1kb/s',
      description:
        'How fast a client has to take an answer, averaged over "idle" while bytes wait for it; below it the connection ends. Said at the root only.'
    }),
    idle: DurationOrNone({
      positive: true,
      default: '60s',
      description:
        'How long a connection may lie idle between requests, or a client take no byte of its answer; said at the root only.'
    })
  },
  { additionalProperties: false, description: 'How much of everything a request may take.' }
)

const { headerTime: _headerTime, idle: _idle, responseRate: _responseRate, ...onRoutes } = options.properties
// Another route has other limits, and no request comes past a gate by them.
export const guardsAccess = false
export const override = overrideOf(
  Type.Object(onRoutes, {
    additionalProperties: false,
    description: 'How much of everything a request may take.'
  })
)
export const always = true
export type LimitsOptions = Static<typeof options>

/** What a target that streams has to keep to; one object for all requests of a route. */
export interface StreamLimits {
  /** Bytes of a body; Infinity for no limit. */
  readonly body: number
  /** Tells whether a body that grew too large has to be cut, and by which refusal. */
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Says who reads the body of a request, and is told when it comes too slowly. */
  readBy(request: FastifyRequest, reader: BodyReader): void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What a target that streams has to keep to; null where nothing is limited. */
    limits: StreamLimits | null
    /** The time until the head of the answer: all that wait ask it what remains. Null where there is none. */
    deadline: Deadline | null
  }
  interface FastifyInstance {
    /** What the sockets of the process have to keep to. */
    socketLimits: SocketLimits
  }
}

/** The limits that hold before a route is known. */
export interface SocketLimits {
  /** Bytes of a header section: the most that any route takes. */
  readonly headers: number
  /** Milliseconds to send the headers; 0 for no limit. */
  readonly headerTime: number
  /** Milliseconds a connection may lie idle between requests; 0 for no limit. */
  readonly idle: number
  /** Bytes a second that a client has to take of an answer; 0 for no limit but "idle". */
  readonly responseRate: number
}

const MAX_HEADER_BYTES = 1024 ** 2

// What HTTP/2 sends as headers and HTTP/1 as its request line: the method, the scheme and the path.
const HTTP2_PSEUDO_HEADERS = 3

export default fp<LimitsOptions>(
  async function limits(app, root) {
    app.decorateRequest('limits', null)
    app.decorateRequest('deadline', null)
    const socketLimits = {
      headers: 0,
      headerTime: durationOrNone(root.headerTime) ?? 0,
      idle: durationOrNone(root.idle) ?? 0,
      responseRate: rateOrNone(root.responseRate) ?? 0
    }
    const headersFor = ({ headers }: LimitsOptions): number => Math.min(sizeOrNone(headers), MAX_HEADER_BYTES)
    socketLimits.headers = headersFor(root)
    app.decorate('socketLimits', socketLimits)
    const pace = app.resources.lease(
      app,
      `${key} pace`,
      () => new BodyRateMonitor(),
      (each) => each.close()
    )
    const read = new Map<LimitsOptions, number>()
    eachRoute(app, key, root, (said, _route, routeOptions) => {
      routeOptions.bodyLimit ??= getOrCreate(read, said, () => {
        socketLimits.headers = Math.max(socketLimits.headers, headersFor(said))
        return Math.min(sizeOrNone(said.body), Number.MAX_SAFE_INTEGER)
      })
    })
    const build = (said: LimitsOptions, { streams }: RouteInfo): Hooks => {
      const countMost = said.headerCount === false ? Number.POSITIVE_INFINITY : said.headerCount
      const urlMost = sizeOrNone(said.url)
      const headersMost = sizeOrNone(said.headers)
      const bodyMost = sizeOrNone(said.body)
      const streamed: StreamLimits = {
        body: bodyMost,
        tooLarge: (request) => {
          const error = new BodyTooLarge()
          return reject(request, key, said, error) ? error : undefined
        },
        readBy: attachReader
      }
      const rule = minRateOf(said)
      const time = durationOrNone(said.time)
      const reports = said.mode === 'report'
      return {
        onRequest(request, reply, done) {
          const { raw } = request
          request.limits = streamed
          if (time !== undefined) {
            request.deadline = new Deadline(time)
            if (!reports)
              onResponseClosed(reply.raw, endDeadline, request.deadline.keep(rejectLate, reply), undefined)
          }
          if ((request.originalUrl ?? '').length > urlMost) return done(new UrlTooLong())
          const two = isHttp2(raw)
          if (raw.rawHeaders.length / 2 - (two ? HTTP2_PSEUDO_HEADERS : 0) > countMost)
            return done(new HeadersTooLarge())
          // What no route takes Node's parser of HTTP/1 has refused already.
          if ((two || headersMost < socketLimits.headers) && headerBytes(raw.rawHeaders) > headersMost)
            return done(new HeadersTooLarge())
          const length = raw.headers['content-length']
          if (length !== undefined && Number(length) > bodyMost) return done(new BodyTooLarge())
          if (hasBody(raw)) {
            if (rule !== undefined) pace.watch(request, reply, rule)
            // A target that streams says itself when it waits for the client.
            if (!streams && request.deadline !== null) pauseWhileReading(raw, request.deadline)
          }
          done()
        },
        ...(reports ? { onHead: reportLate(said) } : {})
      }
    }
    perOptions(app, key, root, build, (_said, { streams }) => streams)
  },
  { name: key, fastify: '5.x' }
)

/** Refuses a request whose time is over before it has an answer. */
function rejectLate(reply: FastifyReply): void {
  if (!reply.sent && !reply.raw.headersSent) reply.send(new DeadlineExceeded())
}

const endDeadline = (deadline: Deadline): void => deadline.end()

/** Lets the deadline stand still while a reader waits for what comes of a body. */
function pauseWhileReading(raw: IncomingMessage, deadline: Deadline): void {
  const go = (): void => deadline.go()
  raw.on('resume', () => {
    if (!raw.complete) deadline.stand()
  })
  raw.on('pause', go)
  raw.once('end', go)
}

/** Makes what a body is held to; undefined where it may come as slowly as it likes. */
function minRateOf(said: LimitsOptions): MinRate | undefined {
  if (said.bodyRate === false) return undefined
  return {
    bytesPerSecond: rate(said.bodyRate),
    refuse(request) {
      const error = new TooSlow()
      return reject(request, key, said, error) ? error : undefined
    }
  }
}

/** Tells by its framing whether a request has a body that is to be read as one (RFC 9112 section 6). */
const hasBody = (raw: IncomingMessage): boolean =>
  (raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0) &&
  upgradeOf(raw) === undefined

/** Tells in report mode of an answer that comes after the deadline. */
function reportLate(said: LimitsOptions): HeadHook {
  return (request) => {
    if (request.deadline !== null && request.deadline.remaining < 0)
      reject(request, key, said, new DeadlineExceeded())
  }
}

function headerBytes(rawHeaders: readonly string[]): number {
  let bytes = 0
  for (const part of rawHeaders) bytes += part.length + 2
  return bytes
}
