import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { eachRoute, fp, type OptionFault, Type } from '../src/kit/index.ts'
import { escapeHtml } from '../src/lib/html.ts'
import { grpcRefusal, isGrpc } from '../src/lib/http/grpc.ts'
import { joinVary } from '../src/lib/http/headers.ts'
import { isHttp2 } from '../src/lib/http/http2.ts'
import { holdHeadersForTrailersOnly } from '../src/lib/http/http2-head.ts'
import {
  BodyTooLarge,
  DeadlineExceeded,
  HeadersTooLarge,
  Internal,
  Malformed,
  MediaUnknown,
  type Refusal,
  Refused,
  TooSlow
} from '../src/lib/refusals.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { File } from '../src/lib/units.ts'
import { unreadable } from '../src/lib/unreadable.ts'

export const key = 'errors'

const page = File({
  description: 'A file in HTML; {status}, {title}, {detail}, {code} and {requestId} are filled in.'
})

export const options = Type.Object(
  {
    format: Type.Unsafe<'problem+json' | 'text' | 'html'>({
      type: 'string',
      enum: ['problem+json', 'text', 'html'],
      default: 'problem+json',
      description: 'How a refusal is written where the Accept header leaves it open.'
    }),
    pages: Type.Record(Type.String({ pattern: '^[45](\\d\\d|xx)$' }), page, {
      additionalProperties: false,
      default: {},
      description:
        'Pages for refusals that are answered in HTML, by status ("502") or class ("5xx"), each a file with values such as "{status}" and "{requestId}" in it.'
    })
  },
  { additionalProperties: false, description: "The shape of the gateway's own refusals (RFC 9457)." }
)

export const override = overrideOf(options)
export const always = true
export type ErrorsOptions = Static<typeof options>

export function faults({ pages }: ErrorsOptions): OptionFault[] {
  return Object.entries(pages).flatMap(([status, file]) => {
    try {
      readFileSync(file)
      return []
    } catch (error) {
      return [{ path: ['pages', status], message: unreadable(file, error) }]
    }
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The refusal or failure that the answer tells of; null where there was none. */
    refusal: Refusal | null
  }
}

// What Fastify's own errors are called here; any other of theirs keeps its status and says no more than that.
const FASTIFY_ERRORS: Readonly<Record<string, new () => FastifyError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: BodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: MediaUnknown,
  FST_ERR_CTP_EMPTY_JSON_BODY: Malformed,
  FST_ERR_CTP_INVALID_JSON_BODY: Malformed,
  FST_ERR_HANDLER_TIMEOUT: DeadlineExceeded
}

export default fp<ErrorsOptions>(
  async function errors(app, root) {
    const shapes = new WeakMap<object, RefusalFormat>()
    const fallback = compileFormat(root)
    eachRoute(app, key, root, (said, route) => {
      shapes.set(route, said === root ? fallback : compileFormat(said))
    })
    app.decorateRequest('refusal', null)
    app.setErrorHandler(function answerError(error: Refusal, request, reply) {
      const refusal = translate(error)
      request.refusal = refusal
      if ((refusal.statusCode ?? 500) >= 500 && refusal.code === 'SP_ERR_INTERNAL')
        request.log.error({ err: error, requestId: request.id }, 'a request failed')
      const route = request.routeOptions.config.sallyport?.route
      sendRefusal(refusal, request, reply, (route === undefined ? undefined : shapes.get(route)) ?? fallback)
    })
    app.server.removeAllListeners('clientError')
    app.server.on('clientError', function answerParser(error: NodeJS.ErrnoException, socket: Socket) {
      const refusal = parserRefusal(error)
      // In the middle of an answer there is no place for another one, nor before the answer to an earlier request.
      const pending = (
        socket as { _httpMessage?: { headersSent: boolean; req: { complete: boolean } } | null }
      )._httpMessage
      const begun = pending !== null && pending !== undefined && (pending.headersSent || pending.req.complete)
      if (error.code !== 'ECONNRESET' && socket.writable && !begun) {
        app.log.warn(
          { status: refusal.statusCode, code: refusal.code, ip: socket.remoteAddress },
          'a request was refused before it could be read'
        )
        socket.write(rawResponse(refusal))
      }
      socket.destroySoon()
    })
  },
  { name: key, fastify: '5.x' }
)

