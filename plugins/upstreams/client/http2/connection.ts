import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { errors } from 'undici'
import { monotonic } from '../../../../src/lib/clock.ts'
import type { ClientStream } from './stream.ts'

/** The pool, as a connection sees it. */
export interface Http2ConnectionOwner {
  /** The upstream's SETTINGS have arrived, so it can take requests. */
  onOpen(connection: Http2Connection): void
  /** The connection closed before that. */
  onConnectError(error: Error): void
  /** A stream has ended, or the upstream has raised its limit. */
  onCapacity(): void
  /** The connection takes no new requests and finishes those it has. */
  onRetired(connection: Http2Connection): void
  onClosed(connection: Http2Connection): void
}

/** The maximum number of concurrent streams; the upstream may allow fewer. */
export const MAX_CONCURRENT_STREAMS = 100

// Stream IDs are never reused and end at 2^31 (RFC 9113 section 5.1.1).
const MAX_STREAMS_EVER = 1_000_000_000

// Not a round number: a Node.js server whose response exactly fills the window resets the stream with NO_ERROR before END_STREAM, which cuts the response.
const STREAM_WINDOW_BYTES = 262_147
// For the same reason, all responses together never exhaust the connection's window. Each has its own limit.
const CONNECTION_WINDOW_BYTES = MAX_CONCURRENT_STREAMS * STREAM_WINDOW_BYTES

// How long to wait for a server that starts with MAX_CONCURRENT_STREAMS 0.
const ZERO_LIMIT_WAIT_MS = 1000

// gRPC servers treat more than two pings in five minutes as abuse.
const MIN_PING_INTERVAL_MS = 300_000

/** One HTTP/2 connection. A GOAWAY retires it: streams the upstream has accepted go on, others fail with RequestNotProcessed (RFC 9113 section 6.8). */
export class Http2Connection {
  readonly scheme: string
  /** The maximum size of response headers, in bytes. Checked here as well, because Node.js enforces it only after the SETTINGS ACK. */
  readonly maxHeaders: number
  /** The last stream that the upstream has processed, or may yet process (GOAWAY). */
  lastStreamId = Number.POSITIVE_INFINITY
  /** The number of responses that have started. */
  responses = 0
  /** Whether data has arrived since a request was last given up. */
  hasReceived = true
  readonly #socket: Socket
  readonly #session: ClientHttp2Session
  readonly #replyTimeout: number
  readonly #owner: Http2ConnectionOwner
  readonly #idleTimer: NodeJS.Timeout
  #state: 'opening' | 'open' | 'retired' = 'opening'
  #streams = 0
  #streamsEver = 0
  #maxStreams = MAX_CONCURRENT_STREAMS
  #pingedAt = 0
  #destroyTimer: NodeJS.Timeout | undefined
  #failure: Error | undefined

