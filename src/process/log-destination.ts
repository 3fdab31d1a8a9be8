import { fstatSync, write, writeSync } from 'node:fs'
import { Socket } from 'node:net'

// Lines are buffered and written together: one write a line is the most expensive part of logging.
const FLUSH_BYTES = 32_768
const FLUSH_INTERVAL_MS = 200

// How much is buffered for a reader that does not read; later lines are lost, and counted.
const MAX_BUFFERED = 8_388_608

// How long the last lines may take at the end of a process, in ms.
const FLUSH_TIMEOUT_MS = 2000

type Write = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, count: number) => void
) => void

/** Writes log lines to a file descriptor without ever waiting for its reader, which may be blocked, full or gone. Lines that can't be buffered are lost, counted, and reported in a line of their own. */
export class Sink {
  readonly #fd: number
  readonly #writeBytes: Write
  readonly #lostLine: (lost: number) => string
  #buffered = ''
  /** What a partial write has left. */
  #rest: Buffer | undefined
  #writing = false
  #lost = 0
  #gone = false
  #onFlushed: (() => void) | undefined
  readonly #timer: NodeJS.Timeout

  /** Opens a sink on a file descriptor; `lostLine` makes the line that reports how many lines were lost. */
  constructor(fd: number, lostLine: (lost: number) => string) {
    this.#fd = fd
    this.#writeBytes = writerOf(fd)
    this.#lostLine = lostLine
    this.#timer = setInterval(() => this.#write(), FLUSH_INTERVAL_MS)
    this.#timer.unref()
  }

  /** Buffers whole lines. */
  write(lines: string): void {
    if (this.#buffered.length + lines.length > MAX_BUFFERED || this.#gone) {
      this.#lost++
      return
    }
    this.#buffered += lines
    if (this.#buffered.length >= FLUSH_BYTES) this.#write()
  }

  /** Writes what is buffered; resolves once it is written, or after 2 s. */
  async flush(): Promise<void> {
    if (this.#isEmpty) return
    const flushed = new Promise<void>((resolve) => {
      this.#onFlushed = resolve
    })
    const timer = setTimeout(() => this.#onFlushed?.(), FLUSH_TIMEOUT_MS)
    this.#write()
    await flushed
    clearTimeout(timer)
  }

  /** Writes what is buffered synchronously, when the process exits; does nothing while an earlier write is blocked, since this one would block as well. */
  close(): void {
    clearInterval(this.#timer)
    if (this.#writing || this.#gone) return
    try {
      for (let rest = this.#takeBuffer(); rest.length > 0; ) rest = rest.subarray(writeSync(this.#fd, rest))
    } catch {
      // The process exits, and there is no other place to report this.
    }
  }

  get #isEmpty(): boolean {
    return this.#buffered === '' && this.#rest === undefined && !this.#writing
  }

  #takeBuffer(): Buffer {
    const lostLine = this.#lost === 0 ? '' : this.#lostLine(this.#lost)
    const bytes = this.#rest ?? Buffer.from(lostLine + this.#buffered)
    if (this.#rest === undefined) {
      this.#buffered = ''
      this.#lost = 0
    }
    this.#rest = undefined
    return bytes
  }

  #write(): void {
    if (this.#writing) return
    if (this.#isEmpty) {
      this.#onFlushed?.()
      return
    }
    this.#writing = true
    const bytes = this.#takeBuffer()
    this.#writeBytes(bytes, (error, count) => {
      this.#writing = false
      const failed = error !== null && error !== undefined
      // The rest of a partial write comes first, so that no line is cut.
      const rest = failed ? bytes : bytes.subarray(count)
      if (rest.length > 0) this.#rest = rest
      if (!failed) this.#continue()
      else if (READER_GONE.has(error.code ?? '')) this.#giveUp()
    })
  }

  #continue(): void {
    if (this.#rest !== undefined || this.#buffered.length >= FLUSH_BYTES || this.#onFlushed !== undefined)
      this.#write()
  }

  #giveUp(): void {
    this.#gone = true
    this.#buffered = ''
    this.#rest = undefined
    this.#onFlushed?.()
  }
}

// After these errors no reader will come.
const READER_GONE: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'EBADF', 'ERR_STREAM_DESTROYED'])

/** Returns how to write to a file descriptor without blocking. A pipe is written by the event loop: a thread that is blocked in a write would keep the process from exiting. */
function writerOf(fd: number): Write {
  const stat = fstatSync(fd)
  if (!stat.isFIFO() && !stat.isSocket()) return (bytes, done) => write(fd, bytes, done)
  const stream = fd === 1 ? process.stdout : new Socket({ fd, readable: false, writable: true })
  // Each write reports its own error.
  stream.on('error', () => {})
  return (bytes, done) => void stream.write(bytes, (error) => done(error, bytes.length))
}
