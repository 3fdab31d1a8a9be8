import cluster from 'node:cluster'
import type { Logger } from 'pino'
import type { ProcessFigures } from '../admin/figures.ts'
import { PastCounts } from '../admin/past-counts.ts'
import type { AdminSource, AdminView, Drained, ProcessReport, Purged } from '../admin/report.ts'
import type { MetricFamily, TargetDrain } from '../lib/contracts/metrics.ts'
import { Locks } from '../lib/locks.ts'
import { WORKER } from '../lib/worker-number.ts'
import { CoalescingQueue } from './coalescing-queue.ts'
import type { Reloaded } from './engine.ts'
import { Channel, type MessageHandlers } from './ipc.ts'
import { workerFlags } from './node-flags.ts'
import type { LockRequest, PeerMessage } from './peers.ts'
import { StartFailed } from './start-failed.ts'
import { makeHandle, send, uptimeOf, type WorkerHandle, type WorkerStatus } from './worker-handle.ts'
import { passLines, type WorkerOutput } from './worker-output.ts'

interface Exit {
  readonly code: number | null
  readonly signal: string | null
  /** How long it accepted requests, in ms. */
  readonly uptime: number
}

// How long to wait for a worker's reply to another worker, in ms.
const PEER_TIMEOUT_MS = 5000

// How long the admin listener waits for a worker to explain a request, which builds a gateway, in ms.
const EXPLAIN_TIMEOUT_MS = 15_000

// How long the admin listener waits for a worker to show its config, in ms.
const CONFIG_TIMEOUT_MS = 500

// The delay before a crashing worker is restarted doubles from the first value to the second, in ms.
const MIN_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 30_000
// A worker with this uptime resets the backoff, in ms.
const HEALTHY_UPTIME_MS = 60_000

/** The workers of a gateway: restarts those that exit, and forwards reloads, drains and admin requests to all. */
export class WorkerPool implements AdminSource {
  readonly #size: number
  readonly #log: Logger
  readonly #output: WorkerOutput
  readonly #workers = new Map<number, WorkerHandle>()
  readonly #restarts = new Map<number, number>()
  readonly #past = new PastCounts()
  readonly #locks = new Locks()
  readonly #reloads = new CoalescingQueue((why) => this.#reload(why))
  /** The level of the log that an operator has set; undefined for that of the settings. */
  #logLevel: string | undefined
  #draining = false
  #onEmpty: (() => void) | undefined

  /** Makes a pool of `size` workers. */
  constructor(size: number, log: Logger, output: WorkerOutput) {
    this.#size = size
    this.#log = log
    this.#output = output
    cluster.setupPrimary({ silent: true, execArgv: workerFlags(process.execArgv) })
  }

