import cluster from 'node:cluster'
import { adminSourceOf } from '../admin/report.ts'
import type { Engine, Reloaded } from './engine.ts'
import { type Answers, Channel } from './ipc.ts'
import { type Told, WorkerPeers } from './peers.ts'
import type { Standing } from './primary.ts'

/** A worker's side of the channel to the primary. */
export class WorkerLink {
  readonly peers: WorkerPeers
  readonly #channel: Channel
  readonly #answers: Record<string, Answers[string]> = {}
  // What to do where the primary is gone: nothing has begun yet.
  #alone: () => void = () => process.exit(0)

  /** Takes part; messages that come before anybody can do what they say are as good as lost, but for what peers tell. */
  constructor() {
    this.#channel = new Channel((message) => process.send?.(message), this.#answers)
    this.peers = new WorkerPeers(this.#channel)
    this.#answers['told'] = (told: Told) => this.peers.take(told)
    this.#answers['all'] = () => this.peers.all()
    process.on('message', (message) => this.#channel.take(message))
    process.on('disconnect', () => {
      this.#channel.close()
      this.#alone()
    })
  }

  /** Starts what the worker does; one that can't lets go of the channel, which would keep it alive. */
  async start<T>(start: () => Promise<T>): Promise<T> {
    // Node.js would end a worker at once, and as if all were well, whose channel is closed: what has begun is ended first.
    if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
    try {
      return await start()
    } catch (error) {
      this.#alone = () => {}
      process.disconnect?.()
      throw error
    }
  }

  /** Serves: does what the primary says, and drains where that one is gone. */
  serve(
    engine: Engine,
    number: number,
    { watchesAll, drain }: { watchesAll: boolean; drain(why: string): void }
  ): void {
    const insight = adminSourceOf(engine, number)
    const standing = (): Standing => ({ files: engine.filesToWatch(watchesAll) })
    Object.assign(this.#answers, {
      report: () => insight.report(),
      metrics: () => insight.metrics(),
      config: () => insight.config(),
      drain: () => drain('told to'),
      reload: async (why: string): Promise<{ reloaded: Reloaded; standing: Standing }> => {
        const reloaded = await engine.reload(why)
        return { reloaded, standing: standing() }
      }
    })
    this.#alone = () => drain('the primary is gone')
    this.#channel.tell('standing', standing())
  }
}
