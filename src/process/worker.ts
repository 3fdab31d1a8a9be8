import cluster from 'node:cluster'
import { type AdminView, adminSourceOf } from '../admin/report.ts'
import type { TargetDrain } from '../lib/contracts/metrics.ts'
import type { Engine, Reloaded } from './engine.ts'
import { Channel, type MessageHandlers } from './ipc.ts'
import { type PeerMessage, WorkerPeers } from './peers.ts'
import type { WorkerStatus } from './worker-handle.ts'

/** A worker's side of the channel to the primary. */
export class WorkerLink {
  readonly peers: WorkerPeers
  readonly #channel: Channel
  readonly #handlers: Record<string, MessageHandlers[string]> = {}
  // What to do when the primary is gone; before `serve` there is nothing to drain.
  #onPrimaryGone: () => void = () => process.exit(0)

  /** Opens the channel. Messages that arrive before `serve` are dropped, except those of peers. */
  constructor() {
    this.#channel = new Channel((message) => process.send?.(message), this.#handlers)
    this.peers = new WorkerPeers(this.#channel)
    this.#handlers['peerMessage'] = (message: PeerMessage) => this.peers.receive(message)
    this.#handlers['snapshot'] = () => this.peers.snapshot()
    process.on('message', (message) => this.#channel.receive(message))
    process.on('disconnect', () => {
      this.#channel.close()
      this.#onPrimaryGone()
    })
  }

  /** Runs the start of the worker; where that fails, closes the channel, which would keep the process alive. */
  async start<T>(start: () => Promise<T>): Promise<T> {
    // Without this flag Node.js exits a worker with code 0 as soon as its channel closes, before it could drain.
    if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
    try {
      return await start()
    } catch (error) {
      this.#onPrimaryGone = () => {}
      process.disconnect?.()
      throw error
    }
  }

  /** Handles the primary's requests, and drains when the primary is gone. */
  serve(
    engine: Engine,
    number: number,
    { watchesAll, drain }: { watchesAll: boolean; drain(why: string): void }
  ): void {
    const source = adminSourceOf(engine, number)
    const status = (): WorkerStatus => ({ files: engine.filesToWatch(watchesAll) })
    Object.assign(this.#handlers, {
      report: () => source.report(),
      metrics: () => source.metrics(),
      config: () => source.config(),
      figures: () => source.figures(),
      view: (view: AdminView) => source.view(view),
      purge: (body: unknown) => source.purge(body),
      drainTarget: (drain: TargetDrain) => source.drainTarget(drain),
      logLevel: (level: string) => source.setLogLevel(level),
      drain: () => drain('the primary is draining'),
      reload: async (why: string): Promise<{ reloaded: Reloaded; status: WorkerStatus }> => {
        const reloaded = await engine.reload(why)
        return { reloaded, status: status() }
      }
    })
    this.#onPrimaryGone = () => drain('the primary is gone')
    this.#channel.notify('status', status())
  }
}
