import type { Worker } from 'node:cluster'
import type { Logger } from 'pino'
import type { ProcessFigures } from '../admin/figures.ts'
import type { ProcessReport } from '../admin/report.ts'
import { monotonic } from '../lib/clock.ts'
import type { MetricFamily } from '../lib/contracts/metrics.ts'
import type { Channel } from './ipc.ts'
import { LastResponse } from './last-response.ts'

/** What a worker reports once it accepts requests, and after each reload. */
export interface WorkerStatus {
  /** The files that trigger a reload when they change. */
  readonly files: readonly string[]
}

/** A worker as the pool sees it. */
export interface WorkerHandle {
  readonly number: number
  readonly process: Worker
  readonly channel: Channel
  /** When it was forked, by the monotonic clock. */
  readonly forkedAt: number
  /** Resolves once it accepts requests, or has exited. */
  readonly started: Promise<void>
  readonly report: LastResponse<ProcessReport>
  readonly metrics: LastResponse<MetricFamily[][]>
  readonly figures: LastResponse<ProcessFigures[]>
  /** undefined until it accepts requests. */
  status: WorkerStatus | undefined
}

/** Makes the handle of a worker that has just been forked. */
export function makeHandle(
  forked: Pick<WorkerHandle, 'number' | 'process' | 'channel' | 'started'>,
  log: Logger
): WorkerHandle {
  const { number, channel } = forked
  const onTimeout = (): void =>
    log.warn({ worker: number }, 'worker not responding, showing its last known figures')
  return {
    ...forked,
    forkedAt: monotonic(),
    report: new LastResponse(() => channel.request('report'), onTimeout),
    metrics: new LastResponse(() => channel.request('metrics'), onTimeout),
    figures: new LastResponse(() => channel.request('figures'), onTimeout),
    status: undefined
  }
}

/** Returns how long a worker has accepted requests, in ms. */
export const uptimeOf = ({ status, forkedAt }: WorkerHandle): number =>
  status === undefined ? 0 : monotonic() - forkedAt

/** Sends a message to a worker. */
export function send(worker: Worker, message: object): void {
  // A worker that is exiting accepts no messages; its 'exit' event is handled.
  if (worker.isConnected()) worker.send(message, () => {})
}
