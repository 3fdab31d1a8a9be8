import { type Context, createContext, Script } from 'node:vm'

// How long patterns may run in one turn of the event loop, in ms; more and the process would not answer others.
const TURN_MS = 50

let left = TURN_MS
let context: (Context & { run?: (() => unknown) | undefined }) | undefined

const script = new Script('run()')

/** Thrown where patterns take too long. */
export class PatternTimeout extends RangeError {}

/** Calls a function that matches patterns on the native engine, whose time may be exponential in the length of a text; throws PatternTimeout. */
export function inTime<T>(run: () => T): T {
  if (left <= 0) throw new PatternTimeout('no time is left for patterns')
  if (left === TURN_MS) setImmediate(beginTurn)
  const began = performance.now()
  // What takes too long is ended by a thread, which takes 0.3 ms to start.
  context ??= createContext(Object.create(null))
  context.run = run
  try {
    return script.runInContext(context, { timeout: Math.ceil(left) }) as T
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new PatternTimeout('patterns take too long')
  } finally {
    left -= performance.now() - began
    context.run = undefined
  }
}

function beginTurn(): void {
  left = TURN_MS
}
