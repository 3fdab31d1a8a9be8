import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { errors } from 'undici'
import { monotonic } from '../../../../src/lib/clock.ts'
import type { ClientStream } from './stream.ts'

/** Told what becomes of a connection. */
export interface Http2ConnectionOwner {
  /** It speaks HTTP/2, and takes requests. */
  onOpen(connection: Http2Connection): void
  /** It never came so far. */
  onConnectError(error: Error): void
  /** One of its streams has ended. */
  onCapacity(): void
  /** It takes no more requests, and ends what it has. */
  onRetired(connection: Http2Connection): void
  onClosed(connection: Http2Connection): void
}

/** The most requests that share a connection at a time; the other side may want fewer. */
export const MAX_CONCURRENT_STREAMS = 100

// An id is never used twice, and they end at 2^31 (RFC 9113 section 5.1.1).
const MAX_STREAMS_EVER = 1_000_000_000

// What may be on its way to us unread of one answer, in bytes. It is no round number: where an answer uses a window up to its last byte, a server of Node.js resets the stream with NO_ERROR before its END_STREAM, and the answer is cut.
const STREAM_WINDOW_BYTES = 262_147
// For the same reason all answers on a connection together never run out of window. Each is still bounded by its own.
const CONNECTION_WINDOW_BYTES = MAX_CONCURRENT_STREAMS * STREAM_WINDOW_BYTES

// How long to wait for a server that takes no requests at first, in milliseconds.
const ZERO_LIMIT_WAIT_MS = 1000

// Servers of gRPC take more than two pings within five minutes for abuse.
const MIN_PING_INTERVAL_MS = 300_000

/** One connection of HTTP/2. A GOAWAY retires it: what the other side has taken goes on, what it has not is told so (RFC 9113 section 6.8). */
export class Http2Connection {
  readonly scheme: string
  /** The most bytes that the head of an answer may have: Node.js counts them only once the other side has acknowledged the setting. */
  readonly maxHeaders: number
  /** The last stream that the other side has taken, or may yet take. */
  lastStreamId = Number.POSITIVE_INFINITY
  /** The answers that have begun. */
  responses = 0
  /** Whether anything came in since somebody last gave up waiting. */
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
      // A field counts as its bytes and 32 more (RFC 9113 section 6.5.2), so that the size bounds their number as well.
      maxHeaderListPairs: Math.ceil(maxHeaders / 32),
      // A client may repeat any field; one that Node.js refused here would count against the target.
      strictSingleValueFields: false,
      // What a connection may hold is bounded by its windows and its streams.
      maxSessionMemory: 1000,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: maxHeaders }
    } as never)
    this.#idleTimer = setTimeout(() => {
      // One that is not open yet has a time limit of its own.
      if (this.#streams === 0 && this.#state === 'open') this.retire()
    }, keepAlive)
    this.#idleTimer.unref()
    const unsettled = setTimeout(() => this.end(new errors.ConnectTimeoutError()), replyTimeout)
    this.#session.on('connect', () => this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
    // Only its settings prove that the other side speaks HTTP/2, and say how many streams it takes; a round trip for each connection.
    this.#session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#maxStreams = Math.min(MAX_CONCURRENT_STREAMS, maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS)
      if (this.#state === 'open') owner.onCapacity()
      if (this.#state !== 'opening') return
      if (this.#maxStreams === 0) {
        // A limit of zero is for a short time (RFC 9113 section 5.1.2): more connections would not help.
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
    // Node closes the session by itself: gracefully, or at once where there is an error.
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
        owner.onConnectError(this.#failure ?? new errors.SocketError('closed before it was open'))
      else owner.onClosed(this)
    })
  }

  /** Whether it takes one more request now. */
  get hasRoom(): boolean {
    return this.#state === 'open' && this.#streams < this.#maxStreams && !this.#session.closed
  }

  /** Whether it takes requests, be it once others have ended. */
  get takesRequests(): boolean {
    return this.#state === 'open' && this.#maxStreams > 0
  }

  /** Whether nothing comes of it any more. */
  get isDestroyed(): boolean {
    return this.#session.destroyed
  }

  /** Why it ended, where that is known. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Sends a request. */
  send(stream: ClientStream): void {
    if (this.#streams++ === 0) this.#session.ref()
    stream.start(this)
    if (++this.#streamsEver >= MAX_STREAMS_EVER) this.retire()
  }

  /** Opens a stream with a head of names and values in turn. */
  request(head: readonly string[], endStream: boolean): ClientHttp2Stream {
    return this.#session.request(head as never, { endStream })
  }

  /** Notes that a request is over, and its stream closed. */
  onStreamClosed(): void {
    if (--this.#streams === 0) {
      this.#session.unref()
      if (this.#state === 'retired') this.#destroySoon()
      else this.#idleTimer.refresh()
    }
    this.#owner.onCapacity()
  }

  /** Takes no more requests, and ends once those that it has are over. */
  retire(): void {
    if (this.#state === 'retired') return
    this.#state = 'retired'
    this.#owner.onRetired(this)
    this.#session.close()
    if (this.#streams === 0) this.#destroySoon()
  }

  // Node waits for the other side to close as well, which may think that there is something left to do.
  #destroySoon(): void {
    this.#destroyTimer ??= setTimeout(() => this.#socket.destroy(), this.#replyTimeout)
    this.#destroyTimer.unref()
  }

  /** Ends it with all that is on it. */
  end(error: Error): void {
    this.#failure ??= error
    this.#session.destroy()
  }

  /** Finds out whether the other side is there still, since somebody waited for it in vain: a connection that is dead without a word would take all requests after it as well. */
  pingIfSilent(): void {
    if (this.hasReceived) {
      this.hasReceived = false
      return
    }
    const now = monotonic()
    if (this.#session.closed || now - this.#pingedAt < MIN_PING_INTERVAL_MS) return
    this.#pingedAt = now
    const silent = setTimeout(
      () => this.end(new errors.SocketError('The other side is silent')),
      this.#replyTimeout
    )
    try {
      this.#session.ping(() => clearTimeout(silent))
    } catch {
      // As many pings as Node allows are under way.
    }
  }
}
