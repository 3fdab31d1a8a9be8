import { type CompressStream, compressMemory, createCompressStream } from '../../src/lib/body/compress.ts'
import type { BufferBudget } from '../../src/lib/buffers.ts'
import { startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import type { ContentCoding } from '../../src/lib/http/accept-encoding.ts'
import { enterPool, isPoolBusy, leavePool, releaseMemory, reserveMemory } from './pool.ts'

/** The longest that a part of a body waits for more of it, in milliseconds. */
export const MAX_WAIT = 50

/** Receives what an encoder makes. */
export interface EncoderListener {
  onEncoded(chunk: Buffer): void
  onEncoderError(error: Error): void
}

/** How an encoder works. */
export interface EncoderOptions {
  readonly coding: ContentCoding
  readonly level: number
  /** Whether everything written is sent at once. */
  readonly flushesAll: boolean
}

/** Compresses one body in the thread pool; it takes part in the pool only while it works, not while its client is slow. */
export class Encoder {
  readonly #compress: CompressStream
  readonly #flushesAll: boolean
  readonly #budget: BufferBudget
  readonly #memory: number
  #jobs = 0
  #timer: Timer | undefined
  #over = false

  /** Opens an encoder; returns undefined where the thread pool is busy or there is no memory. */
  static open(options: EncoderOptions, budget: BufferBudget, listener: EncoderListener): Encoder | undefined {
    const memory = compressMemory(options.coding, options.level)
    return isPoolBusy() || !reserveMemory(memory, budget)
      ? undefined
      : new Encoder(options, budget, memory, listener)
  }

  private constructor(
    { coding, level, flushesAll }: EncoderOptions,
    budget: BufferBudget,
    memory: number,
    listener: EncoderListener
  ) {
    this.#compress = createCompressStream(coding, level)
    this.#flushesAll = flushesAll
    this.#budget = budget
    this.#memory = memory
    this.#compress.stream.on('data', (chunk: Buffer) => listener.onEncoded(chunk))
    this.#compress.stream.on('error', (error) => listener.onEncoderError(error))
  }

  /** Compresses a part of the body, and calls back when it takes more. */
  write(chunk: Buffer, done: () => void): void {
    const { stream, flushKind } = this.#compress
    this.#work((leave) => {
      const onDone = (): void => {
        leave()
        if (!this.#flushesAll) this.#timer ??= startTimer(() => this.#flush(), MAX_WAIT)
        done()
      }
      if (!this.#flushesAll) stream.write(chunk, onDone)
      else {
        stream.write(chunk)
        stream.flush(flushKind, onDone)
      }
    })
  }

  /** Ends the body, and calls back when all of it has been given to the listener. */
  end(done: () => void): void {
    this.#stopTimer()
    this.#work((leave) => {
      this.#compress.stream.on('end', () => {
        leave()
        this.destroy()
        done()
      })
      this.#compress.stream.end()
    })
  }

  /** Gives up what is under way and frees the memory. */
  destroy(): void {
    if (this.#over) return
    this.#over = true
    this.#stopTimer()
    this.#compress.stream.destroy()
    for (; this.#jobs > 0; this.#jobs--) leavePool()
    releaseMemory(this.#memory, this.#budget)
  }

  // What a slow upstream has sent so far is not held back.
  #flush(): void {
    this.#timer = undefined
    this.#work((leave) => this.#compress.stream.flush(this.#compress.flushKind, leave))
  }

  #work(job: (leave: () => void) => void): void {
    enterPool(() => {
      if (this.#over) {
        leavePool()
        return
      }
      this.#jobs++
      job(() => {
        // All jobs have left where the encoder was destroyed meanwhile.
        if (this.#over) return
        this.#jobs--
        leavePool()
      })
    })
  }

  #stopTimer(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
  }
}
