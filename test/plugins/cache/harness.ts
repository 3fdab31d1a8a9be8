import { text } from 'node:stream/consumers'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { writeCacheStatus } from '../../../plugins/cache/cache-status.ts'
import { Flights } from '../../../plugins/cache/coalescing/flights.ts'
import { CacheCounts } from '../../../plugins/cache/counts.ts'
import { type CacheOptions, type CachePolicy, compilePolicy } from '../../../plugins/cache/options.ts'
import { LocalPurges } from '../../../plugins/cache/purges/purges.ts'
import { StoredRoute } from '../../../plugins/cache/route-cache.ts'
import type { CacheParts } from '../../../plugins/cache/stored-responses.ts'
import { MemoryStore } from '../../../plugins/cache/stores/memory.ts'
import { BufferBudget } from '../../../src/lib/buffers.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import type { CacheAnswer, CacheFill, CacheHead, Lookup } from '../../../src/lib/contracts/cache.ts'
import { movableClock } from '../../helpers.ts'

/** The options of a route that says none. */
export const DEFAULTS: CacheOptions = {
  vary: [],
  ignoreQuery: [],
  callers: 'never',
  setCookie: 'never',
  coalesce: true,
  tags: [],
  requestDirectives: false,
  maxEntry: '1mb'
}

/** Makes the policy of a route from some options. */
export const policyOf = (options: Partial<CacheOptions> = {}): CachePolicy =>
  compilePolicy({ ...DEFAULTS, ...options })

/** Stops the clock of this process, so that ages are exact; returns what moves it on, in seconds. */
export function stoppedClock(t: Pick<Test, 'intercept' | 'teardown'>): (seconds: number) => void {
  const { advance } = movableClock(t, Date.parse('2026-11-30T12:00:00Z'))
  return (seconds) => advance(seconds * 1000)
}

/** What an upstream of a test answers; an error for a failed attempt. */
export type Upstream = (
  request: FastifyRequest,
  sets: readonly string[]
) =>
  | (CacheHead & { readonly body?: string | Buffer })
  | Error
  | Promise<CacheHead & { readonly body?: string }>

/** A target with a cache in front of an upstream that is a function. */
export interface Cached {
  readonly app: FastifyInstance
  readonly parts: CacheParts
  /** The requests that the upstream got, and the fields that revalidate. */
  readonly seen: { readonly url: string; readonly sets: readonly string[] }[]
  /** Asks, and tells status, Cache-Status, body and headers. */
  get(url: string, headers?: Record<string, string>, method?: 'GET' | 'HEAD' | 'POST'): Promise<Answer>
}

/** What a client got. */
export interface Answer {
  readonly status: number
  readonly cacheStatus: string
  readonly body: string
  readonly headers: Record<string, unknown>
}

/** Makes the parts that routes share, in memory. */
export const partsOf = (parts: Partial<CacheParts> = {}): CacheParts => ({
  store: new MemoryStore(),
  purges: new LocalPurges(null),
  flights: new Flights(),
  budget: new BufferBudget(),
  counts: new CacheCounts(),
  credentials: () => new Set(),
  ...parts
})

/** Builds a target with a cache; "x-caller" names the caller of a request. */
export function cached(options: Partial<CacheOptions>, upstream: Upstream, shared = partsOf()): Cached {
  const route = new StoredRoute(shared, { name: 'route', parts: ['route'] }, { ...DEFAULTS, ...options })
  const seen: { url: string; sets: readonly string[] }[] = []
  const app = fastify({ exposeHeadRoutes: false })
  app.decorate('trusts', () => false)
  app.decorateRequest('caller', null)
  app.addHook('onRequest', (request, _reply, done) => {
    const id = request.headers['x-caller']
    if (typeof id === 'string')
      request.caller = { id, by: 'test', roles: [], scopes: [], claims: {} } satisfies Caller
    done()
  })

  const ask = async (request: FastifyRequest, fill: CacheFill | undefined): Promise<CacheAnswer> => {
    const sets = fill?.sets ?? []
    seen.push({ url: request.url, sets })
    const response = await upstream(request, sets)
    if (response instanceof Error) {
      const stale = fill?.staleIfError()
      if (stale === undefined) fill?.fail()
      return stale ?? { status: 502, fields: [], body: null, cacheStatus: '' }
    }
    const body = Buffer.from(response.body ?? '')
    const head = fill?.head(response)
    if (head?.kind === 'stored') return head.answer
    fill?.write(body)
    fill?.end()
    if (fill === undefined) route.invalidate(request, response)
    const removed = head?.removes ?? []
    const fields = response.fields.filter((_, i, all) => !removed.includes(all[i - (i % 2)] as string))
    return { status: response.status, fields, body, cacheStatus: head?.cacheStatus ?? '' }
  }

  const answer = async (request: FastifyRequest, lookup: Lookup): Promise<CacheAnswer> => {
    if (lookup.kind === 'hit') {
      if (lookup.refresh !== undefined) await ask(request, lookup.refresh)
      return lookup.answer
    }
    if (lookup.kind === 'fill') return ask(request, lookup.fill)
    if (lookup.kind === 'refuse')
      return { status: 504, fields: [], body: null, cacheStatus: lookup.cacheStatus }
    if (lookup.kind === 'pass') return { ...(await ask(request, undefined)), cacheStatus: lookup.cacheStatus }
    const result = await lookup.follower.wait(5000)
    if (result.kind === 'answer') return result.answer
    if (result.kind === 'fill') return ask(request, result.fill)
    return { status: 504, fields: [], body: null, cacheStatus: writeCacheStatus({ collapsed: true }) }
  }

  app.route({
    method: ['GET', 'HEAD', 'POST'],
    url: '/*',
    async handler(request, reply) {
      const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?')) : ''
      const lookup = await route.lookup(request, { upstream: 'one', query, values: [] })
      const { status, fields, body, cacheStatus } = await answer(request, lookup)
      for (let i = 0; i < fields.length; i += 2)
        if (fields[i] !== 'content-length') reply.header(fields[i] as string, fields[i + 1])
      reply.header('cache-status', cacheStatus).status(status)
      return reply.send(body === null || Buffer.isBuffer(body) ? (body ?? '') : await text(body))
    }
  })
  return {
    app,
    parts: shared,
    seen,
    async get(url, headers = {}, method = 'GET') {
      const response = await app.inject({ url, headers, method })
      return {
        status: response.statusCode,
        cacheStatus: String(response.headers['cache-status']),
        body: response.body,
        headers: response.headers
      }
    }
  }
}
