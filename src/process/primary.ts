import cluster, { type Worker } from 'node:cluster'
import type { Readable } from 'node:stream'
import type { Logger } from 'pino'
import { PastCounts } from '../admin/past-counts.ts'
import type { AdminSource, ProcessReport } from '../admin/report.ts'
import { monotonic } from '../lib/clock.ts'
import type { MetricFamily } from '../lib/contracts/metrics.ts'
import { Locks } from '../lib/locks.ts'
import { WORKER } from '../lib/worker-number.ts'
import { CoalescingQueue } from './coalescing-queue.ts'
import type { Reloaded } from './engine.ts'
import { Channel } from './ipc.ts'
import { workerFlags } from './node-flags.ts'
import type { LockAsked, Told } from './peers.ts'

/** What a worker says once it takes requests, and after each reload. */
export interface Standing {
  /** The files that call for a reload when they change. */
  readonly files: readonly string[]
}

interface WorkerHandle {
  readonly number: number
  readonly process: Worker
  readonly channel: Channel
  /** Settles once it takes requests, or is gone. */
  readonly begun: Promise<void>
  readonly report: LastAnswer<ProcessReport>
  readonly metrics: LastAnswer<MetricFamily[][]>
  standing: Standing | undefined
}

/** The first worker could not start; what it has to say is on stderr. */
export class StartFailed extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super('a worker could not start')
    this.exitCode = exitCode
  }
}

// How long nobody waits for a worker that says nothing, in milliseconds.
const PATIENCE = 5000

// How long the admin listener waits for a worker that may hang, in milliseconds.
const ADMIN_PATIENCE = 500

// A worker that dies again and again is started after a while that doubles, in milliseconds.
const FIRST_WAIT = 100
const LONGEST_WAIT = 30_000
// One that lived for so long has done well.
const LIVED_WELL = 60_000

/** The workers of a gateway: keeps so many alive, and hands on to them what this process is told. */
export class WorkerPool implements AdminSource {
  readonly #size: number
  readonly #log: Logger
  readonly #pass: (lines: string) => void
  readonly #members = new Map<number, WorkerHandle>()
  readonly #deaths = new Map<number, number>()
  readonly #past = new PastCounts()
  readonly #locks = new Locks()
  readonly #reloading = new CoalescingQueue((why) => this.#reload(why))
  #draining = false
  #over: (() => void) | undefined

  /** Makes a fleet of so many; `pass` takes the lines that they log. */
  constructor(size: number, log: Logger, pass: (lines: string) => void) {
    this.#size = size
    this.#log = log
    this.#pass = pass
    cluster.setupPrimary({ silent: true, execArgv: workerFlags(process.execArgv) })
  }