function translate(error: Refusal): Refusal {
  if (error.code?.startsWith('SP_ERR_') === true) return error
  const known = FASTIFY_ERRORS[error.code ?? '']
  if (known !== undefined) return new known()
  const status = error.statusCode ?? 500
  if (error instanceof SyntaxError && status === 400) return new Malformed()
  if (status < 400 || status >= 500) return new Internal()
  const made: Refusal = new Refused(STATUS_CODES[status] ?? 'The request was refused')
  made.statusCode = status
  return made
}

function sendRefusal(
  refusal: Refusal,
  request: FastifyRequest,
  reply: FastifyReply,
  { format, pages }: RefusalFormat
): void {
  const status = refusal.statusCode ?? 500
  if (isGrpc(request)) {
    sendGrpcStatus(refusal, request, reply)
    return
  }
  if (refusal.instead !== undefined) {
    sendForeignResponse(refusal.instead, status, request, reply)
    return
  }
  const problem = { ...problemOf(refusal, request.id), link: refusal.link }
  reply.code(status).headers({ 'cache-control': 'no-store', ...refusal.headers })
  closeConnectionIfNeeded(refusal, request, reply)
  const wanted = negotiate(request.headers.accept, format)
  if (wanted === 'text')
    reply
      .type('text/plain; charset=utf-8')
      .send(`${status} ${problem.title}\n${problem.detail}\n${problem.code} ${request.id}\n`)
  else if (wanted === 'html')
    reply.type('text/html; charset=utf-8').send((pages.get(status) ?? builtinPage)(problem))
  else
    reply
      .type('application/problem+json')
      .serializer(writeProblem)
      .send({ ...problem, link: undefined, ...refusal.members })
}

// A final newline keeps the prompt of a shell on a line of its own.
const writeProblem = (problem: unknown): string => `${JSON.stringify(problem)}\n`

/** Passes the answer of a service on as one of an upstream: what concerns write themselves, such as CORS, it can't widen. */
function sendForeignResponse(
  { headers, body }: NonNullable<Refusal['instead']>,
  status: number,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  const strips = request.routeOptions.config.sallyport?.route?.head.strips
  for (const [name, value] of Object.entries({ 'cache-control': 'no-store', ...headers })) {
    if (strips?.has(name) === true) continue
    reply.header(name, name === 'vary' ? joinVary(String(reply.getHeader(name) ?? ''), String(value)) : value)
  }
  reply.code(status).send(body)
}

/** Answers a call of gRPC by a status alone, in the head (gRPC over HTTP/2, "Trailers-Only"). */
function sendGrpcStatus(refusal: Refusal, request: FastifyRequest, reply: FastifyReply): void {
  reply
    .code(200)
    .headers({ 'cache-control': 'no-store', ...refusal.headers, ...grpcRefusal(refusal) })
    .type('application/grpc')
  closeConnectionIfNeeded(refusal, request, reply)
  if (isHttp2(request.raw)) holdHeadersForTrailersOnly(reply.raw)
  reply.send(null)
}

// Where what follows on the connection can't be told from a body, or is one that nobody wants, the connection ends with the answer.
function closeConnectionIfNeeded(
  { statusCode: status, code }: Refusal,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  if (isHttp2(request.raw)) return
  if (status === 413 || status === 408 || status === 417 || isFramingUncertain(code))
    reply.header('connection', 'close')
}

