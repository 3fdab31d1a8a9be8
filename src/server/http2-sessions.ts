import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { resetConnection } from '../lib/http/bodies.ts'
import { LOOK_EVERY, ReaderWatch } from './stalled-clients.ts'

type Limits = Pick<FastifyInstance['socketLimits'], 'headerTime' | 'idle' | 'responseRate'>

const WATCHED = Symbol('watched')

interface Watched {
  readonly session: Http2Session
  readonly socket: TLSSocket
  readonly streams: Set<Stream>
  /** Whether there was a request at all. */
  greeted: boolean
  /** Looks since there was one. */
  idle: number
  /** The streams that ended by a reset. */
  resets: number
}

/** The memory that Node.js counts for a session, in megabytes, before it refuses streams: it counts what was about to be written to a stream that is reset, and never takes it off again. */
export const SESSION_MEMORY = 1000

// A session ends with GOAWAY before that many resets can have used up its memory, at 256 kB each.
const MAX_RESETS = 2000

interface Stream extends ServerHttp2Stream {
  [WATCHED]?: HeldStream
}

interface HeldStream {
  readonly of: Watched
  readonly watch: ReaderWatch
  /** Whether what it takes is counted: only where one look has found bytes that wait. */
  counts: boolean
  /** The bytes that it has taken since they are counted. */
  taken: number
  /** How many looks found bytes that wait after it was closed. */
  looksClosed: number
}

/** The connections of HTTP/2: one timer for all of them ends those that do nothing, and answers that nobody takes. Node's own timeout stands still while a client talks of other things, and a session that is closed waits for its streams, be it for ever. */
export class Sessions {
  readonly #limits: () => Limits
  readonly #open = new Map<Http2Session, Watched>()
  #timer: NodeJS.Timeout | undefined
  #leaving = false

  constructor(limits: () => Limits) {
    this.#limits = limits
  }

  /** Watches a connection until it ends. */
  add(session: Http2Session, socket: TLSSocket): void {
    const watched: Watched = { session, socket, streams: new Set(), greeted: false, idle: 0, resets: 0 }
    this.#open.set(session, watched)
    session.on('error', () => {})
    session.once('close', () => this.#open.delete(session))
    session.on('stream', (stream: Stream) => {
      if (this.#leaving) closeSoon(session)
      watched.greeted = true
      watched.idle = 0
      watched.streams.add(stream)
      stream[WATCHED] = { of: watched, watch: new ReaderWatch(), counts: false, taken: 0, looksClosed: 0 }
      stream.on('close', onClose)
    })
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref()
  }

  /** Ends each connection by a GOAWAY with the requests that are under way, or with its next ones: an idle one that ended at once would lose what is on its way. */
  closeAfterAnswers(): void {
    this.#leaving = true
    for (const [session, { streams }] of this.#open) if (streams.size > 0) session.close()
  }

  /** Lets them end what they have begun, and tells them to bring nothing more. */
  close(): void {
    for (const session of this.#open.keys()) session.close()
  }

  /** Ends them at once. */
  destroy(): void {
    for (const session of this.#open.keys()) session.destroy()
    clearInterval(this.#timer)
  }

  #look(): void {
    const limits = this.#limits()
    const { headerTime, idle } = limits
    for (const [session, watched] of this.#open) {
      if (watched.streams.size > 0) endHeld(watched, limits)
      else {
        watched.idle++
        const most = watched.greeted || headerTime === 0 ? idle : headerTime
        // Whoever does not even take the GOAWAY is not waited for.
        if (session.closed && watched.idle > 1) resetConnection(watched.socket)
        else if (most > 0 && watched.idle * LOOK_EVERY > most) {
          watched.idle = 0
          session.close()
        }
      }
    }
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

// The requests that came in the same read are answered, too.
function closeSoon(session: Http2Session): void {
  setImmediate(() => session.close())
}

// One function for all requests.
function onClose(this: Stream): void {
  const watched = this[WATCHED]?.of
  if (watched === undefined) return
  watched.streams.delete(this)
  if (this.rstCode !== constants.NGHTTP2_NO_ERROR && ++watched.resets === MAX_RESETS) watched.session.close()
}

/** Ends the answers that are taken too slowly; where that does not help, since the client reads nothing from the connection either, the connection. */
function endHeld({ streams, socket }: Watched, limits: Limits): void {
  for (const stream of streams) {
    const held = stream[WATCHED]
    if (held === undefined) continue
    const waiting = stream.writableLength
    const waits = waiting > 0 || (stream.writableEnded && (stream.endAfterHeaders || stream.readableEnded))
    if (stream.closed && waits && ++held.looksClosed > 1) {
      resetConnection(socket)
      return
    }
    const slow = held.watch.isTooSlow(waiting, held.taken, limits, waits)
    if (waits && !held.counts) countTaken(stream, held)
    if (slow) stream.close(constants.NGHTTP2_CANCEL)
  }
}

// A stream does not tell what it has sent.
function countTaken(stream: Stream, held: HeldStream): void {
  held.counts = true
  const { _write: write, _writev: writev } = stream
  stream._write = function writeCounted(chunk: Buffer | string, encoding, done) {
    write.call(this, chunk, encoding, (error) => {
      held.taken += chunk.length
      done(error)
    })
  }
  if (writev === undefined) return
  stream._writev = function writeAllCounted(chunks, done) {
    // Node.js replaces the entries of the list by their bytes while it writes.
    let size = 0
    for (const { chunk } of chunks as { chunk: Buffer | string }[]) size += chunk.length
    writev.call(this, chunks, (error) => {
      held.taken += size
      done(error)
    })
  }
}
