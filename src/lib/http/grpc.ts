import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyError } from 'fastify'

/** Returns whether a request is a gRPC call; gRPC-Web is ordinary HTTP. */
export const isGrpc = ({ headers }: { headers: IncomingHttpHeaders }): boolean =>
  /^application\/grpc(?:$|[+;])/i.test(headers['content-type'] ?? '')

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/** Returns the timeout of a gRPC call, in milliseconds; undefined for none. */
export function grpcTimeoutOf({ headers }: { headers: IncomingHttpHeaders }): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'] ?? '')) ?? []
  return amount === undefined ? undefined : Number(amount) * (UNITS[unit] as number)
}

const UNKNOWN = 2

// gRPC's "HTTP to gRPC Status Code Mapping", but limits are RESOURCE_EXHAUSTED: clients retry UNAVAILABLE at once.
const STATUS: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  413: 8,
  429: 8,
  431: 8,
  502: 14,
  503: 14,
  504: 14
}

const grpcStatusOf = ({ code, statusCode = 500 }: FastifyError): number =>
  code === 'SP_ERR_LIMITS_TIME' ? 4 : (STATUS[statusCode] ?? UNKNOWN)

/** Returns the status of a refusal as gRPC headers or trailers; the message is percent-encoded, except for spaces. */
export const grpcRefusal = (refusal: FastifyError): { 'grpc-status': string; 'grpc-message': string } => ({
  'grpc-status': String(grpcStatusOf(refusal)),
  'grpc-message': encodeURI(`${refusal.message} (${refusal.code})`).replaceAll('%20', ' ')
})
