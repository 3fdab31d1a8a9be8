import { EventEmitter } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { forEachSliced } from '../lib/time-slicing.ts'

type Once = typeof EventEmitter.prototype.once
type After = (this: FastifyInstance, callback?: (error: Error | null, done: () => void) => void) => unknown
type Listener = () => void

/** An instance, and how to settle its routes before it is ready. */
export interface DeferredRoutes {
  readonly app: FastifyInstance
  /** Does for each route what Fastify would do for all of them at a time. */
  settleRoutes(): Promise<void>
}

/** Makes a Fastify instance whose routes are settled in slices. Fastify makes a plugin of each route that waits for those before it (half of what a route costs at boot), and settles them all in one event, "preReady", whose listeners also take the square of their number to leave (10,000 routes: two seconds in which nobody is answered). Where a later Fastify does otherwise, nothing is gathered here, and nothing is lost. */
export function fastifyWithDeferredRoutes(make: () => FastifyInstance): DeferredRoutes {
  const waiting: Listener[] = []
  const { once } = EventEmitter.prototype
  // Its boot sequence can't be asked for, but listens to itself while it is made.
  EventEmitter.prototype.once = function noticeBoot(this: EventEmitter, event, listener) {
    if (event === 'preReady') this.once = gather(once, waiting)
    return once.call(this, event, listener)
  }
  try {
    const app = make()
    const loaded = gatherLoaded(app)
    return {
      app,
      async settleRoutes() {
        for (const queue of [loaded, waiting]) await forEachSliced(queue.splice(0), (settle) => settle())
      }
    }
  } finally {
    EventEmitter.prototype.once = once
  }
}

const gather = (once: Once, waiting: Listener[]): Once =>
  function gatherRoutes(this: EventEmitter, event, listener) {
    if (event !== 'preReady') return once.call(this, event, listener)
    waiting.push(listener as Listener)
    return this
  }

/** Gathers what each route wants done once the plugins before it are loaded: all of them are when routes are settled. */
function gatherLoaded(app: FastifyInstance): Listener[] {
  const waiting: Listener[] = []
  const host = app as unknown as { after: After }
  const { after } = host
  // Fastify asks for it right behind the hooks that are told of a route.
  let due = false
  app.addHook('onRoute', function expectAfter() {
    due = true
  })
  host.after = function gatherAfter(callback) {
    if (!due || callback?.length !== 2) return after.call(this, callback)
    due = false
    waiting.push(() => callback(null, () => {}))
    return this
  }
  return waiting
}
