import type { FastifyInstance } from 'fastify'
import { request } from 'undici'
import { askUpstream, bufferedBody, type WholeAnswer } from '../../src/lib/ask-upstream.ts'
import type { Simulation } from '../../src/lib/contracts/simulation.ts'
import type { UpstreamService } from '../../src/lib/contracts/upstream.ts'
import { ownHead } from '../../src/lib/http/flat-head.ts'
import { isIdempotent, makeRetry } from '../../src/lib/retry.ts'
import { readLimited } from './jwt/read-limited.ts'

/** A request of the gateway itself to a provider. */
export interface ProviderRequest {
  readonly method: string
  /** The URL as the provider writes it; through an upstream, only its path and query are used, and suffice. */
  readonly url: string
  /** The names are in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | null
}

type Send = (request: ProviderRequest) => Promise<WholeAnswer>

/** The time limit of a request to a provider. */
export const PROVIDER_TIMEOUT_MS = 5000
const MAX_BODY_BYTES = 1024 * 1024

/** The requests of the gateway to a provider. It outlives reloads, the upstream does not: the newest one is used. */
export class BackChannel {
  readonly #senders = new Set<Send>()

  /** Sends requests through this upstream, or directly without one, until the instance closes. */
  use(app: FastifyInstance, send: Send): void {
    this.#senders.add(send)
    const removeSender = async (): Promise<void> => void this.#senders.delete(send)
    app.addHook('onClose', removeSender)
  }

  /** Sends a request; rejects if there is no response, or a longer one than 1 MiB. */
  async send(asked: ProviderRequest): Promise<WholeAnswer> {
    const newest = [...this.#senders].at(-1)
    if (newest === undefined) throw new Error('the gateway has closed')
    return newest(asked)
  }
}

/** Where the requests to a provider go: an upstream by its name, and the issuer that it stands for. */
export interface ProviderPlace {
  readonly upstream: string | undefined
  readonly issuer: string | undefined
}

/** Returns the back channel to a provider, and an id that changes with its upstream. */
export function backChannelTo(
  app: FastifyInstance,
  { upstream, issuer }: ProviderPlace
): { readonly channel: BackChannel; readonly id: string } {
  const service = upstream === undefined ? undefined : app.upstream(upstream)
  const id = service === undefined ? 'direct' : JSON.stringify([upstream, service.optionsHash, issuer])
  const channel = app.resources.lease(app, `auth back channel ${id}`, () => new BackChannel())
  const direct = app.simulation === null ? sendDirectly : simulatedSend(app.simulation)
  channel.use(app, service === undefined ? direct : sendThrough(service, issuer))
  return { channel, id }
}

/** What openid-client and jose give to a `fetch`. */
interface FetchInit {
  readonly method?: string
  readonly headers?: RequestInit['headers']
  readonly body?: unknown
}

/** Sends requests to a provider, as `fetch` does. */
export type ProviderFetch = (url: string, init: FetchInit) => Promise<Response>

/** Returns a `fetch` for the libraries that speak to providers. */
export const fetchOver =
  (channel: BackChannel): ProviderFetch =>
  async (url, { method = 'GET', body, headers }) => {
    const sent = body === undefined || body === null ? null : Buffer.from(String(body))
    const asked = { method, url, headers: Object.fromEntries(new Headers(headers)), body: sent }
    const answer = await channel.send(asked).catch((error: unknown) => {
      // As `fetch` does, so that the caller finds the provider unavailable.
      throw new TypeError('fetch failed', { cause: error })
    })
    const { status, fields } = answer
    // A response has no other ones (RFC 9110 section 15).
    if (status > 599) throw new TypeError('fetch failed', { cause: new Error(`invalid status ${status}`) })
    const found = new Headers()
    for (let i = 0; i < fields.length; i += 2) found.append(fields[i] ?? '', fields[i + 1] ?? '')
    const response = new Response(NO_BODY.has(status) ? null : new Uint8Array(answer.body), {
      status,
      headers: found
    })
    // Only `fetch` itself sets it.
    return Object.defineProperty(response, 'url', { value: url })
  }

const NO_BODY = new Set([204, 205, 304])

/** Makes a function that gets the responses of a simulation. */
const simulatedSend =
  (simulation: Simulation): Send =>
  async ({ method, url, headers, body }) => {
    const { origin, pathname, search } = new URL(url)
    const response = simulation.respond({
      upstream: origin,
      target: origin,
      method,
      path: pathname + search,
      headers: Object.entries(headers).flat(),
      body: body ?? Buffer.alloc(0),
      isForwarded: false,
      headersTimeout: PROVIDER_TIMEOUT_MS
    })
    if (typeof response === 'string') throw new Error(`simulated: ${response}`)
    return { status: response.status, fields: response.headers, body: response.body }
  }

async function sendDirectly({ method, url, headers, body: sent }: ProviderRequest): Promise<WholeAnswer> {
  const response = await request(url, {
    method: method as 'GET',
    headers: { ...headers },
    body: sent,
    headersTimeout: PROVIDER_TIMEOUT_MS,
    bodyTimeout: PROVIDER_TIMEOUT_MS,
    signal: AbortSignal.timeout(PROVIDER_TIMEOUT_MS)
  })
  const body = await readLimited(response.body as AsyncIterable<Buffer>, MAX_BODY_BYTES)
  if (body === undefined) throw new RangeError('The response is too large')
  const fields = Object.entries(response.headers).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((each) => [name, each])
  )
  return { status: response.statusCode, fields, body }
}

// Codes and refresh tokens are valid once, so only requests with idempotent methods are retried.
const RETRY = makeRetry({
  attempts: 3,
  wait: false,
  on: ['connect', 'reset', '502', '503'],
  budget: '20%',
  backoff: '100ms',
  maxBody: false
})

function sendThrough(upstream: UpstreamService, issuer: string | undefined): Send {
  const policy = upstream.policyFor({ retry: RETRY })
  const forwarded = issuer === undefined ? {} : forwardedFor(issuer)
  return ({ method, url, headers, body }) => {
    const { pathname, search } = new URL(url, 'http://localhost')
    const sent = {
      ...headers,
      ...forwarded,
      ...(body === null ? {} : { 'content-length': String(body.length) })
    }
    return askUpstream(
      upstream,
      {
        source: null,
        method,
        path: pathname + search,
        idempotent: isIdempotent(method),
        body: body === null ? null : bufferedBody(body),
        deadline: null,
        headersFor: ({ host }) => ownHead(host, sent)
      },
      policy,
      { maxBody: MAX_BODY_BYTES, timeout: PROVIDER_TIMEOUT_MS }
    )
  }
}

/** Returns the headers by which a provider behind a proxy writes its public URLs, whatever Host it is asked by. */
function forwardedFor(issuer: string): Record<string, string> {
  const url = URL.parse(issuer)
  return url === null ? {} : { 'x-forwarded-proto': url.protocol.slice(0, -1), 'x-forwarded-host': url.host }
}
