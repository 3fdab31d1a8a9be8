import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import { redact } from '../config/redact.ts'
import { decidingGate } from '../kit/observe.ts'
import type { RequestObserver, UpstreamRequest } from '../lib/contracts/simulation.ts'
import { fieldPairs } from '../lib/http/headers.ts'
import { upgradeOf } from '../lib/http/upgrade.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { explain } from './explain.ts'
import type { Explanation } from './explanation.ts'
import { isSigned } from './signature.ts'

const HEADER = 'sallyport-explain'
const TRACE_HEADER = 'sallyport-trace'

// How many explanations are kept for the admin listener.
const MAX_KEPT = 50
// Retries and legs of one request.
const MAX_UPSTREAM_REQUESTS = 100

/** A signed request while it is handled. */
interface LiveRecording {
  readonly id: string
  readonly method: string
  readonly url: string
  readonly from: string
  readonly headers: readonly (readonly [string, string])[]
  readonly upstreamRequests: UpstreamRequest[]
  request: FastifyRequest | undefined
}

/** An instance in which every gate is traced, and the plan it was built from. */
export interface TracedInstance {
  readonly app: FastifyInstance
  readonly plan: Plan
}

/** Builds an instance like the current one, with `trace` and this observer. */
export type BuildTraced = (observer: RequestObserver) => Promise<TracedInstance>

/** Explains live requests that carry a signature of ADMIN_TOKEN: a second instance handles them, so that others pay nothing. */
export class LiveExplainer implements RequestObserver {
  readonly #key: string
  readonly #build: BuildTraced
  readonly #traced = new WeakMap<FastifyInstance, Promise<TracedInstance>>()
  readonly #recordings = new WeakMap<IncomingMessage, LiveRecording>()
  readonly #kept = new Map<string, Explanation>()

  constructor(key: string, build: BuildTraced) {
    this.#key = key
    this.#build = build
  }

  /** Returns whether a request is to be explained. */
  wants({ headers }: IncomingMessage): boolean {
    const value = headers[HEADER]
    return typeof value === 'string' && isSigned(value, this.#key)
  }

  /** Returns the instance that handles signed requests in place of the current one, built at first use. */
  async instanceFor(current: FastifyInstance): Promise<FastifyInstance> {
    const traced = getOrCreate(this.#traced, current, () => this.#build(this))
    try {
      return (await traced).app
    } catch (error) {
      this.#traced.delete(current)
      throw error
    }
  }

  /** Forgets the instance, which is about to close, and returns it; undefined where none was built. */
  release(current: FastifyInstance): Promise<FastifyInstance> | undefined {
    const traced = this.#traced.get(current)
    this.#traced.delete(current)
    return traced?.then(({ app }) => app)
  }

  /** Begins the explanation of a request: the client gets its id, and the signature goes no further. */
  begin(current: FastifyInstance, request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', socket, rawHeaders } = request
    const headers = fieldPairs(rawHeaders).filter(([name]) => name.toLowerCase() !== HEADER)
    rawHeaders.splice(0, rawHeaders.length, ...headers.flat())
    delete request.headers[HEADER]
    const recording: LiveRecording = {
      id: randomBytes(8).toString('hex'),
      method,
      url: redact(url),
      from: socket.remoteAddress ?? '',
      // HTTP/2 sends the method and the URL as fields that begin with a colon.
      headers: headers.filter(([name]) => !name.startsWith(':')),
      upstreamRequests: [],
      request: undefined
    }
    this.#recordings.set(request, recording)
    response.setHeader(TRACE_HEADER, recording.id)
    const traced = this.#traced.get(current)
    const upgrade = upgradeOf(request)
    const onResponded = (): void => {
      response.off('close', onResponded)
      delete upgrade?.onSwitched
      traced
        ?.then((instance) => this.#keep(instance, recording, response))
        .catch((error: unknown) => current.log.warn({ err: error }, 'request could not be explained'))
    }
    response.on('close', onResponded)
    // A WebSocket may stay open for hours.
    if (upgrade !== undefined) upgrade.onSwitched = onResponded
  }

  onRequest(request: FastifyRequest): void {
    const recording = this.#recordings.get(request.raw)
    if (recording !== undefined) recording.request = request
  }

  onUpstreamRequest(sent: UpstreamRequest, source: FastifyRequest): void {
    const recording = this.#recordings.get(source.raw)
    if (recording === undefined || recording.upstreamRequests.length >= MAX_UPSTREAM_REQUESTS) return
    recording.upstreamRequests.push({ ...sent, gate: decidingGate(source) })
  }

  /** Returns the explanation of a request by its id; undefined where it is not known any more. */
  find(id: string): Explanation | undefined {
    return this.#kept.get(id)
  }

  /** Lists the explained requests, the latest first. */
  list(): ExplainedRequest[] {
    return [...this.#kept]
      .map(([id, { request, verdict, status, code }]) => ({ id, ...request, verdict, status, code }))
      .reverse()
  }

  #keep({ app, plan }: TracedInstance, recording: LiveRecording, response: ServerResponse): void {
    const { id, ...seen } = recording
    const status = response.headersSent ? response.statusCode : undefined
    this.#kept.set(id, explain(app, plan, { ...seen, status, isLive: true, unknown: new Map() }))
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest)
  }
}

/** An explained request in a list. */
export interface ExplainedRequest extends Pick<Explanation, 'verdict' | 'status' | 'code'> {
  readonly id: string
  readonly method: string
  readonly url: string
  readonly from: string
}
