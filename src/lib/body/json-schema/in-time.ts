import { type Context, createContext, Script } from 'node:vm'

// How long patterns may run in one turn of the event loop, in ms of this thread's CPU; more and the process would not answer others.
const TURN_MS = 50

let left = TURN_MS
let isRunning = false
let context: (Context & { run?: (() => unknown) | undefined }) | undefined

const script = new Script('run()')

/** Thrown where patterns take too long. */
export class PatternTimeout extends RangeError {}

/** Calls a function that matches patterns on the native engine, whose time may be exponential in the length of a text; it may be called again where the machine was busy with something else. Throws PatternTimeout. */
export function inTime<T>(run: () => T): T {
  // The outer call has the time of the inner ones.
  if (isRunning) return run()
  if (left === TURN_MS) setImmediate(beginTurn)
  // What takes too long is ended by a thread, which takes 0.3 ms to start.
  context ??= createContext(Object.create(null))
  context.run = run
  isRunning = true
  try {
    // The time limit of node:vm is one of elapsed time, of which a throttled container gets little CPU time.
    while (left > 0) {
      const began = process.threadCpuUsage()
      try {
        return script.runInContext(context, { timeout: Math.ceil(left) }) as T
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
      } finally {
        const { user, system } = process.threadCpuUsage(began)
        left -= (user + system) / 1000
      }
    }
  } finally {
    isRunning = false
    context.run = undefined
  }
  throw new PatternTimeout('patterns take too long')
}

function beginTurn(): void {
  left = TURN_MS
}
