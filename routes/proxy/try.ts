import type { Duplex } from 'node:stream'
import { type Handler, type Sending, Untaken } from '../../src/kit/index.ts'
import { FRAMING, HOP_BY_HOP } from '../../src/lib/http/hop-by-hop.ts'
import type { UpstreamTarget } from './contract.ts'
import { UpstreamFailed, UpstreamStill } from './refusals.ts'
import type { Flowing, Stillness } from './stillness.ts'

type Abort = (error?: Error) => void

/** What becomes of a body. */
export type Fate = 'wanted' | 'dropped'

/** What there is of an answer when its head comes: the head alone, all of it, or a part that more may follow. */
export type Extent = 'bare' | 'whole' | 'part'

/** Who asked, and gets what comes. */
export interface Asker {
  /** Tells whether the same request may go out once more after its connection was lost. */
  readonly maySendAgain: boolean
  /** Tells whether the body of the request can be sent once more from its beginning. */
  readonly mayReplay: boolean
  /** Whether a part of the body has yet to come. */
  readonly uploads: boolean
  /** Makes the options of one dispatch; a body is opened anew each time. */
  optionsFor(target: UpstreamTarget): Sending
  onInformation(status: number, fields: readonly string[]): void
  /** Takes the head of an answer, and how much there is of it; tells what becomes of its body. */
  onHead(from: Try, status: number, fields: readonly string[], statusText: string, extent: Extent): Fate
  onSwitch(from: Try, fields: readonly string[], upstream: Duplex): void
  /** Takes a body that came whole with its head, a character a byte. */
  onWhole(body: string): void
  /** Takes a part of the body; tells whether more may come at once. */
  onBody(chunk: Buffer): boolean
  onTrailers(trailers: readonly [string, string][]): void
  onFailure(from: Try, error: Error): void
  /** Takes an error of the gateway's own code, where no one else would. */
  onBroken(error: unknown): void
}

/** Says that nobody waits for this try any more; its target did nothing wrong. */
export class Unwanted extends Error {}

// What is left of an answer that nobody wants is read, so that its connection can be used again; if it is longer than this, in bytes, the connection ends.
const DREGS = 65_536

// How often a request goes to a target that takes none of it: a connection of HTTP/2 may end whenever the other side likes, and the next one as well.
const MOST_UNTAKEN = 8

// Interim answers to a request: they go on at once, however slow the client is.
const MOST_INTERIM = 64

/** One request to one target, and its answer. */
export class Try implements Flowing, Handler {
  readonly target: UpstreamTarget
  readonly #asker: Asker
  readonly #upgrades: boolean
  readonly #stillness: Stillness | undefined
  readonly #probe: boolean
  /** Whether the target is sure not to have taken the request. */
  untaken = false
  seen = 0
  paused = false
  #abort: Abort | undefined
  #resume: (() => void) | undefined
  #state: 'open' | 'wanted' | 'dropped' | 'over' = 'open'
  #judged = false
  #watched = false
  #left = false
  #answering = false
  #sent = 0
  #interim = 0
  #dregs = 0
  #stopped: Error | undefined

  constructor(asker: Asker, target: UpstreamTarget, upgrades: boolean, stillness: Stillness | undefined) {
    this.#asker = asker
    this.target = target
    this.#upgrades = upgrades
    this.#stillness = stillness
    this.#probe = target.take()
  }

  /** Whether it ended without an answer. */
  get lost(): boolean {
    return this.#state === 'over'
  }

  /** Whether it ever got a connection. */
  get connected(): boolean {
    return this.#abort !== undefined
  }