// What follows a request without a valid Host may be the rest of its head, and of a body in an unknown coding its end is not certain.
const isFramingUncertain = (code: string | undefined): boolean =>
  code === 'SP_ERR_REQUEST_MALFORMED' || code === 'SP_ERR_PATHS_HOST' || code === 'SP_ERR_REQUEST_CODING'

type PageRenderer = (problem: Problem) => string

/** How the refusals of a route look. */
interface RefusalFormat {
  readonly format: ErrorsOptions['format']
  readonly pages: ReadonlyMap<number, PageRenderer>
}

/** Reads the pages of a route once; one for a status wins over one for its class. */
function compileFormat({ format, pages }: ErrorsOptions): RefusalFormat {
  const made = new Map<number, PageRenderer>()
  for (const [said, file] of Object.entries(pages).sort(
    ([a], [b]) => (a.endsWith('xx') ? -1 : 1) - (b.endsWith('xx') ? -1 : 1)
  )) {
    const page = compilePage(readFileSync(file, 'utf8'))
    const first = Number(said.replace('xx', '00'))
    const last = said.endsWith('xx') ? first + 99 : first
    for (let status = first; status <= last; status++) made.set(status, page)
  }
  return { format, pages: made }
}

const PLACEHOLDER = /\{(status|title|detail|code|requestId)\}/

// Braces of styles and scripts are none of ours: only these five names are filled in.
function compilePage(text: string): PageRenderer {
  const parts = text.split(PLACEHOLDER)
  return (problem) =>
    parts
      .map((part, i) => (i % 2 === 0 ? part : escapeHtml(String(problem[part as keyof Problem] ?? ''))))
      .join('')
}

interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly requestId?: string
  readonly link?: Refusal['link']
}

function problemOf(refusal: Refusal, requestId?: string): Problem {
  const status = refusal.statusCode ?? 500
  const title = STATUS_CODES[status] ?? 'Error'
  return {
    type: 'about:blank',
    title,
    status,
    code: refusal.code,
    detail: refusal.message,
    ...(requestId === undefined ? {} : { requestId })
  }
}

/** Chooses the shape of an answer by the Accept header: JSON of any kind, HTML or plain text, whichever it names with the most weight (RFC 9110 section 12.5.1). */
function negotiate(accept: string | undefined, format: ErrorsOptions['format']): ErrorsOptions['format'] {
  let best = format
  let most = 0
  for (const range of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...params] = range.split(';').map((part) => part.trim())
    const shape = formatOf(type, format)
    const weight = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1)
    if (shape !== undefined && weight > most) [best, most] = [shape, weight]
  }
  return best
}

function formatOf(type: string, format: ErrorsOptions['format']): ErrorsOptions['format'] | undefined {
  if (type === '*/*') return format
  if (type === 'application/*' || type.endsWith('json')) return 'problem+json'
  if (type === 'text/html') return 'html'
  return type === 'text/plain' || type === 'text/*' ? 'text' : undefined
}

const linkHtml = (link: Refusal['link']): string =>
  link === undefined ? '' : `<p><a href="${escapeHtml(link.href)}">${escapeHtml(link.text)}</a></p>`

const builtinPage = ({ status, title, detail, code, requestId, link }: Problem): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${status} ${escapeHtml(title)}</title><h1>${escapeHtml(title)}</h1><p>${escapeHtml(detail)}</p>${linkHtml(link)}<p><small>${code} ${escapeHtml(requestId ?? '')}</small></p></html>\n`

function parserRefusal(error: NodeJS.ErrnoException): Refusal {
  if (error.code?.startsWith('SP_ERR_') === true) return error as Refusal
  if (error.code === 'HPE_HEADER_OVERFLOW') return new HeadersTooLarge()
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new TooSlow()
  return new Malformed()
}

function rawResponse(refusal: Refusal): string {
  const body = writeProblem(problemOf(refusal))
  const status = refusal.statusCode ?? 400
  const more = Object.entries(refusal.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${more.join('')}content-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n${body}`
}
