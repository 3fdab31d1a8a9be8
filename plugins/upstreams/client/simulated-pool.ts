import { duplexPair, type Readable } from 'node:stream'
import { errors } from 'undici'
import { startTimer, stopTimer } from '../../../src/lib/clock.ts'
import {
  type DispatchHandler,
  type DispatchOptions,
  isStream,
  type Sender
} from '../../../src/lib/contracts/dispatch.ts'
import type { NamedTarget, SimulatedResponse, Simulation } from '../../../src/lib/contracts/simulation.ts'
import { sentFields } from './observed-sender.ts'

const MAX_BODY_BYTES = 1024 * 1024

/** Stands in for the connections to a target: a simulation says what comes back for each request. */
export class SimulatedPool implements Sender {
  readonly #simulation: Simulation
  readonly #target: NamedTarget

  constructor(simulation: Simulation, target: NamedTarget) {
    this.#simulation = simulation
    this.#target = target
  }

  send(options: DispatchOptions, handler: DispatchHandler): void {
    // Like a connection, it never calls back before `send` has returned.
    setImmediate(() => {
      readBody(options.body)
        .then((body) => this.#exchange(options, body, handler))
        .catch((error: Error) => handler.onError(error))
    })
  }

  #exchange(options: DispatchOptions, body: Buffer, handler: DispatchHandler): void {
    if (handler.abandoned === true) return
    const { method, path, headersTimeout = 0, source } = options
    const headers = sentFields(options)
    const isForwarded = source !== null && source !== undefined
    const call = { ...this.#target, method, path, headers, body, isForwarded, headersTimeout }
    const response = this.#simulation.respond(call)
    if (response === 'refuse') {
      handler.onError(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
      return
    }
    const delay = typeof response === 'string' ? Number.POSITIVE_INFINITY : (response.delay ?? 0)
    const timesOut = headersTimeout > 0 && headersTimeout < delay
    let isOver = false
    const settle = (run: () => void): void => {
      if (isOver) return
      isOver = true
      stopTimer(timer)
      run()
    }
    const respond = (): void =>
      timesOut ? handler.onError(new errors.HeadersTimeoutError()) : deliver(response, handler, options)
    const wait = timesOut ? headersTimeout : delay
    const timer =
      wait === 0 || wait === Number.POSITIVE_INFINITY ? undefined : startTimer(() => settle(respond), wait)
    handler.onConnect((reason) => settle(() => handler.onError(reason ?? new errors.RequestAbortedError())))
    if (response === 'cut') settle(() => handler.onError(new ConnectionCut()))
    else if (wait === 0) settle(respond)
  }
}

/** The other side closed the connection before it responded. */
class ConnectionCut extends errors.SocketError {
  constructor() {
    // A connection that has carried no byte before is not one that was idle for too long.
    super('other side closed', { bytesRead: 0 } as never)
  }
}

function deliver(
  response: SimulatedResponse,
  handler: DispatchHandler,
  { method, upgrade }: DispatchOptions
): void {
  if (typeof response === 'string') return
  const { status, headers, body } = response
  handler.onResponseStarted?.()
  if (status === 101 && upgrade !== undefined) {
    const [socket, upstream] = duplexPair()
    handler.onUpgrade?.(
      status,
      headers.includes('upgrade') ? [...headers] : [...headers, 'upgrade', upgrade],
      socket
    )
    // The other side has nothing to say.
    upstream.resume().end(body)
    return
  }
  const hasBody = body.length > 0 && method !== 'HEAD' && status !== 204 && status !== 304
  handler.onHeaders(status, [...headers], () => {}, '', !hasBody)
  if (hasBody) handler.onData(body)
  handler.onComplete([])
}

async function readBody(body: DispatchOptions['body']): Promise<Buffer> {
  if (body === null || body === undefined) return Buffer.alloc(0)
  if (!isStream(body)) return body
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as Readable & AsyncIterable<Buffer>) {
    if (size < MAX_BODY_BYTES) chunks.push(Buffer.from(chunk))
    size += chunk.length
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES)
}
