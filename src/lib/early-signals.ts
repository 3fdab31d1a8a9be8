import { workerNumber } from './worker-number.ts'

// Loading takes some 0.7 s. Node.js ends at a SIGHUP without a handler, and the first process of a container
// gets no signal that it has no handler for.
const handlers: Readonly<Partial<Record<NodeJS.Signals, () => void>>> =
  workerNumber(process.env) === undefined
    ? { SIGTERM: endAtOnce, SIGINT: endAtOnce, SIGHUP: noteReload }
    : // A signal to the whole group is for the primary, which asks its workers to drain.
      { SIGTERM: ignore, SIGINT: ignore, SIGHUP: ignore }

let caught = false
let reloadWanted = false

/** Handles SIGTERM, SIGINT and SIGHUP until the gateway has begun; calling it again changes nothing. */
export function catchEarlySignals(): void {
  if (caught) return
  caught = true
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler)
}

/** Removes the early handlers, once others are in place; returns whether a SIGHUP came meanwhile. */
export function releaseEarlySignals(): boolean {
  for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler)
  return reloadWanted
}

function endAtOnce(): never {
  process.exit(0)
}

function noteReload(): void {
  reloadWanted = true
}

function ignore(): void {}
