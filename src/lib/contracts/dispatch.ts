import type { Readable } from 'node:stream'

/** One request as it goes to a target; undici's options have the same names. */
export interface DispatchOptions {
  readonly method: string
  readonly path: string
  /** Names in lower case and values in turn, a character a byte. */
  readonly headers: readonly string[]
  readonly body?: Readable | Buffer | null
  /** Whether the memory of the body's parts may be freed once they are written. */
  readonly isBodyDisposable?: boolean
  /** Milliseconds from the last byte of the request to the head of the answer; 0 for none. */
  readonly headersTimeout?: number
  /** The request of a client that this one serves; its address is read where requests have to wait. */
  readonly source?: { readonly ip: string }
  /** Whether it wants a new connection, since an idle one was dead. */
  readonly newConnection?: boolean
  /** The protocol that the connection is asked to switch to. */
  readonly upgrade?: string
}

/** Who gets an answer: undici's older form of a handler, but for heads, which are text here, a character a byte. */
export interface DispatchHandler {
  /** Whether nobody waits for it any more. */
  readonly abandoned?: boolean
  onConnect(abort: (error?: Error) => void): void
  onResponseStarted?(): void
  /** Takes a head, as names in lower case and values in turn; `bare` says that nothing follows it. */
  onHeaders(status: number, fields: string[], resume: () => void, statusText: string, bare?: boolean): boolean
  /** Takes a head and all of a short body that came with it, in the place of onHeaders, onData and onComplete. */
  onCompleteResponse?(status: number, fields: string[], statusText: string, body: string): void
  onUpgrade?(status: number, fields: string[], socket: unknown): void
  /** Takes a part of a body; tells whether more may come at once. */
  onData(chunk: Buffer): boolean
  onComplete(trailers: string[]): void
  onError(error: Error): void
}

/** Where requests go to be sent. */
export interface Sender {
  /** Sends a request, once there is a connection for it; whatever happens, the handler is told. */
  send(sending: DispatchOptions, handler: DispatchHandler): void
}

/** Tells whether a body is a stream, as undici does. */
export const isStream = (body: unknown): body is Readable =>
  typeof (body as Partial<Readable> | null | undefined)?.pipe === 'function'