  /** Sends the request. */
  send(): void {
    this.#sent++
    const { pool, upgrades } = this.target
    const sender = this.#upgrades ? upgrades : pool
    sender.send(this.#asker.optionsFor(this.target), this)
  }

  /** Begins to look whether the body stands still for too long. */
  watch(): void {
    if (this.#stillness === undefined || this.#watched || this.#state === 'over') return
    this.#watched = true
    this.#stillness.add(this)
  }

  /** Gives up. */
  stop(error: Error): void {
    if (this.#state === 'over' || this.#stopped !== undefined) return
    this.#stopped = error
    if (this.#abort === undefined) this.onError(error)
    else this.#abort(error)
  }

  /** Reads on after the client has taken what there was. */
  resume(): void {
    this.paused = false
    this.#resume?.()
  }

  onConnect(abort: Abort): void {
    this.untaken = false
    if (this.#stopped === undefined) this.#abort = abort
    else abort(this.#stopped)
  }

  onResponseStarted(): void {
    this.#answering = true
  }

  onHeaders(status: number, fields: string[], resume: () => void, statusText: string, bare = false): boolean {
    if (status < 200) {
      if (status < 100 || status === 101) throw new UpstreamFailed()
      if (++this.#interim > MOST_INTERIM) throw new Error('Interim answers without end')
      this.#asker.onInformation(status, fields)
      return true
    }
    this.#resume = resume
    this.#judge(status < 500)
    const fate = this.#asker.onHead(this, status, fields, statusText, bare ? 'bare' : 'part')
    this.#state = fate
    // What nobody wants is watched as well, or an upstream that never ends it would keep its connection.
    if (fate === 'dropped') this.watch()
    return true
  }

  onWhole(status: number, fields: string[], statusText: string, body: string): void {
    this.#judge(status < 500)
    const fate = this.#asker.onHead(this, status, fields, statusText, 'whole')
    this.#over()
    if (fate === 'wanted') this.#asker.onWhole(body)
  }

  onUpgrade(_status: number, fields: string[], upstream: Duplex): void {
    if (!switchesToWebSocket(fields)) throw new UpstreamFailed()
    this.#judge(true)
    // From here on it has a connection of its own, beside the pool's.
    this.#over()
    this.#asker.onSwitch(this, fields, upstream)
  }

  onData(chunk: Buffer): boolean {
    // What nobody wants gets its time once: a part of it that comes gives it no more.
    if (this.#state === 'dropped') {
      this.#dregs += chunk.length
      if (this.#dregs > DREGS) this.stop(new Unwanted('Nobody waits for this answer'))
      return true
    }
    if (this.#stillness !== undefined) this.seen = this.#stillness.tick
    if (this.#state !== 'wanted') throw new Error('A body without a head')
    if (this.#asker.onBody(chunk)) return true
    this.paused = true
    return false
  }

  onComplete(trailers: string[]): void {
    try {
      const wanted = this.#state === 'wanted'
      this.#over()
      if (wanted) this.#asker.onTrailers(trailersOf(trailers))
    } catch (error) {
      this.#asker.onBroken(error)
    }
  }

  onError(error: Error): void {
    try {
      this.#failed(error)
    } catch (broken) {
      this.#asker.onBroken(broken)
    }
  }

  #failed(error: Error): void {
    if (this.#state === 'over') return
    if (this.#state === 'open' && this.#stopped === undefined && this.#maySendAgain(error)) {
      this.#abort = undefined
      this.send()
      return
    }
    const dropped = this.#state === 'dropped'
    if (this.#state === 'wanted' && (this.#stopped === undefined || isTimeout(this.#stopped)))
      this.target.judge(false, false)
    // A client that is slow to send what it has to say is no fault of the target.
    if (this.#stopped === undefined || (isTimeout(this.#stopped) && !this.#asker.uploads)) this.#judge(false)
    this.#over()
    if (!dropped) this.#asker.onFailure(this, this.#stopped ?? error)
  }

  /** Ends a body that stood still for too long. */
  still(): void {
    this.stop(new UpstreamStill())
  }

  #maySendAgain(error: Error): boolean {
    if (error instanceof Untaken) {
      this.untaken = true
      return this.#sent < MOST_UNTAKEN && this.#asker.mayReplay
    }
    return this.#sent === 1 && !this.#answering && lostWithConnection(error) && this.#asker.maySendAgain
  }

  #judge(ok: boolean): void {
    if (this.#judged) return
    this.#judged = true
    this.target.judge(ok, this.#probe)
  }

  #over(): void {
    this.#state = 'over'
    // The connection goes on with the next request, whoever is late to take this answer.
    this.#resume = undefined
    if (this.#watched) this.#stillness?.delete(this)
    if (this.#left) return
    this.#left = true
    if (!this.#judged) this.target.untried(this.#probe)
    this.target.leave()
  }
}

/** Tells whether a 101 names the protocol that was asked for, and no other (RFC 6455 section 4.1). */
function switchesToWebSocket(fields: readonly string[]): boolean {
  let found = false
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'upgrade') continue
    if (found || fields[i + 1]?.toLowerCase() !== 'websocket') return false
    found = true
  }
  return found
}

const isTimeout = (error: Error & { statusCode?: number }): boolean => error.statusCode === 504

// What an idle connection looks like that the upstream closed just when it was used again: no byte of an answer.
function lostWithConnection(error: Error & { code?: string; socket?: { bytesRead?: number } }): boolean {
  return (
    (error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE') &&
    (error.socket?.bytesRead ?? 1) > 0
  )
}

// What frames, routes, signs or describes a message stands in its head alone (RFC 9110 section 6.5.1): whoever merges trailers into the head would let them replace what the gateway said there.
const NO_TRAILERS = new Set([
  ...HOP_BY_HOP,
  ...FRAMING,
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'date',
  'expires',
  'location',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate'
])

function trailersOf(raw: readonly string[]): [string, string][] {
  const trailers: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2)
    if (!NO_TRAILERS.has(raw[i] as string)) trailers.push([raw[i] as string, raw[i + 1] as string])
  return trailers
}
