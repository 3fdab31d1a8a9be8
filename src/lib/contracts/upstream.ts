import type { Duplex, Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { Deadline } from '../deadline.ts'

/** A service behind the gateway: the one way to send it a request. */
export interface UpstreamService {
  readonly name: string
  /** Whether requests go by HTTP/2 where a target offers it. */
  readonly http2: boolean
  /** Milliseconds; 0 for none. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  /** Compiles how requests of a route are sent; called at boot. */
  policyFor(options: PolicyOptions): AttemptPolicy
  /** Sends a request in as many attempts as the policy allows; whatever happens, the listener learns of it. */
  send(request: OutboundRequest, policy: AttemptPolicy, listener: AnswerListener): PendingRequest
  /** Writes the cookie that keeps a client at a target; undefined where it needs none. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined
}

/** One place an upstream listens at. */
export interface UpstreamTarget {
  /** Its name in logs: host and port, or the path of a socket. */
  readonly name: string
  /** The Host it is addressed by. */
  readonly host: string
  readonly origin: string
  /** What its URL has before every path; empty for none. */
  readonly base: string
  readonly http2: boolean
}

/** A request to send upstream, whichever target gets it. */
export interface OutboundRequest {
  /** The client's request that it serves. */
  readonly source: FastifyRequest
  readonly method: string
  /** The path and the query, behind the path of the target. */
  readonly path: string
  /** Whether it may be executed twice. */
  readonly idempotent: boolean
  readonly body: ReplayableBody | null
  /** The protocol that the connection is asked to switch to. */
  readonly upgrade?: 'websocket' | undefined
  /** The time that all attempts have together. */
  readonly deadline: Deadline | null
  /** Writes the header for a target: names in lower case and values in turn, the Host first. */
  headersFor(target: UpstreamTarget): readonly string[]
}

/** The body of an outbound request, which may be sent again from its beginning while all that came of it is kept. */
export interface ReplayableBody {
  /** Whether nothing else looks at its parts, whose memory may be freed once they are written. */
  readonly isDisposable: boolean
  /** Whether all of it has come. */
  readonly ended: boolean
  /** Whether all that came so far, which may be nothing, can be sent again. */
  readonly isReplayable: boolean
  /** Tells whether all that came so far can be sent again, and is no more than `most` bytes. */
  isReplayableWithin(most: number): boolean
  /** Opens it from its beginning. */
  open(): Readable | Buffer | null
}

/** When to try again. */
export interface RetryPolicy {
  /** The attempts in all, the first included. */
  readonly attempts: number
  /** The share of the requests under way that may be retries. */
  readonly budget: number
  /** Bytes of a body that are kept. */
  readonly maxBody: number
  /** Tells whether "connect", "reset", "timeout" or a status is tried again. */
  isRetryable(reason: string): boolean
  /** Returns how long to wait before an attempt, in milliseconds, after so many before it. */
  backoff(attempts: number): number
}

/** What a route wants of an upstream. */
export interface PolicyOptions {
  /** Milliseconds from the last byte of the request to the header of the answer; 0 for none. By default the upstream's. */
  readonly headersTimeout?: number | undefined
  /** Milliseconds that a body may be idle between two bytes; 0 for none. By default the upstream's. */
  readonly bodyTimeout?: number | undefined
  readonly retry?: RetryPolicy | undefined
  /** Milliseconds after which a second target is asked as well. */
  readonly hedge?: number | undefined
}

/** How requests of a route are sent, compiled at boot. */
export interface AttemptPolicy {
  readonly headersTimeout: number
  readonly retry: RetryPolicy | undefined
  readonly hedge: number | undefined
  /** Ends bodies that are idle; undefined where they may be. */
  readonly idleTimeout: unknown
}

/** What becomes of a body: it goes on to the client, or is read and dropped so that its connection can be used again. */
export type BodyAction = 'forward' | 'drain'

/** What there is of an answer when its header comes: the header alone, a part that more may follow, or all of it. */
export type ResponseExtent = 'headers' | 'partial' | 'complete'

/** Gets the answer to a request, once, whichever attempt brought it. */
export interface AnswerListener {
  /** Called with each target that is asked. */
  onTarget?(target: UpstreamTarget): void
  onInformation?(status: number, fields: readonly string[]): void
  /** Called with the header of the answer; returns what becomes of its body. */
  onHeaders(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction
  /** Called with a whole body that came with its header, a character a byte; it is the end as well. */
  onCompleteBody(body: string): void
  /** Called with a part of the body; returns whether more may come at once. */
  onData(chunk: Buffer): boolean
  onComplete(trailers: readonly [string, string][]): void
  onUpgrade?(target: UpstreamTarget, fields: readonly string[], socket: Duplex): void
  /** Called for each attempt that failed, before it is known whether another one follows. */
  onAttemptFailed?(error: Error): void
  /** Called once where there is no answer, or only a part of it. */
  onError(error: Error): void
  /** Called with an error of the gateway's own code, which ends the request. */
  onInternalError(error: unknown): void
}

/** A request under way. */
export interface PendingRequest {
  /** Gives up; `onError` is called with this error. */
  abort(error: Error): void
  /** Reads on after `onData` returned false. */
  resume(): void
  /** Begins to watch that the body is not idle for too long. */
  watchIdle(): void
  /** Counts the request as over; called by its sender once its own side has ended. */
  end(): void
}
