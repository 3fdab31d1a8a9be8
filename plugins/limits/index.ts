import type { IncomingMessage } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import {
  eachRoute,
  fp,
  type HeadHook,
  type Hooks,
  perOptions,
  type RouteInfo,
  reject
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
import { durationOrNone, rate, rateOrNone, sizeOrNone } from '../../src/lib/units.ts'
import { attachReader, BodyRateMonitor, type BodyReader, type MinRate } from './body-rate.ts'
import { type LimitsOptions, options, override } from './options.ts'

export { comparison } from './compare.ts'
export { describes } from './describe.ts'

export const key = 'limits'

export { type LimitsOptions, options, override }

// A request that another route would have limited differently bypasses no access control.
export const guardsAccess = false
export const stateless = true
export const always = true

/** The limits that a streaming target enforces; one object per route. */
export interface StreamLimits {
  /** Maximum bytes of a body; Infinity for no limit. */
  readonly body: number
  /** Returns the error for a body that exceeded the maximum; undefined in report mode. */
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Registers the consumer of a request body, whose `fail` is called if the body is too slow. */
  readBy(request: FastifyRequest, reader: BodyReader): void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The limits that a streaming target enforces; null without any. */
    limits: StreamLimits | null
    /** The deadline of the response headers, which every wait is bounded by; null without one. */
    deadline: Deadline | null
  }
  interface FastifyInstance {
    /** The limits that apply to the sockets of the process. */
    socketLimits: SocketLimits
  }
}

/** The limits that apply before the route is known. */
export interface SocketLimits {
  /** Maximum bytes of the headers: the largest value of any route. */
  readonly headers: number
  /** Timeout for the request headers, in milliseconds; 0 for none. */
  readonly headerTime: number
  /** Idle timeout between requests, in milliseconds; 0 for none. */
  readonly idle: number
  /** Minimum rate at which a client reads a response, in bytes per second; 0 for none but "idle". */
  readonly responseRate: number
}

const MAX_HEADER_BYTES = 1024 ** 2

// :method, :scheme and :path, which HTTP/1.1 has in its request line.
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
    const monitor = app.resources.lease(
      app,
      `${key} body rate`,
      () => new BodyRateMonitor(),
      (rates) => rates.close()
    )
    const bodyLimits = new Map<LimitsOptions, number>()
    eachRoute(app, key, root, (options, _route, routeOptions) => {
      routeOptions.bodyLimit ??= getOrCreate(bodyLimits, options, () => {
        socketLimits.headers = Math.max(socketLimits.headers, headersFor(options))
        return Math.min(sizeOrNone(options.body), Number.MAX_SAFE_INTEGER)
      })
    })
    const build = (options: LimitsOptions, { streams }: RouteInfo): Hooks => {
      const maxHeaderCount = options.headerCount === false ? Number.POSITIVE_INFINITY : options.headerCount
      const maxUrl = sizeOrNone(options.url)
      const maxHeaders = sizeOrNone(options.headers)
      const maxBody = sizeOrNone(options.body)
      const streamLimits: StreamLimits = {
        body: maxBody,
        tooLarge: (request) => {
          const error = new BodyTooLarge()
          return reject(request, key, options, error) ? error : undefined
        },
        readBy: attachReader
      }
      const minRate = minRateOf(options)
      const time = durationOrNone(options.time)
      const reports = options.mode === 'report'
      return {
        onRequest(request, reply, done) {
          const { raw } = request
          request.limits = streamLimits
          if (time !== undefined) {
            request.deadline = new Deadline(time)
            if (!reports)
              onResponseClosed(
                reply.raw,
                cancelDeadline,
                request.deadline.enforce(rejectLate, reply),
                undefined
              )
          }
          if ((request.originalUrl ?? '').length > maxUrl) return done(new UrlTooLong())
          const http2 = isHttp2(raw)
          if (raw.rawHeaders.length / 2 - (http2 ? HTTP2_PSEUDO_HEADERS : 0) > maxHeaderCount)
            return done(new HeadersTooLarge())
          // Over HTTP/1.1 Node's parser has already rejected what exceeds the limit of every route.
          if ((http2 || maxHeaders < socketLimits.headers) && headerBytes(raw.rawHeaders) > maxHeaders)
            return done(new HeadersTooLarge())
          const length = raw.headers['content-length']
          if (length !== undefined && Number(length) > maxBody) return done(new BodyTooLarge())
          if (hasBody(raw)) {
            if (minRate !== undefined) monitor.watch(request, reply, minRate)
            // A streaming target pauses the deadline itself.
            if (!streams && request.deadline !== null) pauseWhileReading(raw, request.deadline)
          }
          done()
        },
        ...(reports ? { onHead: reportLate(options) } : {})
      }
    }
    perOptions(app, key, root, build, (_said, { streams }) => streams)
  },
  { name: key, fastify: '5.x' }
)

/** Rejects a request whose deadline passed before its response. */
function rejectLate(reply: FastifyReply): void {
  if (!reply.sent && !reply.raw.headersSent) reply.send(new DeadlineExceeded())
}

const cancelDeadline = (deadline: Deadline): void => deadline.cancel()

/** Pauses the deadline while the gateway waits for the client to send its body. */
function pauseWhileReading(raw: IncomingMessage, deadline: Deadline): void {
  const resume = (): void => deadline.resume()
  raw.on('resume', () => {
    if (!raw.complete) deadline.pause()
  })
  raw.on('pause', resume)
  raw.once('end', resume)
}

/** Returns the minimum rate of bodies; undefined without one. */
function minRateOf(options: LimitsOptions): MinRate | undefined {
  if (options.bodyRate === false) return undefined
  return {
    bytesPerSecond: rate(options.bodyRate),
    reject(request) {
      const error = new TooSlow()
      return reject(request, key, options, error) ? error : undefined
    }
  }
}

/** Returns whether the framing announces a body (RFC 9112 section 6). */
const hasBody = (raw: IncomingMessage): boolean =>
  (raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0) &&
  upgradeOf(raw) === undefined

/** Reports a response that comes after the deadline, in report mode. */
function reportLate(options: LimitsOptions): HeadHook {
  return (request) => {
    if (request.deadline !== null && request.deadline.remaining < 0)
      reject(request, key, options, new DeadlineExceeded())
  }
}

function headerBytes(rawHeaders: readonly string[]): number {
  let bytes = 0
  for (const part of rawHeaders) bytes += part.length + 2
  return bytes
}