  /** Starts the workers: the first alone, since what it can't do no other one can; throws a StartFailed. */
  async start(): Promise<void> {
    await this.#hire(1)
    const others = Array.from({ length: this.#size - 1 }, (_, i) => this.#hire(i + 2).catch(() => {}))
    await Promise.all(others)
    this.#log.info({ workers: this.#members.size }, 'the workers serve')
  }

  /** The files that call for a reload when they change. */
  filesToWatch(): readonly string[] {
    return this.#first?.standing?.files ?? []
  }

  /** Reloads the workers one by one, and stops at the first that refuses. */
  reload(why: string): Promise<void> {
    return this.#reloading.run(why)
  }

  /** Lets the workers drain, all at a time; true where each ended by itself. */
  drain(): Promise<boolean> {
    this.#draining = true
    let clean = true
    const all = new Promise<void>((resolve) => {
      this.#over = resolve
    })
    for (const { process: worker, channel } of this.#members.values()) {
      worker.once('exit', (code) => {
        if (code !== 0) clean = false
      })
      // One that only begins is told so then.
      channel.tell('drain')
    }
    if (this.#members.size === 0) this.#over?.()
    return all.then(() => clean)
  }

  /** Ends the workers at once. */
  kill(): void {
    for (const { process: worker } of this.#members.values()) worker.process.kill('SIGKILL')
  }

  async reports(): Promise<ProcessReport[]> {
    const reports = await Promise.all(this.#serving.map(({ report }) => report.get()))
    return reports.filter((report) => report !== undefined)
  }

  async metrics(): Promise<MetricFamily[][]> {
    const each = await Promise.all(this.#serving.map(({ metrics }) => metrics.get()))
    return [...each.flatMap((families) => families ?? []), this.#past.families()]
  }

  async config(): Promise<unknown> {
    for (const { channel } of this.#serving) {
      const config = await channel.ask('config', undefined, ADMIN_PATIENCE)
      if (config !== undefined) return config
    }
    return undefined
  }

  /** Hands on what one worker tells; settles once all others have it. */
  async #tell(told: Told, from: number): Promise<void> {
    const others = [...this.#members.values()].filter(({ number }) => number !== from)
    await Promise.all(others.map(({ channel }) => channel.ask('told', told, PATIENCE)))
  }

  get #first(): WorkerHandle | undefined {
    return [...this.#members.values()].find(({ standing }) => standing !== undefined)
  }

  get #serving(): WorkerHandle[] {
    return [...this.#members.values()].filter(({ standing }) => standing !== undefined)
  }

  async #reload(why: string): Promise<void> {
    let taken = 0
    for (const member of [...this.#members.values()]) {
      // What it begins with may be older than what it is to take.
      await member.begun
      if (this.#draining) return
      const answer = (await member.channel.ask('reload', why)) as
        | { reloaded: Reloaded; standing: Standing }
        | undefined
      // It died meanwhile; whoever comes in its place reads the config of now.
      if (answer === undefined) continue
      member.standing = answer.standing
      if (answer.reloaded.outcome === 'refused') {
        if (taken > 0)
          this.#log.error(
            { worker: member.number, taken },
            'a worker has refused the config that others took; they differ until the next reload'
          )
        return
      }
      taken++
    }
  }

  /** Starts a worker; settles once it takes requests. */
  #hire(number: number): Promise<void> {
    const began = monotonic()
    const worker = cluster.fork({ [WORKER]: String(number) })
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    return new Promise((resolve, reject) => {
      const channel = new Channel((message) => send(worker, message), {
        standing: (standing: Standing) => {
          member.standing = standing
          begin()
          resolve()
          if (this.#draining) channel.tell('drain')
        },
        tellOthers: (told: Told) => this.#tell(told, number),
        lock: ({ name, ms }: LockAsked) => this.#locks.take(name, number, ms),
        unlock: (name: string) => this.#locks.free(name, number),
        // Whoever has served for longest knows most.
        catchUp: () => this.#first?.channel.ask('all', undefined, PATIENCE)
      })
      const silent = (): void =>
        this.#log.warn({ worker: number }, 'a worker does not answer; its last known figures are shown')
      const member: WorkerHandle = {
        number,
        process: worker,
        channel,
        begun,
        report: new LastAnswer(() => channel.ask('report'), silent),
        metrics: new LastAnswer(() => channel.ask('metrics'), silent),
        standing: undefined
      }
      this.#members.set(number, member)
      worker.on('message', (message) => channel.take(message))
      passLines(worker.process.stdout, this.#pass)
      worker.process.stderr?.pipe(process.stderr, { end: false })
      worker.once('exit', (code, signal) => {
        channel.close()
        begin()
        this.#members.delete(number)
        this.#past.add(member.metrics.last?.flat() ?? [])
        this.#locks.freeAll(number)
        const served = member.standing !== undefined
        if (this.#draining) {
          if (this.#members.size === 0) this.#over?.()
        } else if (signal === 'SIGHUP' && !served) {
          // It came to the whole group before the worker could handle it.
          this.#hire(number).then(resolve, reject)
          return
        } else if (served || number !== 1 || this.#deaths.has(number))
          this.#replace(number, { code, signal, lived: served ? monotonic() - began : 0 })
        reject(new StartFailed(code ?? 1))
      })
    })
  }

  /** Puts a worker in the place of one that died, after a while where that happens often. */
  #replace(number: number, { code, signal, lived }: { code: number; signal: string; lived: number }): void {
    const deaths = lived > LIVED_WELL ? 1 : (this.#deaths.get(number) ?? 0) + 1
    this.#deaths.set(number, deaths)
    const wait = deaths === 1 ? 0 : Math.min(FIRST_WAIT * 2 ** (deaths - 2), LONGEST_WAIT)
    this.#log.error({ worker: number, code, signal, wait }, 'a worker died; another one takes its place')
    setTimeout(() => {
      if (!this.#draining) this.#hire(number).catch(() => {})
    }, wait)
  }
}

/** The last answer of a worker to a question of the admin listener. */
class LastAnswer<T> {
  readonly #ask: () => Promise<unknown>
  readonly #silent: () => void
  #asking: Promise<void> | undefined
  #last: T | undefined
  #isSilent = false

  /** Makes one from what asks the worker; `silent` is called when no answer comes in time, once until one does. */
  constructor(ask: () => Promise<unknown>, silent: () => void) {
    this.#ask = ask
    this.#silent = silent
  }

  get last(): T | undefined {
    return this.#last
  }

  /** Asks anew, and returns the last known answer where none comes in time; a worker that hangs has one question to answer, however often it is asked. */
  async get(): Promise<T | undefined> {
    this.#asking ??= this.#ask().then((answer) => {
      this.#asking = undefined
      this.#isSilent = false
      if (answer !== undefined) this.#last = answer as T
    })
    const late = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => late.resolve(true), ADMIN_PATIENCE)
    const isLate = await Promise.race([this.#asking.then(() => false), late.promise])
    clearTimeout(timer)
    if (isLate && !this.#isSilent) {
      this.#isSilent = true
      this.#silent()
    }
    return this.#last
  }
}

function send(worker: Worker, message: object): void {
  // One that dies takes no more messages; its end is seen elsewhere.
  if (worker.isConnected()) worker.send(message, () => {})
}

/** Hands on the lines of a stream, whole ones alone: several workers write to one log. */
function passLines(stream: Readable | null, pass: (lines: string) => void): void {
  let rest: Buffer[] = []
  stream?.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(10) + 1
    if (end > 0) {
      pass(Buffer.concat([...rest, chunk.subarray(0, end)]).toString())
      rest = []
    }
    if (end < chunk.length) rest.push(chunk.subarray(end))
  })
  stream?.on('end', () => {
    if (rest.length > 0) pass(`${Buffer.concat(rest).toString()}\n`)
  })
}
