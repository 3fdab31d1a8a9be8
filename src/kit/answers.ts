import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

// What nginx calls an answer that nobody waited for.
const CLIENT_GONE = 499

/** Reads the status of an answer that is over; 499 where its client left before there was one. */
export const statusOf = (reply: FastifyReply): number =>
  reply.raw.headersSent ? reply.statusCode : CLIENT_GONE

/** Reads how long the body of an answer of the gateway's own is, in bytes. */
export const ownBytesOf = ({ method }: FastifyRequest, reply: FastifyReply): number =>
  method === 'HEAD' ? 0 : Number(reply.getHeader('content-length')) || 0

/** Waits for the end of an answer, and is told of it once: be it whole, left by its client, or cut. */
export interface Waiting {
  /** Who waits for the same, and is told after this one; kept by `waitForEnd`. */
  next?: Waiting | undefined
  over(): void
}

const WAITING = Symbol('waiting for the end')

interface Response extends ServerResponse {
  [WAITING]?: Waiting | undefined
}

/** Lets somebody wait for the end of an answer; who came last is told first. A listener for each of them would be the dearer part of waiting. */
export function waitForEnd(response: Response, waiting: Waiting): void {
  const next = response[WAITING]
  if (next === undefined) response.on('close', onClose)
  waiting.next = next
  response[WAITING] = waiting
}

/** Lets nobody hold on to what waits no longer. */
export function waitNoMore(response: Response, waiting: Waiting): void {
  if (response[WAITING] === waiting) response[WAITING] = waiting.next
  else
    for (let at = response[WAITING]; at !== undefined; at = at.next)
      if (at.next === waiting) at.next = waiting.next
}

// An answer on a connection that was handed over may close twice.
function onClose(this: Response): void {
  const waiting = this[WAITING]
  this[WAITING] = undefined
  if (waiting !== undefined) tell(waiting)
}

// Whoever throws keeps nobody from being told.
function tell(waiting: Waiting): void {
  try {
    waiting.over()
  } finally {
    if (waiting.next !== undefined) tell(waiting.next)
  }
}

/** Is told of an answer that is over. */
type Tell = (request: FastifyRequest, reply: FastifyReply) => void

class Told implements Waiting {
  next: Waiting | undefined
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #tell: Tell

  constructor(request: FastifyRequest, reply: FastifyReply, tell: Tell) {
    this.#request = request
    this.#reply = reply
    this.#tell = tell
  }

  over(): void {
    this.#tell(this.#request, this.#reply)
  }
}

/** Tells once when an answer is over. Fastify's onResponse tells of those that were finished; this one also of what a client left, or we cut. */
export const whenOver = (request: FastifyRequest, reply: FastifyReply, tell: Tell): void =>
  waitForEnd(reply.raw, new Told(request, reply, tell))

/** Tells how long a request has been here, in milliseconds. */
export const elapsed = ({ began }: FastifyRequest): number => performance.now() - began

declare module 'fastify' {
  interface FastifyRequest {
    /** When it was routed, by the process's clock. */
    began: number
  }
}

const words = new Map<string, string | undefined>()

/** Finds the word that a refusal's code begins with: SP_ERR_RATE_LIMIT_EXCEEDED is of rateLimit; undefined where nobody refused, but something failed. */
export function wordOf(code: string, gates: readonly string[]): string | undefined {
  if (words.has(code)) return words.get(code)
  const parts = code.replace('SP_ERR_', '').split('_')
  const gate = gates.find((each) => code.startsWith(`SP_ERR_${screaming(each)}_`))
  const word = gate ?? (parts.length > 1 ? parts[0]?.toLowerCase() : undefined)
  words.set(code, word)
  return word
}

const screaming = (word: string): string => word.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
