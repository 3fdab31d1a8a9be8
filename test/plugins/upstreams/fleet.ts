import { createServer, type RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { originOf, type Scope } from '../../helpers.ts'

/** Targets that answer with their own number, and do what a test says. */
export interface Fleet {
  readonly urls: string[]
  /** What each answers with; 0 breaks the connection. */
  readonly status: number[]
  /** The requests that each got, the checks of its health left out. */
  readonly hits: number[]
  /** The checks of their health that they got. */
  readonly checks: number[]
  /** The connections that are open to each. */
  readonly sockets: Set<Socket>[]
}

/** Starts some targets on free ports. "/hold" is answered by `hold`, where there is one. */
export async function fleet(t: Scope, count: number, hold?: RequestListener): Promise<Fleet> {
  const status = Array.from({ length: count }, () => 200)
  const hits = status.map(() => 0)
  const checks = status.map(() => 0)
  const sockets = status.map(() => new Set<Socket>())
  const urls = await Promise.all(
    status.map(async (_, i) => {
      const server = createServer((request, response) => {
        const counts = request.url === '/healthz' ? checks : hits
        counts[i] = (counts[i] ?? 0) + 1
        if (request.url === '/hold' && hold !== undefined) return hold(request, response)
        if (status[i] === 0) return void request.socket.destroy()
        response.writeHead(status[i] ?? 200).end(String(i))
      })
      server.on('connection', (socket) => {
        sockets[i]?.add(socket)
        socket.on('close', () => sockets[i]?.delete(socket))
      })
      return originOf(t, server)
    })
  )
  return { urls, status, hits, checks, sockets }
}

/** Every path goes to the upstream "up". */
export const routes = [{ path: '/*', proxy: { upstream: 'up' } }]

/** Asks some times, one after another, and tells the bodies; a refusal is its status. */
export async function askAll(
  app: FastifyInstance,
  times: number,
  headers: Record<string, string> = {}
): Promise<string[]> {
  const bodies: string[] = []
  for (let i = 0; i < times; i++) {
    const { statusCode, body } = await app.inject({ url: '/x', headers })
    bodies.push(statusCode < 400 ? body : String(statusCode))
  }
  return bodies
}

/** Counts how often each text is there. */
export function tally(bodies: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const body of bodies) counts[body] = (counts[body] ?? 0) + 1
  return counts
}

/** Waits until a condition holds of the targets of "up", checking again whenever the health of one changes. */
export async function until(app: FastifyInstance, condition: () => boolean): Promise<void> {
  while (!condition()) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = app.upstream('up').targets.map(({ health }) => health.watch(resolve))
    await promise
    for (const each of stop) each()
  }
}

/** The target of a number. */
export const target = (app: FastifyInstance, at: number): Target => {
  const found = app.upstream('up').targets[at]
  if (found === undefined) throw new Error(`there is no target ${at}`)
  return found
}

type Target = ReturnType<FastifyInstance['upstream']>['targets'][number]
