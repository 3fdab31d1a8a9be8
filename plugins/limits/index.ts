import type { IncomingMessage } from 'node:http'
import type { FastifyError, FastifyRequest } from 'fastify'
import {
  BodyTooLarge,
  DeadlineExceeded,
  DurationOrNone,
  durationOrNone,
  eachRoute,
  elapsed,
  fp,
  gate,
  HeadersTooLarge,
  type HeadHook,
  isHttp2,
  overrideOf,
  perOptions,
  refuses,
  remember,
  SAYS,
  SizeOrNone,
  type Static,
  sizeOrNone,
  TooSlow,
  Type,
  UrlTooLong,
  upgradeOf
} from '../../src/kit/index.ts'
import { Pace, type Reader, type Rule, readBy } from './pace.ts'

export const key = 'limits'

export const options = Type.Object(
  {
    ...gate,
    body: SizeOrNone({
      default: '1mb',
      description: 'The largest body of a request, counted while it streams; beyond it the answer is 413.'
    }),
    headers: SizeOrNone({
      default: '16kb',
      description: 'The largest header section of a request; beyond it the answer is 431.'
    }),
    headerCount: Type.Unsafe<number | false>({
      anyOf: [{ type: 'integer', minimum: 1 }, { const: false }],
      [SAYS]: 'a number from 1, or false for none',
      default: 100,
      description: 'The most headers a request may have; beyond it the answer is 431.'
    }),
    url: SizeOrNone({
      default: '8kb',
      description: 'The longest request target; beyond it the answer is 414.'
    }),
    time: DurationOrNone({
      default: '30s',
      description:
        'The time until the head of the answer is sent, all tries included; after it the answer is 504.'
    }),
    headerTime: DurationOrNone({
      default: '10s',
      description:
        'How long a client may take to send its headers; said at the root only, since no route is known before.'
    }),
    bodyRate: SizeOrNone({
      default: '1kb',
      description:
        'How much of a body a client has to send a second, taken over five seconds, once the gateway reads it; below it the answer is 408.'
    }),
    idle: DurationOrNone({
      default: '60s',
      description:
        'How long a connection may lie idle between requests, or a client take no byte of its answer; said at the root only.'
    })
  },
  { additionalProperties: false, description: 'How much of everything a request may take.' }
)

const { headerTime: _headerTime, idle: _idle, ...onRoutes } = options.properties
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
  /** Milliseconds until the head of the answer is sent; undefined for no limit. */
  readonly time: number | undefined
  /** Tells whether a body that grew too large has to be cut, and by which refusal. */
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Says who reads the body of a request, and is told when it comes too slowly. */
  readBy(request: FastifyRequest, reader: Reader): void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What a target that streams has to keep to; null where nothing is limited. */
    limits: StreamLimits | null
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
}

const LARGEST_HEADERS = 1024 ** 2

// What HTTP/2 sends as headers and HTTP/1 as its request line: the method, the scheme and the path.
const BESIDE_HEADERS = 3

export default fp<LimitsOptions>(
  async function limits(app, root) {
    app.decorateRequest('limits', null)
    const socketLimits = {
      headers: 0,
      headerTime: durationOrNone(root.headerTime) ?? 0,
      idle: durationOrNone(root.idle) ?? 0
    }
    const headersFor = ({ headers }: LimitsOptions): number => Math.min(sizeOrNone(headers), LARGEST_HEADERS)
    socketLimits.headers = headersFor(root)
    app.decorate('socketLimits', socketLimits)
    const pace = app.keep.lease(
      app,
      `${key} pace`,
      () => new Pace(),
      (each) => each.close()
    )
    const read = new Map<LimitsOptions, { body: number; deadline: number | undefined }>()
    eachRoute(app, key, root, (said, { streams }, routeOptions) => {
      const { body, deadline } = remember(read, said, () => {
        socketLimits.headers = Math.max(socketLimits.headers, headersFor(said))
        return { body: Math.min(sizeOrNone(said.body), Number.MAX_SAFE_INTEGER), deadline: enforced(said) }
      })
      routeOptions.bodyLimit ??= body
      // A target that streams keeps the deadline itself, since it has to end at the head of the answer.
      if (!streams && deadline !== undefined) routeOptions.handlerTimeout ??= deadline
    })
    perOptions(app, key, root, (said) => {
      const countMost = said.headerCount === false ? Number.POSITIVE_INFINITY : said.headerCount
      const urlMost = sizeOrNone(said.url)
      const headersMost = sizeOrNone(said.headers)
      const bodyMost = sizeOrNone(said.body)
      const streamed: StreamLimits = {
        body: bodyMost,
        time: enforced(said),
        tooLarge: (request) => {
          const error = new BodyTooLarge()
          return refuses(request, key, said, error) ? error : undefined
        },
        readBy
      }
      const rule = ruleFor(said)
      return {
        onRequest(request, reply, done) {
          const { raw } = request
          request.limits = streamed
          if ((request.originalUrl ?? '').length > urlMost) return done(new UrlTooLong())
          const two = isHttp2(raw)
          if (raw.rawHeaders.length / 2 - (two ? BESIDE_HEADERS : 0) > countMost)
            return done(new HeadersTooLarge())
          // What no route takes Node's parser of HTTP/1 has refused already.
          if ((two || headersMost < socketLimits.headers) && sizeOf(raw.rawHeaders) > headersMost)
            return done(new HeadersTooLarge())
          const length = raw.headers['content-length']
          if (length !== undefined && Number(length) > bodyMost) return done(new BodyTooLarge())
          if (rule !== undefined && hasBody(raw)) pace.watch(request, reply, rule)
          done()
        },
        ...(said.mode === 'report' ? { onHead: tellLate(said) } : {})
      }
    })
  },
  { name: key, fastify: '5.x' }
)

/** The deadline that is kept to, in milliseconds; report mode has none. */
const enforced = ({ mode, time }: LimitsOptions): number | undefined =>
  mode === 'report' ? undefined : durationOrNone(time)

/** Makes what a body is held to; undefined where it may come as slowly as it likes. */
function ruleFor(said: LimitsOptions): Rule | undefined {
  if (said.bodyRate === false) return undefined
  return {
    least: sizeOrNone(said.bodyRate),
    refuse(request) {
      const error = new TooSlow()
      return refuses(request, key, said, error) ? error : undefined
    }
  }
}

/** Tells by its framing whether a request has a body that is to be read as one (RFC 9112 section 6). */
const hasBody = (raw: IncomingMessage): boolean =>
  (raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0) &&
  upgradeOf(raw) === undefined

/** Tells in report mode of an answer that comes after the deadline. */
function tellLate(said: LimitsOptions): HeadHook {
  const deadline = durationOrNone(said.time) ?? Number.POSITIVE_INFINITY
  return (request) => {
    if (elapsed(request) > deadline) refuses(request, key, said, new DeadlineExceeded())
  }
}

function sizeOf(rawHeaders: readonly string[]): number {
  let bytes = 0
  for (const part of rawHeaders) bytes += part.length + 2
  return bytes
}
