import { Transform, type TransformCallback } from 'node:stream'
import type { StageHead } from '../../src/kit/index.ts'
import type { BufferBudget } from '../../src/lib/buffers.ts'
import { startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import type { ContentCoding } from '../../src/lib/http/accept-encoding.ts'
import {
  applyCoding,
  type Compression,
  lengthIn,
  mediaTypeIn,
  varyByEncoding
} from '../../src/lib/http/compression.ts'
import { Encoder, type EncoderListener, MAX_WAIT } from './encoder.ts'

// Up to this length a body is compressed at once: the way to the thread pool and back costs more.
const MAX_SYNC = 32 * 1024

/** What a body is compressed with. */
export interface CompressedBodyOptions {
  readonly compression: Compression
  readonly coding: ContentCoding
  /** Whether the client takes a body without a coding. */
  readonly identity: boolean
  readonly budget: BufferBudget
}

/** A stage that compresses a body if its head, as earlier stages leave it, and its length allow that. */
export class CompressedBody extends Transform implements EncoderListener {
  readonly #head: StageHead
  readonly #options: CompressedBodyOptions
  #state: 'new' | 'held' | 'encoded' | 'passing' = 'new'
  #length: number | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  #encoder: Encoder | undefined
  #timer: Timer | undefined

  constructor(head: StageHead, options: CompressedBodyOptions) {
    super()
    this.#head = head
    this.#options = options
    // The head of an event stream is sent before any event.
    if (this.#isEventStream) {
      this.#decide()
      if (this.#state === 'held') this.#startEncoder()
    }
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    if (this.#state === 'new') this.#decide()
    if (this.#encoder !== undefined) this.#encoder.write(chunk, done)
    else if (this.#state === 'passing') done(null, chunk)
    else this.#hold(chunk, done)
  }

  override _flush(done: TransformCallback): void {
    if (this.#state === 'new') this.#decide()
    if (this.#encoder !== undefined) this.#encoder.end(done)
    else if (this.#state === 'passing') done()
    else done(null, this.#compressWhole())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stopTimer()
    this.#held = []
    this.#encoder?.destroy()
    done(error)
  }

  onEncoded(chunk: Buffer): void {
    this.push(chunk)
  }

  onEncoderError(error: Error): void {
    this.destroy(error)
  }

  get #isEventStream(): boolean {
    return mediaTypeIn(this.#head) === 'text/event-stream'
  }

  #decide(): void {
    const { compression, identity } = this.#options
    this.#length = lengthIn(this.#head)
    if (compression.isCompressible(this.#head)) varyByEncoding(this.#head)
    const isTooShort = identity && this.#length !== undefined && !compression.isWorthwhile(this.#length)
    this.#state = isTooShort || !compression.mayCompress(this.#head) ? 'passing' : 'held'
  }

  #hold(chunk: Buffer, done: TransformCallback): void {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (Math.max(this.#heldBytes, this.#length ?? 0) > MAX_SYNC) {
      this.#startEncoder()
      this.#sendHeld(done)
    } else if (this.#heldBytes === this.#length) done(null, this.#compressWhole())
    else {
      this.#holdOn()
      done()
    }
  }

  #holdOn(): void {
    // What a slow upstream has sent so far is not held back.
    this.#timer ??= startTimer(() => {
      this.#startEncoder()
      this.#sendHeld(() => {})
    }, MAX_WAIT)
  }

  /** Starts to compress in the thread pool, or leaves the body as it is where that is not possible now. */
  #startEncoder(): void {
    const { compression, coding, budget } = this.#options
    this.#stopTimer()
    const options = { coding, level: compression.levelOf(coding), flushesAll: this.#isEventStream }
    this.#encoder = Encoder.open(options, budget, this)
    if (this.#encoder !== undefined) applyCoding(this.#head, coding)
    this.#state = this.#encoder === undefined ? 'passing' : 'encoded'
  }

  #sendHeld(done: TransformCallback): void {
    const body = this.#takeHeld()
    if (this.#encoder !== undefined) this.#encoder.write(body, done)
    else {
      this.push(body)
      done()
    }
  }

  #takeHeld(): Buffer {
    const [first] = this.#held
    const body = this.#held.length === 1 && first !== undefined ? first : Buffer.concat(this.#held)
    this.#held = []
    return body
  }

  #compressWhole(): Buffer {
    this.#stopTimer()
    this.#state = 'passing'
    const body = this.#takeHeld()
    const { compression, coding, identity } = this.#options
    if (body.length === 0 || (identity && !compression.isWorthwhile(body.length))) return body
    const compressed = compression.compressSync(coding, body)
    if (identity && compressed.length >= body.length) return body
    applyCoding(this.#head, coding)
    // Over HTTP/1.1 only a body without a length can have trailers.
    if (this.#length !== undefined) this.#head.set('content-length', String(compressed.length))
    return compressed
  }

  #stopTimer(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
  }
}
