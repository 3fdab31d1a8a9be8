import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyError } from 'fastify'

/** Tells whether a request is a call of gRPC; gRPC-Web is not, which is ordinary HTTP. */
export const isGrpc = ({ headers }: { headers: IncomingHttpHeaders }): boolean =>
  /^application\/grpc(?:$|[+;])/i.test(headers['content-type'] ?? '')

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/** Reads how long a client of gRPC waits, in milliseconds; undefined where it does not say. */
export function grpcTimeoutOf({ headers }: { headers: IncomingHttpHeaders }): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(headers['grpc-timeout'] ?? '')) ?? []
  return amount === undefined ? undefined : Number(amount) * (UNITS[unit] as number)
}

const UNKNOWN = 2

// As gRPC's "HTTP to gRPC Status Code Mapping" says; and a limit is a quota (RESOURCE_EXHAUSTED), since a client may send again at once what is UNAVAILABLE.
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

/** Writes what tells a client of gRPC of a refusal, as headers or as trailers; a message of gRPC is percent-encoded, spaces may stay. */
export const grpcRefusal = (refusal: FastifyError): { 'grpc-status': string; 'grpc-message': string } => ({
  'grpc-status': String(grpcStatusOf(refusal)),
  'grpc-message': encodeURI(`${refusal.message} (${refusal.code})`).replaceAll('%20', ' ')
})
