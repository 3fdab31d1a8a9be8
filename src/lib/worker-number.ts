import cluster from 'node:cluster'

/** The environment variable by which the primary numbers its workers. */
export const WORKER = 'SALLYPORT_WORKER'

/** Reads which worker of a gateway this process is; undefined in a worker of another program's cluster, such as PM2. */
export function workerNumber(env: Readonly<Record<string, string | undefined>>): number | undefined {
  if (!cluster.isWorker) return undefined
  const number = Number(env[WORKER])
  return Number.isInteger(number) && number > 0 ? number : undefined
}