  constructor(
    socket: Socket,
    origin: URL,
    { replyTimeout, keepAlive, maxHeaders }: { replyTimeout: number; keepAlive: number; maxHeaders: number },
    owner: Http2ConnectionOwner
  ) {
    this.scheme = origin.protocol.slice(0, -1)
    this.maxHeaders = maxHeaders
    this.#socket = socket
    this.#replyTimeout = replyTimeout
    this.#owner = owner
    this.#session = http2.connect(origin, {
      createConnection: () => socket,
      // Each field counts 32 bytes more (RFC 9113 section 6.5.2), so the size bounds the number of fields too.
      maxHeaderListPairs: Math.ceil(maxHeaders / 32),
      // A client may repeat any field. If Node.js rejected it here, the error would count against the target.
      strictSingleValueFields: false,
      // The windows and the number of streams bound the memory already.
      maxSessionMemory: 1000,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: maxHeaders }
    } as never)
    this.#idleTimer = setTimeout(() => {
      // A connection that is still opening has its own timeout.
      if (this.#streams === 0 && this.#state === 'open') this.retire()
    }, keepAlive)
    this.#idleTimer.unref()
    const unsettled = setTimeout(() => this.end(new errors.ConnectTimeoutError()), replyTimeout)
    this.#session.on('connect', () => this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
    // Only its SETTINGS prove that the upstream speaks HTTP/2, and they contain its stream limit. This costs one round trip per connection.
    this.#session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#maxStreams = Math.min(MAX_CONCURRENT_STREAMS, maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS)
      if (this.#state === 'open') owner.onCapacity()
      if (this.#state !== 'opening') return
      if (this.#maxStreams === 0) {
        // A limit of 0 should be short-lived (RFC 9113 section 5.1.2), and more connections would not help.
        setTimeout(() => {
          if (this.#state === 'opening')
            this.end(new errors.ConnectTimeoutError('MAX_CONCURRENT_STREAMS is 0'))
        }, ZERO_LIMIT_WAIT_MS).unref()
        return
      }
      clearTimeout(unsettled)
      this.#state = 'open'
      this.#idleTimer.refresh()
      this.#session.unref()
      owner.onOpen(this)
    })
    // Node.js closes the session itself: gracefully, or at once after an error.
    this.#session.on('goaway', (_code, lastStream) => {
      this.lastStreamId = lastStream
      this.retire()
    })
    this.#session.on('error', (error: Error) => {
      this.#failure ??= error
    })
    this.#session.on('close', () => {
      clearTimeout(unsettled)
      clearTimeout(this.#idleTimer)
      const before = this.#state
      this.retire()
      clearTimeout(this.#destroyTimer)
      if (before === 'opening')
        owner.onConnectError(this.#failure ?? new errors.SocketError('closed before SETTINGS'))
      else owner.onClosed(this)
    })
  }

  /** Whether the connection can take a request now. */
  get hasRoom(): boolean {
    const { closed, destroyed } = this.#session
    // After an error of the upstream the session is destroyed some ticks before it emits 'close', and never "closed".
    return this.#state === 'open' && this.#streams < this.#maxStreams && !closed && !destroyed
  }

  /** Whether the connection takes requests, perhaps after others have ended. */
  get takesRequests(): boolean {
    return this.#state === 'open' && this.#maxStreams > 0
  }

  /** Whether no request is on it. */
  get isIdle(): boolean {
    return this.#streams === 0
  }

  /** Whether the session is destroyed. */
  get isDestroyed(): boolean {
    return this.#session.destroyed
  }

  /** The error that closed the connection, if known. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Sends a request. */
  send(stream: ClientStream): void {
    if (this.#streams++ === 0) this.#session.ref()
    stream.start(this)
    if (++this.#streamsEver >= MAX_STREAMS_EVER) this.retire()
  }

  /** Opens a stream with lower-case names and values in turn. */
  request(head: readonly string[], endStream: boolean): ClientHttp2Stream {
    return this.#session.request(head as never, { endStream })
  }

  /** Called when a stream has closed. */
  onStreamClosed(): void {
    if (--this.#streams === 0) {
      this.#session.unref()
      if (this.#state === 'retired') this.#destroySoon()
      else this.#idleTimer.refresh()
    }
    this.#owner.onCapacity()
  }

  /** Stops taking requests; closes after the current ones. */
  retire(): void {
    if (this.#state === 'retired') return
    this.#state = 'retired'
    this.#owner.onRetired(this)
    this.#session.close()
    if (this.#streams === 0) this.#destroySoon()
  }

  // Node.js waits for the peer to close too, which may never happen.
  #destroySoon(): void {
    this.#destroyTimer ??= setTimeout(() => this.#socket.destroy(), this.#replyTimeout)
    this.#destroyTimer.unref()
  }

  /** Destroys the connection and all its streams. */
  end(error: Error): void {
    this.#failure ??= error
    this.#session.destroy()
  }

  /** Called when a request is given up: sends a ping if nothing was received since the last time. A dead connection would otherwise swallow all further requests. */
  pingIfSilent(): void {
    if (this.hasReceived) {
      this.hasReceived = false
      return
    }
    const now = monotonic()
    if (this.#session.closed || now - this.#pingedAt < MIN_PING_INTERVAL_MS) return
    this.#pingedAt = now
    const silent = setTimeout(
      () => this.end(new errors.SocketError('No reply to an HTTP/2 PING')),
      this.#replyTimeout
    )
    try {
      this.#session.ping(() => clearTimeout(silent))
    } catch {
      // Node.js allows no more pings at the moment.
    }
  }
}
