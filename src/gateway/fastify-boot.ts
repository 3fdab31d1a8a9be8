import { EventEmitter } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { forEachSliced } from '../lib/time-slicing.ts'

type Once = typeof EventEmitter.prototype.once
type After = (this: FastifyInstance, callback?: (error: Error | null, done: () => void) => void) => unknown
type Listener = () => void

/** An instance whose routes are settled later. */
export interface DeferredRoutes {
  readonly app: FastifyInstance
  /** Runs, in slices, what Fastify would run for all routes at once; call it before `ready`. */
  settleRoutes(): Promise<void>
}

/**
 * Makes a Fastify instance whose routes are settled in slices. Fastify registers a plugin for each route, and settles all
 * routes in one event, "preReady", in quadratic time: 10,000 routes block the event loop for two seconds. If a later version
 * of Fastify does neither, nothing is deferred.
 */
export function fastifyWithDeferredRoutes(make: () => FastifyInstance): DeferredRoutes {
  const waiting: Listener[] = []
  const { once } = EventEmitter.prototype
  // Fastify does not expose its boot sequence, which adds this listener to itself while it is created.
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

/** Collects the callbacks that each route passes to `after`: when routes are settled, all plugins are loaded. */
function gatherLoaded(app: FastifyInstance): Listener[] {
  const waiting: Listener[] = []
  const host = app as unknown as { after: After }
  const { after } = host
  // Fastify calls `after` right after the onRoute hooks.
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
