import type { FastifyRequest } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import type { Caller } from '../lib/caller.ts'
import { startTimer, stopTimer, type Timer } from '../lib/clock.ts'
import type { SimulatedResponse, UpstreamCall } from '../lib/contracts/simulation.ts'
import { isObject } from '../lib/schema.ts'
import { addedFields } from '../simulation/request-bytes.ts'
import type { ReceivedResponse } from '../simulation/response-bytes.ts'
import { SimulatedGateway, type SimulatedOutcome } from '../simulation/simulation.ts'
import { ASSUMED_STATUS, emptyResponse, HEALTHY, healthyResponse } from './assumed-response.ts'
import { assumptionsOf, undecidedGates } from './assumptions.ts'
import { explain } from './explain.ts'
import type { Explanation } from './explanation.ts'
import { shownName } from './shown-url.ts'

/** The request to explain, and what stands in for what is not known without services. */
export interface OfflineQuestion {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer | undefined
  /** The address of the client. */
  readonly from: string
  /** Stands in for authentication; undefined to try the credentials of the request. */
  readonly callerFor: ((strategy: string, request: FastifyRequest) => Caller | null | undefined) | undefined
  /** The status with which services respond that a gate asks; undefined where it is not known. */
  readonly forward: number | undefined
}

/** An explanation, and what became of the simulated request. */
export interface OfflineAnswer {
  readonly explanation: Explanation
  readonly outcome: SimulatedOutcome
}

/** Explains a request without a socket and without calling a service: a gateway with simulated upstreams handles it. */
export async function explainOffline(plan: Plan, question: OfflineQuestion): Promise<OfflineAnswer> {
  const { method, url, headers, from } = question
  const unknown = new Map<string, string>()
  const respond = (call: UpstreamCall): SimulatedResponse => {
    if (call.gate === undefined || question.forward !== undefined)
      return call.gate === undefined
        ? healthyResponse(call)
        : emptyResponse(question.forward ?? ASSUMED_STATUS)
    if (!call.isForwarded) {
      unknown.set(
        call.gate,
        `"${call.gate}" needs ${shownName(plan, call.target + call.path)}, which is not asked; say who the caller is (--as)`
      )
      return 'refuse'
    }
    unknown.set(
      call.gate,
      `"${call.gate}" asks "${shownName(plan, call.upstream)}", which is taken to respond ${ASSUMED_STATUS}; say another status with --forward`
    )
    return emptyResponse(ASSUMED_STATUS)
  }
  const { extensionKeys } = plan.catalog
  const added = addedFields(question)
  const gateway = await SimulatedGateway.open(plan, respond, {
    leavesOut: (key) => extensionKeys?.has(key) === true
  })
  try {
    const outcome = await withinTime(gateway.send(question))
    const { request, response, calls } = outcome
    for (const { gate, verdict } of request?.trace ?? [])
      if (verdict === 'unknown') unknown.set(gate, `"${gate}" is an extension, whose gate is not run here`)
    for (const [gate, what] of request === undefined ? [] : undecidedGates(plan, request))
      unknown.set(gate, `"${gate}" needs ${what}, which is not known here; say who the caller is (--as)`)
    const explanation = explain(gateway.app, plan, {
      method,
      url,
      from,
      headers: [...headers, ...added],
      request,
      status: response?.status,
      responseHeaders: response?.headers,
      parserRefusal: request === undefined ? refusalIn(response) : undefined,
      upstreamRequests: calls,
      isLive: false,
      unknown
    })
    const isHealthy = explanation.upstreams.some(({ askedBy }) => askedBy === null) ? [HEALTHY] : []
    const assumed = request === undefined ? [] : assumptionsOf(plan, request)
    const assumes = [...explanation.assumes, ...assumed, ...handshakeOf(added), ...isHealthy]
    return { explanation: { ...explanation, assumes }, outcome }
  } finally {
    await gateway.close()
  }
}

const MAX_WAIT_MS = 10_000

/** The request gets no response, such as one that promises a body and has none. */
export class NoResponse extends Error {
  constructor() {
    super(
      `The request got no response within ${MAX_WAIT_MS / 1000} s; where it has a Content-Length, it needs a body of this length`
    )
  }
}

/** Waits for a response; rejects with a NoResponse where none comes. */
async function withinTime<T>(outcome: Promise<T>): Promise<T> {
  let timer: Timer | undefined
  const late = new Promise<never>((_, reject) => {
    timer = startTimer(() => reject(new NoResponse()), MAX_WAIT_MS)
  })
  return Promise.race([outcome, late]).finally(() => stopTimer(timer))
}

/** Says which headers of a handshake the client is taken to send. */
function handshakeOf(added: readonly (readonly [string, string])[]): string[] {
  const names = added.map(([name]) => name).filter((name) => name.startsWith('sec-websocket-'))
  return names.length === 0 ? [] : [`The client sends ${names.join(' and ')} with its handshake`]
}

/** Returns the code of a refusal whose request no route has seen. */
function refusalIn(response: ReceivedResponse | undefined): { code: string; detail: string } | undefined {
  if (response === undefined) return undefined
  try {
    const problem: unknown = JSON.parse(response.body.toString('utf8'))
    return isObject(problem)
      ? { code: String(problem['code']), detail: String(problem['detail']) }
      : undefined
  } catch {
    return undefined
  }
}
