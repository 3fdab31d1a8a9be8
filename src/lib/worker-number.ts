import cluster from 'node:cluster'

/** The environment variable in which the primary passes a worker its number. */
export const WORKER = 'SALLYPORT_WORKER'

/** Returns the number of this worker; undefined outside of a worker, and in one of another program's cluster, such as PM2. */
export function workerNumber(env: Readonly<Record<string, string | undefined>>): number | undefined {
  if (!cluster.isWorker) return undefined
  const number = Number(env[WORKER])
  return Number.isInteger(number) && number > 0 ? number : undefined
}
