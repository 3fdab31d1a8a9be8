import type { Duplex, Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { Deadline } from '../deadline.ts'

/** A service behind the gateway. Everything that calls an upstream uses this contract. */
export interface UpstreamService {
  readonly name: string
  /** A hash of its options. */
  readonly optionsHash: string
  /** Whether requests use HTTP/2 where a target offers it. */
  readonly http2: boolean
  /** Milliseconds; 0 for no limit. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  /** Compiles how a route sends its requests; called at boot. */
  policyFor(options: PolicyOptions): AttemptPolicy
  /** Sends a request in as many attempts as the policy allows. The listener always gets a response or an error. */
  send(request: OutboundRequest, policy: AttemptPolicy, listener: AnswerListener): PendingRequest
  /** Returns the Set-Cookie value of a sticky session; undefined if none is needed. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined
}

/** One address that an upstream listens at. */
export interface UpstreamTarget {
  /** Its name in logs: host and port, or the path of a socket. */
  readonly name: string
  /** The Host header of its requests. */
  readonly host: string
  readonly origin: string
  /** The path of its URL, which precedes every request path; empty for none. */
  readonly base: string
  readonly http2: boolean
}

/** A request to send to an upstream, whichever target gets it. */
export interface OutboundRequest {
  /** The client request it serves; null for a request of the gateway itself. */
  readonly source: FastifyRequest | null
  readonly method: string
  /** The path and query, without the path of the target's URL. */
  readonly path: string
  /** Whether it may be executed twice. */
  readonly idempotent: boolean
  readonly body: ReplayableBody | null
  /** The protocol of the Upgrade header. */
  readonly upgrade?: 'websocket' | undefined
  /** The time limit of all attempts together. */
  readonly deadline: Deadline | null
  /** Builds the headers for a target: lower-case names and values in turn, Host first. */
  headersFor(target: UpstreamTarget): readonly string[]
}

/** The body of an outbound request. It can be sent again while everything that has arrived is buffered. */
export interface ReplayableBody {
  /** Whether nothing else uses its chunks, so that their memory may be freed once they are written. */
  readonly isDisposable: boolean
  /** Whether the whole body has arrived. */
  readonly ended: boolean
  /** Whether everything that has arrived, possibly nothing, can be sent again. */
  readonly isReplayable: boolean
  /** Returns whether everything that has arrived can be sent again and is at most `maxBytes` long. */
  isReplayableWithin(maxBytes: number): boolean
  /** Opens the body from its beginning. */
  open(): Readable | Buffer | null
}

/** When to retry. */
export interface RetryPolicy {
  /** The maximum number of attempts, the first included. */
  readonly attempts: number
  /** The share of current requests that may be retries. */
  readonly budget: number
  /** The maximum size of a body that is buffered, in bytes. */
  readonly maxBody: number
  /** Milliseconds for which a request waits for a target to come up; 0 for none. */
  readonly wait: number
  /** Returns whether a request may be retried, by its method. */
  allows(request: Pick<OutboundRequest, 'method' | 'idempotent'>): boolean
  /** Returns whether "connect", "reset", "timeout" or a status is retried. */
  isRetryable(reason: string): boolean
  /** Returns the milliseconds to wait after this many attempts. */
  backoff(attempts: number): number
}

/** The options of a route for its requests to an upstream. */
export interface PolicyOptions {
  /** Milliseconds from the last byte of the request to the response headers; 0 for no limit. By default the upstream's. */
  readonly headersTimeout?: number | undefined
  /** Milliseconds that a body may be idle between two bytes; 0 for no limit. By default the upstream's. */
  readonly bodyTimeout?: number | undefined
  readonly retry?: RetryPolicy | undefined
  /** Milliseconds after which a second target gets the request as well. */
  readonly hedge?: number | undefined
}

/** How a route sends its requests, compiled at boot. */
export interface AttemptPolicy {
  readonly headersTimeout: number
  readonly retry: RetryPolicy | undefined
  readonly hedge: number | undefined
  /** Ends idle response bodies; undefined for no limit. */
  readonly idleTimeout: unknown
}

/** What to do with a response body: forward it to the client, or read and discard it so that the connection can be reused. */
export type BodyAction = 'forward' | 'drain'

/** How much of a response has arrived with its headers: only the headers, possibly a part of the body, or everything. */
export type ResponseExtent = 'headers' | 'partial' | 'complete'

/** Receives the one response to a request, whichever attempt it comes from. */
export interface AnswerListener {
  /** Called with each target that gets the request. */
  onTarget?(target: UpstreamTarget): void
  onInformation?(status: number, fields: readonly string[]): void
  /** Called with the response headers; returns what to do with the body. */
  onHeaders(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction
  /** Called instead of onData and onComplete with a complete latin1 body that came with the headers. */
  onCompleteBody(body: string): void
  /** Called with a part of the body; returns false to pause. */
  onData(chunk: Buffer): boolean
  onComplete(trailers: readonly [string, string][]): void
  onUpgrade?(target: UpstreamTarget, fields: readonly string[], socket: Duplex): void
  /** Called for each attempt that ended without a response, before it is decided whether another one follows. */
  onAttemptFailed?(error: Error): void
  /** Called once if there is no response, or only a part of it. */
  onError(error: Error): void
  /** Called with an error in the gateway's own code, which ends the request. */
  onInternalError(error: unknown): void
}

/** A request in progress. */
export interface PendingRequest {
  /** Aborts the request; `onError` is called with this error. */
  abort(error: Error): void
  /** Continues after `onData` returned false. */
  resume(): void
  /** Starts the idle timeout of the response body. */
  watchIdle(): void
  /** Ends the counting of this request; called when the sender's own side has ended. */
  end(): void
}
