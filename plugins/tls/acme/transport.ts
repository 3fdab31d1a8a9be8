import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import type { Client } from 'acme-client'
import { Agent, request } from 'undici'
import { wall } from '../../../src/lib/clock.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { timings } from './timings.ts'

/** A problem document of the CA (RFC 8555 section 6.7). */
export class Problem extends Error {
  /** The kind, such as "rateLimited"; the HTTP status if the CA sent none. */
  readonly kind: string
  /** The CA's Retry-After, in milliseconds; 0 for none. */
  readonly retryAfter: number

  constructor(kind: string, detail: string, retryAfter = 0) {
    super(detail)
    this.kind = kind
    this.retryAfter = retryAfter
  }
}

/** Returns the kind of an ACME error type, such as "connection" of "urn:ietf:params:acme:error:connection". */
export const kindOf = (type: unknown): string | undefined =>
  typeof type === 'string' ? type.split(':').at(-1) : undefined

interface AcmeRequest {
  readonly data?: unknown
}

interface AcmeResponse {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly data: unknown
}

/** The internals of acme-client that send its requests. */
interface ClientInternals {
  readonly http: {
    maxBadNonceRetries: number
    getDirectory(): Promise<Record<string, unknown>>
    request(url: string, method: string, asked?: AcmeRequest): Promise<AcmeResponse>
  }
}

// A CA may reject many nonces in a row; acme-client gives up after five.
const MAX_BAD_NONCE_RETRIES = 50
const MAX_RESPONSE_BYTES = 1_048_576

/** The connections to a CA. */
export interface Transport {
  /** The Retry-After of the last response, in milliseconds; 0 for none. */
  retryAfter: number
  /** Returns the directory of the CA. */
  directory(): Promise<Readonly<Record<string, unknown>>>
  /** Sends a request that needs no signature. */
  get(url: string): Promise<{ readonly data: unknown; readonly retryAfter: number }>
  close(): Promise<void>
}

/**
 * Replaces the transport of an acme-client. Its own can't trust an additional CA for one account, can't be aborted,
 * waits for minutes by itself and loses the error of a response.
 */
export function useOwnTransport(client: Client, ca: string | undefined, signal: AbortSignal): Transport {
  const agent = new Agent({
    connect: {
      ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), readFileSync(ca, 'utf8')] }),
      timeout: timings.requestTimeout
    },
    headersTimeout: timings.requestTimeout,
    bodyTimeout: timings.requestTimeout,
    keepAliveTimeout: 1000,
    maxResponseSize: MAX_RESPONSE_BYTES
  })
  const { http } = client as unknown as ClientInternals
  const transport: Transport = {
    retryAfter: 0,
    directory: () => http.getDirectory(),
    async get(url) {
      const { data } = await http.request(url, 'get')
      return { data, retryAfter: transport.retryAfter }
    },
    close: () => agent.destroy()
  }
  http.maxBadNonceRetries = MAX_BAD_NONCE_RETRIES
  http.request = async (url, method, { data } = {}) => {
    const response = await request(url, {
      method: method.toUpperCase() as 'GET',
      headers: { 'content-type': 'application/jose+json', 'user-agent': 'sallyport' },
      body: data === undefined ? null : JSON.stringify(data),
      dispatcher: agent,
      signal
    })
    const text = await response.body.text()
    transport.retryAfter = retryAfterMs(response.headers['retry-after'])
    const result = { status: response.statusCode, headers: response.headers, data: parseBody(text) }
    throwProblem(result, transport.retryAfter)
    return result
  }
  return transport
}

function throwProblem({ status, data }: AcmeResponse, retryAfter: number): void {
  if (status < 400) return
  const { type, detail } = isObject(data) ? data : {}
  const kind = kindOf(type)
  // acme-client retries that itself.
  if (kind === 'badNonce') return
  throw new Problem(
    kind ?? String(status),
    typeof detail === 'string' ? detail : `status ${status}`,
    retryAfter
  )
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Parses a Retry-After (RFC 9110 section 10.2.3), in seconds or as a date, to milliseconds. */
function retryAfterMs(value: string | string[] | undefined): number {
  const text = [value].flat()[0] ?? ''
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wall()
  return Number.isFinite(wait) && wait > 0 ? wait : 0
}
