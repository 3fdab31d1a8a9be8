import type { FastifyReply, FastifyRequest } from 'fastify'
import { grpcRefusal, isGrpc } from '../../src/lib/http/grpc.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { holdHeadersForTrailersOnly } from '../../src/lib/http/http2-head.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { ErrorFormat } from './format.ts'
import { problemOf } from './problem.ts'

/** Sends an error in the format that the client accepts, as a gRPC status, or as the response of another service. */
export function sendRefusal(
  refusal: Refusal,
  request: FastifyRequest,
  reply: FastifyReply,
  format: ErrorFormat
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
  const { link, lines } = refusal
  const traceId = request.traceContext?.traceId
  const problem = {
    ...problemOf(refusal, request.id),
    ...(traceId === undefined ? {} : { traceId }),
    link,
    lines
  }
  reply.code(status).headers({ 'cache-control': 'no-store', ...refusal.headers })
  // Options of the route may let caches store the error nevertheless.
  reply.header('vary', joinVary(String(reply.getHeader('vary') ?? ''), 'Accept'))
  closeConnectionIfNeeded(refusal, request, reply)
  const { type, policy, render } = format(problem, request.headers.accept)
  if (policy !== undefined) reply.header('content-security-policy', policy)
  // A serializer keeps Fastify from adding a charset to JSON.
  reply
    .type(type)
    .serializer(unchanged)
    .send(render({ problem, members: refusal.members, request }))
}

const unchanged = (body: unknown): string => String(body)

/** Sends a response that another service returned; headers that concerns set themselves, such as CORS, are not overwritten. */
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

/** Sends a gRPC status as a Trailers-Only response (gRPC over HTTP/2). */
function sendGrpcStatus(refusal: Refusal, request: FastifyRequest, reply: FastifyReply): void {
  reply
    .code(200)
    .headers({ 'cache-control': 'no-store', ...refusal.headers, ...grpcRefusal(refusal) })
    .type('application/grpc')
  closeConnectionIfNeeded(refusal, request, reply)
  if (isHttp2(request.raw)) holdHeadersForTrailersOnly(reply.raw)
  reply.send(null)
}

// If the rest of a body would be read as the next request, or is unwanted, the connection is closed.
function closeConnectionIfNeeded(
  { statusCode: status, code }: Refusal,
  request: FastifyRequest,
  reply: FastifyReply
): void {
  if (isHttp2(request.raw)) return
  if (status === 413 || status === 408 || status === 417 || isFramingUncertain(code))
    reply.header('connection', 'close')
}

// Without a valid Host the head may continue, and with an unknown coding the end of the body is unknown.
const isFramingUncertain = (code: string | undefined): boolean =>
  code === 'SP_ERR_REQUEST_MALFORMED' || code === 'SP_ERR_PATHS_HOST' || code === 'SP_ERR_REQUEST_CODING'
