import { EventEmitter } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { Breath } from './kit/index.ts'

type Once = typeof EventEmitter.prototype.once
type Listener = () => void

/** An instance, and how to settle its routes before it is ready. */
export interface Sliced {
  readonly app: FastifyInstance
  /** Does for each route what Fastify would do for all of them at a time. */
  settleRoutes(): Promise<void>
}

/** Makes a Fastify instance whose routes are settled in slices. Fastify settles them all in one event, "preReady", whose listeners also take the square of their number to leave (10,000 routes: two seconds in which nobody is answered). Where a later Fastify does otherwise, nothing is gathered here, and nothing is lost. */
export function sliced(make: () => FastifyInstance): Sliced {
  const waiting: Listener[] = []
  const { once } = EventEmitter.prototype
  // Its boot sequence can't be asked for, but listens to itself while it is made.
  EventEmitter.prototype.once = function noticeBoot(this: EventEmitter, event, listener) {
    if (event === 'preReady') this.once = gather(once, waiting)
    return once.call(this, event, listener)
  }
  try {
    return {
      app: make(),
      async settleRoutes() {
        const breath = new Breath()
        for (const settle of waiting.splice(0)) {
          await breath.take()
          settle()
        }
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
