import { workerNumber } from './worker-number.ts'

// Loading takes about 0.7 s. Without a handler, SIGHUP ends Node.js, and the first process of a container gets no
// SIGTERM or SIGINT.
const handlers: Readonly<Partial<Record<NodeJS.Signals, () => void>>> =
  workerNumber(process.env) === undefined
    ? { SIGTERM: exit, SIGINT: exit, SIGHUP: requestReload }
    : // The primary handles a signal to the process group and tells its workers to drain.
      { SIGTERM: ignore, SIGINT: ignore, SIGHUP: ignore }

let caught = false
let reloadRequested = false

/** Handles SIGTERM, SIGINT and SIGHUP until the gateway has started; a second call has no effect. */
export function catchEarlySignals(): void {
  if (caught) return
  caught = true
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler)
}

/** Removes the early handlers once others are in place; returns whether a SIGHUP arrived before. */
export function releaseEarlySignals(): boolean {
  for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler)
  return reloadRequested
}

function exit(): never {
  process.exit(0)
}

function requestReload(): void {
  reloadRequested = true
}

function ignore(): void {}