  /** Starts the first worker and then the others, which would fail for the same reasons; throws a StartFailed. */
  async start(): Promise<void> {
    await this.#spawn(1)
    const others = Array.from({ length: this.#size - 1 }, (_, i) => this.#spawn(i + 2).catch(() => {}))
    await Promise.all(others)
    this.#log.info({ workers: this.#workers.size }, 'workers started')
  }

  /** Returns the files that trigger a reload when they change. */
  filesToWatch(): readonly string[] {
    return this.#serving[0]?.status?.files ?? []
  }

  /** Reloads the workers one by one, and stops at the first that refuses the config. */
  reload(why: string): Promise<void> {
    return this.#reloads.run(why)
  }

  /** Drains all workers at the same time; resolves to whether each exited with 0. */
  drain(): Promise<boolean> {
    this.#draining = true
    let clean = true
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    for (const { process: worker, channel } of this.#workers.values()) {
      worker.once('exit', (code) => {
        if (code !== 0) clean = false
      })
      // A worker that is still starting is notified again when it reports its status.
      channel.notify('drain')
    }
    if (this.#workers.size === 0) this.#onEmpty?.()
    return empty.then(() => clean)
  }

  /** Kills all workers. */
  kill(): void {
    for (const { process: worker } of this.#workers.values()) worker.process.kill('SIGKILL')
  }

  async reports(): Promise<ProcessReport[]> {
    const reports = await Promise.all(this.#serving.map(({ report }) => report.get()))
    return reports.filter((report) => report !== undefined)
  }

  async metrics(): Promise<MetricFamily[][]> {
    const each = await Promise.all(this.#serving.map(({ metrics }) => metrics.get()))
    return [...each.flatMap((families) => families ?? []), this.#past.families()]
  }

  async figures(): Promise<ProcessFigures[]> {
    const each = await Promise.all(this.#serving.map(({ figures }) => figures.get()))
    return each.flatMap((figures) => figures ?? [])
  }

  config(): Promise<unknown> {
    return this.#requestOne('config', undefined, CONFIG_TIMEOUT_MS)
  }

  async view(view: AdminView): Promise<unknown> {
    if (view.kind === 'explain') return this.#requestOne('view', view, EXPLAIN_TIMEOUT_MS)
    if (view.kind !== 'explained') return this.#requestOne('view', view, CONFIG_TIMEOUT_MS)
    // Each worker has explained other requests.
    const lists = await Promise.all(
      this.#serving.map(({ channel }) => channel.request('view', view, CONFIG_TIMEOUT_MS))
    )
    return lists.flatMap((list) => list ?? [])
  }

  /** One worker purges, and tells the others. */
  async purge(body: unknown): Promise<Purged> {
    return ((await this.#requestOne('purge', body)) as Purged | undefined) ?? { failed: 'silent' }
  }

  /** One worker drains the target, and tells the others. */
  async drainTarget(drain: TargetDrain): Promise<Drained> {
    return ((await this.#requestOne('drainTarget', drain)) as Drained | undefined) ?? 'silent'
  }

  async setLogLevel(level: string): Promise<void> {
    this.#logLevel = level
    this.#log.level = level
    for (const { channel } of this.#serving) channel.notify('logLevel', level)
  }

  /** Sends a request to one worker after the other until one responds; resolves to undefined where none does. */
  async #requestOne(name: string, value: unknown, timeout = PEER_TIMEOUT_MS): Promise<unknown> {
    for (const { channel } of this.#serving) {
      const response = await channel.request(name, value, timeout)
      if (response !== undefined) return response
    }
    return undefined
  }

  /** The workers that accept requests, the oldest first. */
  get #serving(): WorkerHandle[] {
    return [...this.#workers.values()].filter(({ status }) => status !== undefined)
  }

  /** Starts a worker; resolves once it accepts requests, rejects with a StartFailed where it exits first. */
  #spawn(number: number): Promise<void> {
    const process = cluster.fork({ ...this.#output.variables, [WORKER]: String(number) })
    const started = Promise.withResolvers<void>()
    return new Promise((resolve, reject) => {
      const channel = new Channel((message) => send(process, message), {
        ...this.#peerHandlers(number),
        status: (status: WorkerStatus) => {
          worker.status = status
          started.resolve()
          resolve()
          if (this.#logLevel !== undefined) channel.notify('logLevel', this.#logLevel)
          if (this.#draining) channel.notify('drain')
        }
      })
      const worker = makeHandle({ number, process, channel, started: started.promise }, this.#log)
      this.#workers.set(number, worker)
      process.on('message', (message) => channel.receive(message))
      passLines(process.process.stdout, this.#output.pass)
      process.process.stderr?.pipe(globalThis.process.stderr, { end: false })
      process.once('exit', (code, signal) => {
        this.#forget(worker)
        started.resolve()
        if (this.#draining) {
          if (this.#workers.size === 0) this.#onEmpty?.()
        } else if (signal === 'SIGHUP' && worker.status === undefined) {
          // The signal came to the whole process group before the worker could handle it.
          this.#spawn(number).then(resolve, reject)
          return
        } else if (worker.status !== undefined || number !== 1 || this.#restarts.has(number))
          this.#restart(number, { code, signal, uptime: uptimeOf(worker) })
        reject(new StartFailed(code ?? 1))
      })
    })
  }

  #peerHandlers(number: number): MessageHandlers {
    return {
      broadcast: (message: PeerMessage) => this.#broadcast(message, number),
      lock: ({ name, ms }: LockRequest) => this.#locks.acquire(name, number, ms),
      unlock: (name: string) => this.#locks.release(name, number),
      // The worker that has served for longest knows most.
      catchUp: () => this.#serving[0]?.channel.request('snapshot', undefined, PEER_TIMEOUT_MS)
    }
  }

  /** Sends a worker's message to the others; resolves once all of them have it. */
  async #broadcast(message: PeerMessage, from: number): Promise<void> {
    const others = [...this.#workers.values()].filter(({ number }) => number !== from)
    await Promise.all(others.map(({ channel }) => channel.request('peerMessage', message, PEER_TIMEOUT_MS)))
  }

  /** Removes a worker that has exited; its counts remain. */
  #forget({ number, channel, metrics }: WorkerHandle): void {
    channel.close()
    this.#workers.delete(number)
    this.#past.add(metrics.last?.flat() ?? [])
    this.#locks.releaseAll(number)
  }

  /** Replaces a worker that has exited, with a backoff where that happens repeatedly. */
  #restart(number: number, { code, signal, uptime }: Exit): void {
    const restarts = uptime > HEALTHY_UPTIME_MS ? 1 : (this.#restarts.get(number) ?? 0) + 1
    this.#restarts.set(number, restarts)
    const wait = restarts === 1 ? 0 : Math.min(MIN_BACKOFF_MS * 2 ** (restarts - 2), MAX_BACKOFF_MS)
    this.#log.error({ worker: number, code, signal, wait }, 'worker exited, restarting')
    setTimeout(() => {
      if (!this.#draining) this.#spawn(number).catch(() => {})
    }, wait)
  }

  async #reload(why: string): Promise<void> {
    let taken = 0
    for (const worker of [...this.#workers.values()]) {
      // A worker that is still starting may have read the old config.
      await worker.started
      if (this.#draining) return
      const response = (await worker.channel.request('reload', why)) as
        | { reloaded: Reloaded; status: WorkerStatus }
        | undefined
      // It has exited meanwhile; its replacement reads the new config.
      if (response === undefined) continue
      worker.status = response.status
      if (response.reloaded.outcome === 'refused') {
        if (taken > 0)
          this.#log.error(
            { worker: worker.number, taken },
            'reload refused by one worker and taken by others, configs differ until the next reload'
          )
        return
      }
      taken++
    }
  }
}
