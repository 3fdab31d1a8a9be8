import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import type { Client } from 'acme-client'
import { Agent, request } from 'undici'
import { wall } from '../../../src/lib/clock.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { timings } from './timings.ts'

/** What an authority refuses with (RFC 8555 section 6.7). */
export class Problem extends Error {
  /** What kind it is, such as "rateLimited"; the status where the authority does not say. */
  readonly kind: string
  /** How long it wants not to be asked, in milliseconds. */
  readonly retryAfter: number

  constructor(kind: string, detail: string, retryAfter = 0) {
    super(detail)
    this.kind = kind
    this.retryAfter = retryAfter
  }
}

/** The kind of what an authority says is wrong, such as "connection" of "urn:ietf:params:acme:error:connection". */
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

/** What acme-client keeps to itself: the one place where it speaks with the authority. */
interface ClientInternals {
  readonly http: {
    maxBadNonceRetries: number
    request(url: string, method: string, asked?: AcmeRequest): Promise<AcmeResponse>
  }
}

// An authority may refuse many nonces in a row; the client's own patience ends after five.
const MAX_BAD_NONCE_RETRIES = 50
const MAX_RESPONSE_BYTES = 1_048_576

/** The connections to an authority. */
export interface Transport {
  /** How long the last answer wanted nobody to ask again, in milliseconds. */
  retryAfter: number
  close(): Promise<void>
}

/** Lets a client speak by connections of ours. Its own can't trust one more authority for one account alone, can't be cut short at the end, wait for minutes by themselves, and forget what an error was. */
export function useOwnTransport(client: Client, ca: string | undefined, ended: AbortSignal): Transport {
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
  const transport: Transport = { retryAfter: 0, close: () => agent.destroy() }
  const { http } = client as unknown as ClientInternals
  http.maxBadNonceRetries = MAX_BAD_NONCE_RETRIES
  http.request = async (url, method, { data } = {}) => {
    const response = await request(url, {
      method: method.toUpperCase() as 'GET',
      headers: { 'content-type': 'application/jose+json', 'user-agent': 'sallyport' },
      body: data === undefined ? null : JSON.stringify(data),
      dispatcher: agent,
      signal: ended
    })
    const text = await response.body.text()
    transport.retryAfter = retryAfterMs(response.headers['retry-after'])
    const answer = { status: response.statusCode, headers: response.headers, data: parseBody(text) }
    throwProblem(answer, transport.retryAfter)
    return answer
  }
  return transport
}

function throwProblem({ status, data }: AcmeResponse, retryAfter: number): void {
  if (status < 400) return
  const { type, detail } = isObject(data) ? data : {}
  const kind = kindOf(type)
  // The client tries that again by itself.
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

/** Reads a Retry-After (RFC 9110 section 10.2.3): seconds, or a date. */
function retryAfterMs(said: string | string[] | undefined): number {
  const text = [said].flat()[0] ?? ''
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wall()
  return Number.isFinite(wait) && wait > 0 ? wait : 0
}
