import cluster from 'node:cluster'
import { Channel } from './channel.ts'
import { type Standing, WORKER } from './cluster.ts'
import type { Engine, Reloaded } from './engine.ts'
import { insightOf } from './report.ts'

/** Reads which worker this process is; undefined where it is none. */
export function workerNumber(): number | undefined {
  return cluster.isWorker ? Number(process.env[WORKER]) : undefined
}

/** Starts as a worker; one that can't lets go of the channel, which would keep it alive. */
export async function startAsWorker<T>(start: () => Promise<T>): Promise<T> {
  // Node.js would end a worker at once, and as if all were well, whose channel is closed: what has begun is ended first.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
  try {
    return await start()
  } catch (error) {
    process.disconnect?.()
    throw error
  }
}

/** Serves as a worker: does what the process at the other end of the channel says, and drains where that one is gone. */
export function serveAsWorker(
  engine: Engine,
  number: number,
  { watchesAll, drain }: { watchesAll: boolean; drain(why: string): void }
): void {
  const insight = insightOf(engine, number)
  const standing = (): Standing => ({ files: engine.filesToWatch(watchesAll) })
  const channel = new Channel((message) => process.send?.(message), {
    report: () => insight.report(),
    metrics: () => insight.metrics(),
    config: () => insight.config(),
    drain: () => drain('told to'),
    reload: async (why: string): Promise<{ reloaded: Reloaded; standing: Standing }> => {
      const reloaded = await engine.reload(why)
      return { reloaded, standing: standing() }
    }
  })
  process.on('message', (message) => channel.take(message))
  process.on('disconnect', () => drain('the primary is gone'))
  // A signal to the whole group is for the primary, which tells the workers.
  process.on('SIGTERM', () => {})
  process.on('SIGINT', () => {})
  process.on('SIGHUP', () => {})
  channel.tell('standing', standing())
}
