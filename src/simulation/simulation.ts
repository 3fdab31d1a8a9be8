import { once } from 'node:events'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { pino } from 'pino'
import type { Plan } from '../config/plan-types.ts'
import { buildGateway } from '../gateway/build.ts'
import { Resources } from '../gateway/resources.ts'
import { decidingGate } from '../kit/observe.ts'
import type { Caller } from '../lib/caller.ts'
import type {
  AcceptedIssuer,
  SimulatedResponse,
  Simulation,
  UpstreamCall
} from '../lib/contracts/simulation.ts'
import { serveUnbound, type Unbound } from '../server/server.ts'
import { requestBytes, splitUrl, type WrittenRequest } from './request-bytes.ts'
import { isSwitched, type ReceivedResponse, readResponse } from './response-bytes.ts'
import { simulatedConnection } from './socket.ts'

/** A request to a simulated gateway. */
export interface SimulatedRequest extends WrittenRequest {
  /** The IP address of the client. */
  readonly from: string
  /** Returns who stands in for the result of an authentication strategy; undefined where the strategy itself runs. */
  readonly callerFor?: ((strategy: string, request: FastifyRequest) => Caller | null | undefined) | undefined
}

/** What became of a simulated request. */
export interface SimulatedOutcome {
  /** undefined where the connection closed without one. */
  readonly response: ReceivedResponse | undefined
  /** The request as the gateway saw it; undefined where its bytes were no valid request. */
  readonly request: FastifyRequest | undefined
  /** The requests to upstreams, in their order. */
  readonly calls: readonly UpstreamCall[]
}

/** Returns what an upstream sends for a request. */
export type Responder = (call: UpstreamCall) => SimulatedResponse

/** What a simulated gateway shares with the one before it, and what it leaves out. */
export interface SimulationOptions {
  /** The state that outlives a reload. */
  readonly resources?: Resources
  /** Returns whether the gates of a concern do not run; by default all run. */
  readonly leavesOut?: (key: string) => boolean
  /** Returns the JSON Web Key Set that stands in for that of every issuer; by default it is fetched. */
  readonly keySet?: () => Promise<string>
}

/** A gateway without sockets: its connections are in memory, its upstreams are simulated, and all gates are traced. */
export class SimulatedGateway {
  readonly app: FastifyInstance
  readonly plan: Plan
  readonly #server: Unbound
  readonly #world: World

  private constructor(app: FastifyInstance, plan: Plan, world: World) {
    this.app = app
    this.plan = plan
    this.#world = world
    this.#server = serveUnbound(app, SILENT)
  }

  /** Builds a gateway from a plan; `respond` stands in for the upstreams. */
  static async open(
    plan: Plan,
    respond: Responder,
    { resources = new Resources(), leavesOut = () => false, keySet }: SimulationOptions = {}
  ): Promise<SimulatedGateway> {
    const world = new World(respond, { leavesOut, keySet })
    const app = await buildGateway(plan, resources, SILENT, { trace: true, simulation: world })
    return new SimulatedGateway(app, plan, world)
  }

  /** The issuers whose tokens it accepts. */
  get issuers(): readonly AcceptedIssuer[] {
    return this.#world.issuers
  }

  /** Sends one request on a connection of its own, and resolves once the gateway has closed it. */
  async send(request: SimulatedRequest): Promise<SimulatedOutcome> {
    const { from, url, callerFor } = request
    const isSecure = (splitUrl(url).scheme ?? (this.app.tls === null ? 'http' : 'https')) === 'https'
    const { client, server } = simulatedConnection({ address: from, isSecure })
    const record = new Recording(callerFor)
    this.#world.current = record
    const chunks: Buffer[] = []
    const switched = Promise.withResolvers<void>()
    client.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      // The connection stays open; what the upstream sends at once comes in the next turns.
      if (isSwitched(chunks)) setImmediate(() => setImmediate(switched.resolve))
    })
    const closed = Promise.race([
      once(client, 'end'),
      once(client, 'close'),
      record.responded,
      switched.promise
    ])
    this.#server.accept(server)
    client.write(requestBytes(request))
    await closed
    client.destroy()
    return {
      response: readResponse(Buffer.concat(chunks)),
      request: record.request,
      calls: record.calls
    }
  }

  /** Has the concerns forget the state that requests have left. */
  renew(): void {
    this.#world.renew()
  }

  /** Closes the gateway. */
  async close(): Promise<void> {
    await this.#server.close()
  }
}

const SILENT = pino({ level: 'silent' })

/** What becomes of one request. */
class Recording {
  readonly calls: UpstreamCall[] = []
  readonly callerFor: SimulatedRequest['callerFor']
  /** Resolves once the response is sent, although its connection may stay open. */
  readonly responded: Promise<void>
  request: FastifyRequest | undefined
  #onResponded: () => void = () => {}

  constructor(callerFor: SimulatedRequest['callerFor']) {
    this.callerFor = callerFor
    this.responded = new Promise((resolve) => {
      this.#onResponded = resolve
    })
  }

  onRequest(request: FastifyRequest): void {
    this.request = request
    // The client gets the last bytes in a later turn.
    request.response.once('close', () => setImmediate(() => setImmediate(this.#onResponded)))
  }
}

/** Stands in for the services around a gateway, and records what it sends them. */
class World implements Simulation {
  current: Recording | undefined
  readonly issuers: AcceptedIssuer[] = []
  readonly leavesOut: (key: string) => boolean
  readonly keySet: (() => Promise<string>) | undefined
  readonly #respond: Responder
  readonly #forgetters: (() => void)[] = []

  constructor(respond: Responder, { leavesOut, keySet }: Pick<Simulation, 'leavesOut' | 'keySet'>) {
    this.#respond = respond
    this.leavesOut = leavesOut
    this.keySet = keySet
  }

  respond(call: UpstreamCall): SimulatedResponse {
    const request = this.current?.request
    const gate = request === undefined ? undefined : decidingGate(request)
    const recorded = { ...call, gate }
    this.current?.calls.push(recorded)
    return this.#respond(recorded)
  }

  callerFor(request: FastifyRequest, strategy: string): Caller | null | undefined {
    return this.current?.callerFor?.(strategy, request)
  }

  onRequest(request: FastifyRequest): void {
    this.current?.onRequest(request)
  }

  onIssuer(issuer: AcceptedIssuer): void {
    this.issuers.push(issuer)
  }

  onRenew(forget: () => void): void {
    this.#forgetters.push(forget)
  }

  renew(): void {
    for (const forget of this.#forgetters) forget()
  }
}
