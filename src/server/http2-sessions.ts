import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { resetConnection } from '../lib/http/bodies.ts'
import { CHECK_INTERVAL_MS, StallDetector } from './stalled-clients.ts'

type Limits = Pick<FastifyInstance['socketLimits'], 'headerTime' | 'idle' | 'responseRate'>

/** The memory that Node.js counts for a session, in MB, before it refuses streams. It counts what was about to be written to a stream that is reset, and never subtracts it. */
export const MAX_SESSION_MEMORY_MB = 1000

// Node.js never gives back the memory of a session that aborted writes have taken: a session ends with GOAWAY at half of
// what it may have. Each abort counts as what is read ahead of a client, at least.
const MAX_ABORTED_BYTES = 500_000_000
const MIN_ABORTED_BYTES = 262_144

const STATE = Symbol('stream state')

interface SessionState {
  readonly session: Http2Session
  readonly socket: TLSSocket
  readonly streams: Set<Stream>
  /** Whether it has had a request. */
  hadRequest: boolean
  /** How many checks in a row have found no stream. */
  idleChecks: number
  /** The bytes of responses that were aborted. */
  abortedBytes: number
}

interface Stream extends ServerHttp2Stream {
  [STATE]?: StreamState
}

interface StreamState {
  readonly session: SessionState
  readonly detector: StallDetector
  /** Whether written bytes are counted, which begins when a check first finds pending bytes. */
  counts: boolean
  /** The bytes written since they are counted. */
  written: number
  /** How many checks found pending bytes after it was closed. */
  checksClosed: number
}

/** The HTTP/2 sessions: one timer for all of them ends idle sessions and responses that are not read. Node's own timeout is reset by any frame, and a closed session waits for its streams without limit. */
export class Sessions {
  readonly #limits: () => Limits
  readonly #open = new Map<Http2Session, SessionState>()
  #timer: NodeJS.Timeout | undefined
  #closing = false

  constructor(limits: () => Limits) {
    this.#limits = limits
  }

  /** Watches a session until it closes. */
  add(session: Http2Session, socket: TLSSocket): void {
    const state: SessionState = {
      session,
      socket,
      streams: new Set(),
      hadRequest: false,
      idleChecks: 0,
      abortedBytes: 0
    }
    this.#open.set(session, state)
    session.on('error', () => {})
    session.once('close', () => this.#open.delete(session))
    session.on('stream', (stream: Stream) => {
      if (this.#closing) closeAfterRead(session)
      state.hadRequest = true
      state.idleChecks = 0
      state.streams.add(stream)
      stream[STATE] = {
        session: state,
        detector: new StallDetector(),
        counts: false,
        written: 0,
        checksClosed: 0
      }
      // First, so that a listener that throws does not leave a closed stream in the list.
      stream.prependListener('close', onStreamClose)
    })
    this.#timer ??= setInterval(() => this.#check(), CHECK_INTERVAL_MS).unref()
  }

  /** Ends each session by a GOAWAY with the requests in flight, or else with its next ones: an idle session that ended at once would lose requests that are on their way. */
  closeAfterResponses(): void {
    this.#closing = true
    for (const [session, { streams }] of this.#open) if (streams.size > 0) session.close()
  }

  /** Sends GOAWAY to all sessions and lets their streams finish. */
  close(): void {
    for (const session of this.#open.keys()) session.close()
  }

  /** Destroys all sessions. */
  destroy(): void {
    for (const session of this.#open.keys()) session.destroy()
    clearInterval(this.#timer)
  }

  #check(): void {
    const limits = this.#limits()
    for (const state of this.#open.values()) {
      if (state.streams.size > 0) endStalledStreams(state, limits)
      else closeIfIdle(state, limits)
    }
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

function closeIfIdle(state: SessionState, { headerTime, idle }: Limits): void {
  state.idleChecks++
  const { session, socket, hadRequest, idleChecks } = state
  const timeout = hadRequest || headerTime === 0 ? idle : headerTime
  // A client that does not even read the GOAWAY is reset.
  if (session.closed && idleChecks > 1) resetConnection(socket)
  else if (timeout > 0 && idleChecks * CHECK_INTERVAL_MS > timeout) {
    state.idleChecks = 0
    session.close()
  }
}

// Requests that came in the same read still get responses.
function closeAfterRead(session: Http2Session): void {
  setImmediate(() => session.close())
}

// One function for all streams.
function onStreamClose(this: Stream): void {
  const state = this[STATE]?.session
  if (state === undefined) return
  state.streams.delete(this)
  if (this.writableFinished) return
  state.abortedBytes += Math.max(this.writableLength, MIN_ABORTED_BYTES)
  if (state.abortedBytes >= MAX_ABORTED_BYTES && !state.session.closed) state.session.close()
}

/** Resets the streams whose response is read too slowly; where the client does not read from the connection either, resets the connection. */
function endStalledStreams({ streams, socket }: SessionState, limits: Limits): void {
  for (const stream of streams) {
    const state = stream[STATE]
    if (state === undefined) continue
    const pending = stream.writableLength
    const unfinished =
      pending > 0 || (stream.writableEnded && (stream.endAfterHeaders || stream.readableEnded))
    if (stream.closed && unfinished && ++state.checksClosed > 1) {
      resetConnection(socket)
      return
    }
    const progress = state.detector.observe({ pending, read: state.written, unfinished }, limits)
    if (unfinished && !state.counts) countWritten(stream, state)
    if (progress === 'stalled') stream.close(constants.NGHTTP2_CANCEL)
  }
}

// An HTTP/2 stream has no count of the bytes that it has sent.
function countWritten(stream: Stream, state: StreamState): void {
  state.counts = true
  const { _write: write, _writev: writev } = stream
  stream._write = function writeCounted(chunk: Buffer | string, encoding, done) {
    write.call(this, chunk, encoding, (error) => {
      state.written += chunk.length
      done(error)
    })
  }
  if (writev === undefined) return
  stream._writev = function writeAllCounted(chunks, done) {
    // Node.js replaces the entries of the list by their bytes while it writes.
    let size = 0
    for (const { chunk } of chunks as { chunk: Buffer | string }[]) size += chunk.length
    writev.call(this, chunks, (error) => {
      state.written += size
      done(error)
    })
  }
}
