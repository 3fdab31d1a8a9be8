import type { Readable } from 'node:stream'

/** One request to one target; the names are those of undici's options. */
export interface DispatchOptions {
  readonly method: string
  readonly path: string
  /** Lower-case names and values in turn, in latin1. */
  readonly headers: readonly string[]
  readonly body?: Readable | Buffer | null
  /** Whether the memory of the body's chunks may be freed once they are written. */
  readonly isBodyDisposable?: boolean
  /** Milliseconds from the last byte of the request to the response headers; 0 for no limit. */
  readonly headersTimeout?: number
  /** The client request that it serves; the queue is fair among the addresses of clients. */
  readonly source?: { readonly ip: string } | null
  /** Whether to use a new connection, because an idle one was dead. */
  readonly newConnection?: boolean
  /** The protocol of the Upgrade header. */
  readonly upgrade?: string
}

/** Receives one response. The methods are those of undici's dispatch handler; headers are latin1 text, not buffers. */
export interface DispatchHandler {
  /** Whether the request has been abandoned: a queue may drop it. */
  readonly abandoned?: boolean
  onConnect(abort: (error?: Error) => void): void
  onResponseStarted?(): void
  /** Called for each informational (1xx) response but 100 and 101. */
  onInformation?(status: number, fields: string[]): void
  /** Called with the headers as lower-case names and values in turn; `endStream` says that no body follows. Returns false to pause. */
  onHeaders(
    status: number,
    fields: string[],
    resume: () => void,
    statusText: string,
    endStream?: boolean
  ): boolean
  /** Called instead of onHeaders, onData and onComplete when a short response arrived in one read. */
  onCompleteResponse?(status: number, fields: string[], statusText: string, body: string): void
  onUpgrade?(status: number, fields: string[], socket: unknown): void
  /** Called with a part of the body; returns false to pause. */
  onData(chunk: Buffer): boolean
  onComplete(trailers: string[]): void
  onError(error: Error): void
}

/** Sends requests to one target. */
export interface Sender {
  /** Sends a request as soon as there is a connection for it; the handler always gets a response or an error. */
  send(options: DispatchOptions, handler: DispatchHandler): void
}

/** Returns whether a body is a stream, by the same test as undici. */
export const isStream = (body: unknown): body is Readable =>
  typeof (body as Partial<Readable> | null | undefined)?.pipe === 'function'
