import type { ServerResponse } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import { DeadlineExceeded, upgradeOf } from '../../src/kit/index.ts'
import type { Forwarding, StreamLimits } from './contract.ts'
import { type AnswerHead, answerHead } from './head.ts'
import { type Joint, join } from './joint.ts'
import { ClientGone, refusalFor, UpstreamFailed } from './refusals.ts'

type Abort = (error?: Error) => void

/** What one request to an upstream needs. */
export interface Outgoing {
  readonly pool: Dispatcher
  /** The requests that the target has now. */
  readonly load: { requests: number }
  readonly options: Dispatcher.DispatchOptions
  readonly answer: AnswerHead
  /** What a connection that switched protocols may take; undefined where the request does not ask for one. */
  readonly joint: Joint | undefined
  /** Whether a request that was lost with a reused connection may be sent once more (RFC 9110 section 9.2.2). */
  readonly again: boolean
}

const EXCHANGE = Symbol('exchange')

interface Response extends ServerResponse {
  [EXCHANGE]?: Exchange
}

/** One request on its way to an upstream, and its answer on the way back: bytes as they come, as fast as the slower side takes them. */
export class Exchange {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: Response
  readonly #outgoing: Outgoing
  readonly #forwarding: Forwarding
  readonly #limits: StreamLimits | null
  #abort: Abort | undefined
  #resume: (() => void) | undefined
  #deadline: NodeJS.Timeout | undefined
  #stall: NodeJS.Timeout | undefined
  #state: 'waiting' | 'streaming' | 'over' = 'waiting'
  #failure: Error | undefined
  #listening = false
  #answering = false
  #released = false
  #tries = 0

  constructor(request: FastifyRequest, reply: FastifyReply, outgoing: Outgoing, forwarding: Forwarding) {
    this.#request = request
    this.#reply = reply
    this.#response = reply.raw
    this.#outgoing = outgoing
    this.#forwarding = forwarding
    this.#limits = request.limits
  }

  /** Sends the request; the answer, or a refusal, goes to the client by itself. */
  start(): void {
    this.#outgoing.load.requests++
    // Who left while the gates were at work is not asked for.
    if (this.#response.destroyed) {
      this.closed()
      return
    }
    this.#response[EXCHANGE] = this
    this.#response.on('close', onClose)
    const time = this.#limits?.time
    if (time !== undefined) this.#deadline = setTimeout(onDeadline, time, this)
    this.#dispatch()
  }

