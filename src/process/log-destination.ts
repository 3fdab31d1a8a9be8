import { fstatSync, write, writeSync } from 'node:fs'
import { Socket } from 'node:net'

// Lines are gathered and written together: a write a line is the dearest part of a log.
const GATHERED = 32_768
const WRITE_EVERY = 200

// How much waits at most for a reader that takes nothing; what comes after that is lost, and counted.
const MOST_HELD = 8_388_608

// How long the last lines may take at the end of a process, in milliseconds.
const LAST_WORDS = 2000

type Write = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, count: number) => void
) => void

/** Writes the lines of a log to a file descriptor: never waits for its reader, and goes on where it is blocked, full or gone. What it can't take any more is lost, counted, and told of in a line of its own. */
export class Sink {
  readonly #fd: number
  readonly #put: Write
  readonly #tell: (lost: number) => string
  #held = ''
  #rest: Buffer | undefined
  #writing = false
  #lost = 0
  #gone = false
  #written: (() => void) | undefined
  readonly #timer: NodeJS.Timeout

  /** Opens it on a file descriptor; `tell` makes the line that says how many were lost. */
  constructor(fd: number, tell: (lost: number) => string) {
    this.#fd = fd
    this.#put = writerOf(fd)
    this.#tell = tell
    this.#timer = setInterval(() => this.#write(), WRITE_EVERY)
    this.#timer.unref()
  }

  /** Takes whole lines. */
  write(lines: string): void {
    if (this.#held.length + lines.length > MOST_HELD || this.#gone) {
      this.#lost++
      return
    }
    this.#held += lines
    if (this.#held.length >= GATHERED) this.#write()
  }

  /** Writes what is held; settles once it is written, or a while later if nobody takes it. */
  async flush(): Promise<void> {
    if (this.#isEmpty) return
    const written = new Promise<void>((resolve) => {
      this.#written = resolve
    })
    const late = setTimeout(() => this.#written?.(), LAST_WORDS)
    this.#write()
    await written
    clearTimeout(late)
  }

  /** Writes what is held at once, for the very end of a process; nothing where a write before it has not come back, for it would not either. */
  close(): void {
    clearInterval(this.#timer)
    if (this.#writing || this.#gone) return
    try {
      for (let rest = this.#take(); rest.length > 0; ) rest = rest.subarray(writeSync(this.#fd, rest))
    } catch {
      // There is nobody left to tell.
    }
  }

  get #isEmpty(): boolean {
    return this.#held === '' && this.#rest === undefined && !this.#writing
  }

  #take(): Buffer {
    const lost = this.#lost === 0 ? '' : this.#tell(this.#lost)
    const taken = this.#rest ?? Buffer.from(lost + this.#held)
    if (this.#rest === undefined) {
      this.#held = ''
      this.#lost = 0
    }
    this.#rest = undefined
    return taken
  }

  #write(): void {
    if (this.#writing) return
    if (this.#isEmpty) {
      this.#written?.()
      return
    }
    this.#writing = true
    const bytes = this.#take()
    this.#put(bytes, (error, count) => {
      this.#writing = false
      const failed = error !== null && error !== undefined
      // A line is written whole or not at all: what is left of it comes first, whenever there is room again.
      const rest = failed ? bytes : bytes.subarray(count)
      if (rest.length > 0) this.#rest = rest
      if (!failed) this.#goOn()
      else if (GONE.has(error.code ?? '')) this.#giveUp()
    })
  }

  #goOn(): void {
    if (this.#rest !== undefined || this.#held.length >= GATHERED || this.#written !== undefined)
      this.#write()
  }

  #giveUp(): void {
    this.#gone = true
    this.#held = ''
    this.#rest = undefined
    this.#written?.()
  }
}

// There is no reader any more, and none will come.
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'EBADF', 'ERR_STREAM_DESTROYED'])

/** Finds how to write to a file descriptor without waiting: a pipe by the event loop, since a thread that is stuck in a write would keep the process from ending. */
function writerOf(fd: number): Write {
  const kind = fstatSync(fd)
  if (!kind.isFIFO() && !kind.isSocket()) return (bytes, done) => write(fd, bytes, done)
  const stream = fd === 1 ? process.stdout : new Socket({ fd, readable: false, writable: true })
  // Each write is told of its own failure.
  stream.on('error', () => {})
  return (bytes, done) => void stream.write(bytes, (error) => done(error, bytes.length))
}
