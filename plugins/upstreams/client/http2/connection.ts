import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { errors } from 'undici'
import { monotonic } from '../../../../src/lib/clock.ts'
import type { Stream } from './stream.ts'

/** Told what becomes of a connection. */
export interface ConnectionOwner {
  /** It speaks HTTP/2, and takes requests. */
  opened(connection: Connection): void
  /** It never came so far. */
  failed(error: Error): void
  /** One of its streams has ended. */
  freed(): void
  /** It takes no more requests, and ends what it has. */
  retired(connection: Connection): void
  ended(connection: Connection): void
}

/** The most requests that share a connection at a time; the other side may want fewer. */
export const STREAMS = 100

// An id is never used twice, and they end at 2^31 (RFC 9113 section 5.1.1).
const MOST_EVER = 1_000_000_000

// What may be on its way to us unread of one answer, in bytes. It is no round number: where an answer uses a window up to its last byte, a server of Node.js resets the stream with NO_ERROR before its END_STREAM, and the answer is cut.
const STREAM_WINDOW = 262_147
// For the same reason all answers on a connection together never run out of window. Each is still bounded by its own.
const CONNECTION_WINDOW = STREAMS * STREAM_WINDOW

// How long to wait for a server that takes no requests at first, in milliseconds.
const ZERO_LIMIT_WAIT = 1000

// Servers of gRPC take more than two pings within five minutes for abuse.
const BETWEEN_PINGS = 300_000

/** One connection of HTTP/2. A GOAWAY retires it: what the other side has taken goes on, what it has not is told so (RFC 9113 section 6.8). */
export class Connection {
  readonly scheme: string
  /** The most bytes that the head of an answer may have: Node.js counts them only once the other side has acknowledged the setting. */
  readonly maxHeaders: number
  /** The last stream that the other side has taken, or may yet take. */
  lastTaken = Number.POSITIVE_INFINITY
  /** The answers that have begun. */
  answered = 0
  /** Whether anything came in since somebody last gave up waiting. */
  heard = true
  readonly #socket: Socket
  readonly #session: ClientHttp2Session
  readonly #patience: number
  readonly #owner: ConnectionOwner
  readonly #idle: NodeJS.Timeout
  #state: 'opening' | 'open' | 'retired' = 'opening'
  #streams = 0
  #ever = 0
  #most = STREAMS
  #pinged = 0
  #last: NodeJS.Timeout | undefined
  #failure: Error | undefined

  constructor(
    socket: Socket,
    origin: URL,
    { patience, keepAlive, maxHeaders }: { patience: number; keepAlive: number; maxHeaders: number },
    owner: ConnectionOwner
  ) {
    this.scheme = origin.protocol.slice(0, -1)
    this.maxHeaders = maxHeaders
    this.#socket = socket
    this.#patience = patience
    this.#owner = owner
    this.#session = http2.connect(origin, {
      createConnection: () => socket,
      // A field counts as its bytes and 32 more (RFC 9113 section 6.5.2), so that the size bounds their number as well.
      maxHeaderListPairs: Math.ceil(maxHeaders / 32),
      // A client may repeat any field; one that Node.js refused here would count against the target.
      strictSingleValueFields: false,
      // What a connection may hold is bounded by its windows and its streams.
      maxSessionMemory: 1000,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW, maxHeaderListSize: maxHeaders }
    } as never)
    this.#idle = setTimeout(() => {
      // One that is not open yet has a time limit of its own.
      if (this.#streams === 0 && this.#state === 'open') this.retire()
    }, keepAlive)
    this.#idle.unref()
    const unsettled = setTimeout(() => this.end(new errors.ConnectTimeoutError()), patience)
    this.#session.on('connect', () => this.#session.setLocalWindowSize(CONNECTION_WINDOW))
    // Only its settings prove that the other side speaks HTTP/2, and say how many streams it takes; a round trip for each connection.
    this.#session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#most = Math.min(STREAMS, maxConcurrentStreams ?? STREAMS)
      if (this.#state === 'open') owner.freed()
      if (this.#state !== 'opening') return
      if (this.#most === 0) {
        // A limit of zero is for a short time (RFC 9113 section 5.1.2): more connections would not help.
        setTimeout(() => {
          if (this.#state === 'opening')
            this.end(new errors.ConnectTimeoutError('MAX_CONCURRENT_STREAMS is 0'))
        }, ZERO_LIMIT_WAIT).unref()
        return
      }
      clearTimeout(unsettled)
      this.#state = 'open'
      this.#idle.refresh()
      this.#session.unref()
      owner.opened(this)
    })
    // Node closes the session by itself: gracefully, or at once where there is an error.
    this.#session.on('goaway', (_code, lastStream) => {
      this.lastTaken = lastStream
      this.retire()
    })
    this.#session.on('error', (error: Error) => {
      this.#failure ??= error
    })
    this.#session.on('close', () => {
      clearTimeout(unsettled)
      clearTimeout(this.#idle)
      const before = this.#state
      this.retire()
      clearTimeout(this.#last)
      if (before === 'opening')
        owner.failed(this.#failure ?? new errors.SocketError('closed before it was open'))
      else owner.ended(this)
    })
  }

  /** Whether it takes one more request now. */
  get hasRoom(): boolean {
    return this.#state === 'open' && this.#streams < this.#most && !this.#session.closed
  }

  /** Whether it takes requests, be it once others have ended. */
  get takesRequests(): boolean {
    return this.#state === 'open' && this.#most > 0
  }

  /** Whether nothing comes of it any more. */
  get over(): boolean {
    return this.#session.destroyed
  }

  /** Why it ended, where that is known. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Sends a request. */
  begin(stream: Stream): void {
    if (this.#streams++ === 0) this.#session.ref()
    stream.begin(this)
    if (++this.#ever >= MOST_EVER) this.retire()
  }

  /** Opens a stream with a head of names and values in turn. */
  request(head: readonly string[], endStream: boolean): ClientHttp2Stream {
    return this.#session.request(head as never, { endStream })
  }

  /** Notes that a request is over, and its stream closed. */
  leave(): void {
    if (--this.#streams === 0) {
      this.#session.unref()
      if (this.#state === 'retired') this.#part()
      else this.#idle.refresh()
    }
    this.#owner.freed()
  }

  /** Takes no more requests, and ends once those that it has are over. */
  retire(): void {
    if (this.#state === 'retired') return
    this.#state = 'retired'
    this.#owner.retired(this)
    this.#session.close()
    if (this.#streams === 0) this.#part()
  }

  // Node waits for the other side to close as well, which may think that there is something left to do.
  #part(): void {
    this.#last ??= setTimeout(() => this.#socket.destroy(), this.#patience)
    this.#last.unref()
  }

  /** Ends it with all that is on it. */
  end(error: Error): void {
    this.#failure ??= error
    this.#session.destroy()
  }

  /** Finds out whether the other side is there still, since somebody waited for it in vain: a connection that is dead without a word would take all requests after it as well. */
  suspect(): void {
    if (this.heard) {
      this.heard = false
      return
    }
    const now = monotonic()
    if (this.#session.closed || now - this.#pinged < BETWEEN_PINGS) return
    this.#pinged = now
    const silent = setTimeout(
      () => this.end(new errors.SocketError('The other side is silent')),
      this.#patience
    )
    try {
      this.#session.ping(() => clearTimeout(silent))
    } catch {
      // As many pings as Node allows are under way.
    }
  }
}