  #dispatch(): void {
    this.#tries++
    // undici takes this older form of a handler as it is: raw buffers in, no object of headers made (TRAPS.md).
    this.#outgoing.pool.dispatch(this.#outgoing.options, this as unknown as Dispatcher.DispatchHandler)
  }

  /** Gives up, telling the client why where it has no head yet. */
  fail(error: Error): void {
    if (this.#state === 'over') return
    this.#failure ??= error
    if (this.#abort === undefined) this.onError(error)
    else this.#abort(error)
  }

  onConnect(abort: Abort): void {
    if (this.#failure !== undefined) abort(this.#failure)
    else this.#abort = abort
  }

  onResponseStarted(): void {
    this.#answering = true
  }

  onBodySent(chunk: Buffer): void {
    const limits = this.#limits
    this.#forwarding.bytesIn += chunk.length
    if (limits === null || this.#forwarding.bytesIn <= limits.body) return
    const refusal = limits.tooLarge(this.#request)
    if (refusal !== undefined) this.fail(refusal)
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    if (status < 200) {
      if (status < 100 || status === 101) throw new UpstreamFailed()
      return true
    }
    const response = this.#response
    this.#forwarding.ms = performance.now() - this.#forwarding.began
    this.#resume = resume
    const head = answerHead(status, rawHeaders, this.#request, this.#reply, this.#outgoing.answer)
    clearTimeout(this.#deadline)
    this.#reply.hijack()
    this.#state = 'streaming'
    try {
      response.writeHead(status, reasonOf(statusText), head as never)
    } catch (error) {
      response.destroy()
      throw error
    }
    // No body can follow, whatever the head says of one.
    if (status === 204 || status === 304 || this.#request.method === 'HEAD') this.#end()
    return true
  }

  onUpgrade(_status: number, rawHeaders: Buffer[], upstream: Duplex): void {
    const upgrade = upgradeOf(this.#request.raw)
    const { joint, answer } = this.#outgoing
    if (upgrade === undefined || joint === undefined) {
      upstream.destroy()
      throw new UpstreamFailed()
    }
    this.#state = 'over'
    clearTimeout(this.#deadline)
    this.#forwarding.ms = performance.now() - this.#forwarding.began
    const head = answerHead(101, rawHeaders, this.#request, this.#reply, answer)
    this.#reply.hijack()
    this.#response.writeHead(101, [...head, 'connection', 'Upgrade', 'upgrade', 'websocket'] as never)
    this.#response.flushHeaders()
    // From here on it has a connection of its own, beside the pool's.
    this.#release()
    join(this.#response, upgrade, upstream, joint, this.#forwarding)
  }

  onData(chunk: Buffer): boolean {
    if (this.#state !== 'streaming') return true
    this.#forwarding.bytesOut += chunk.length
    if (this.#response.write(chunk)) return true
    if (!this.#listening) {
      this.#listening = true
      this.#response.on('drain', onDrain)
    }
    const idle = this.#limits?.idle
    if (idle !== undefined) this.#stall = setTimeout(onStall, idle, this)
    return false
  }

  onComplete(rawTrailers: Buffer[] | null): void {
    if (this.#state !== 'streaming') return
    if (rawTrailers !== null && rawTrailers.length > 0) this.#response.addTrailers(trailersOf(rawTrailers))
    this.#end()
  }

  #end(): void {
    this.#state = 'over'
    this.#response.end()
  }

  onError(error: Error & { code?: string }): void {
    if (this.#state === 'over') return
    const failure = this.#failure ?? error
    if (this.#state === 'streaming') {
      // The head is out: only a cut connection tells the client that the rest is missing.
      this.#state = 'over'
      this.#report(failure)
      this.#response.destroy()
      return
    }
    if (
      this.#failure === undefined &&
      this.#outgoing.again &&
      this.#tries === 1 &&
      !this.#answering &&
      lostWithConnection(error)
    ) {
      this.#abort = undefined
      this.#dispatch()
      return
    }
    this.#state = 'over'
    clearTimeout(this.#deadline)
    this.#report(failure)
    if (failure instanceof ClientGone || this.#response.destroyed) return
    this.#reply.send(refusalFor(failure))
  }

  // The log is the only place that learns what really happened.
  #report(error: Error & { code?: string }): void {
    if (error instanceof ClientGone || error.code?.startsWith('SP_ERR_') === true) return
    const { upstream, target } = this.#forwarding
    this.#request.log.warn(
      {
        requestId: this.#request.id,
        upstream,
        target,
        cause: error.code ?? error.name,
        message: error.message
      },
      'an upstream failed'
    )
  }

  /** Takes up the upstream's bytes again, now that the client has taken the last ones. */
  drained(): void {
    clearTimeout(this.#stall)
    this.#resume?.()
  }

  /** Takes the request off the target's load, once. */
  #release(): void {
    if (this.#released) return
    this.#released = true
    this.#outgoing.load.requests--
  }

  /** Cuts a client that takes no more of its answer. */
  stalled(): void {
    this.#response.destroy()
  }

  /** Ends what is left of the exchange when the client's side is closed. */
  closed(): void {
    this.#release()
    clearTimeout(this.#stall)
    clearTimeout(this.#deadline)
    if (this.#state !== 'over') this.fail(new ClientGone('The client went away'))
  }
}

// One function each for all exchanges: a request makes no closures.
function onClose(this: Response): void {
  this[EXCHANGE]?.closed()
}

function onDrain(this: Response): void {
  this[EXCHANGE]?.drained()
}

function onDeadline(exchange: Exchange): void {
  exchange.fail(new DeadlineExceeded())
}

// A client that takes nothing would keep its upstream's connection from all others.
function onStall(exchange: Exchange): void {
  exchange.stalled()
}

// What an idle connection looks like that the upstream closed just when it was used again: no byte of an answer.
function lostWithConnection(error: Error & { code?: string; socket?: { bytesRead?: number } }): boolean {
  return (
    (error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE') &&
    (error.socket?.bytesRead ?? 1) > 0
  )
}

const reasonOf = (text: string): string => (/^[\t\x20-\x7e\x80-\xff]*$/.test(text) ? text : '')

function trailersOf(raw: readonly Buffer[]): [string, string][] {
  const trailers: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2)
    trailers.push([raw[i]?.toString('latin1') ?? '', raw[i + 1]?.toString('latin1') ?? ''])
  return trailers
}

/** Tells whether a request has a body, by its framing (RFC 9112 section 6). */
export function bodyOf(request: FastifyRequest): Readable | null {
  const { headers } = request.raw
  if (
    headers['transfer-encoding'] === undefined &&
    (headers['content-length'] === undefined || headers['content-length'] === '0')
  )
    return null
  return (request.body as Readable | undefined) ?? request.raw
}
