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

/** Somebody who waits for the end of an answer. */
export interface ResponseListener {
  /** Who waits for the same, and is told after this one. */
  next: ResponseListener | undefined
  over(): void
}

const LISTENERS = Symbol('waiting for the end')

interface Response extends ServerResponse {
  [LISTENERS]?: ResponseListener | undefined
}

class CallbackListener<A, B> implements ResponseListener {
  next: ResponseListener | undefined
  readonly #tell: (one: A, other: B) => void
  readonly #one: A
  readonly #other: B

  constructor(tell: (one: A, other: B) => void, one: A, other: B, next: ResponseListener | undefined) {
    this.#tell = tell
    this.#one = one
    this.#other = other
    this.next = next
  }

  over(): void {
    this.#tell(this.#one, this.#other)
  }
}

/** Tells once, with the two that it is told with, when an answer is over: be it whole, left by its client, or cut; who came last is told first. A listener for each who waits would be the dearer part of waiting, and so would a closure. */
export function onResponseClosed<A, B>(
  response: Response,
  tell: (one: A, other: B) => void,
  one: A,
  other: B
): ResponseListener {
  const next = response[LISTENERS]
  if (next === undefined) response.on('close', onClose)
  const waiting = new CallbackListener(tell, one, other, next)
  response[LISTENERS] = waiting
  return waiting
}

/** Lets nobody hold on to what waits no longer. */
export function offResponseClosed(response: Response, waiting: ResponseListener): void {
  if (response[LISTENERS] === waiting) response[LISTENERS] = waiting.next
  else
    for (let at = response[LISTENERS]; at !== undefined; at = at.next)
      if (at.next === waiting) at.next = waiting.next
}

// An answer on a connection that was handed over may close twice.
function onClose(this: Response): void {
  const waiting = this[LISTENERS]
  this[LISTENERS] = undefined
  if (waiting !== undefined) callAll(waiting)
}

// Whoever throws keeps nobody from being told.
function callAll(waiting: ResponseListener): void {
  try {
    waiting.over()
  } finally {
    if (waiting.next !== undefined) callAll(waiting.next)
  }
}

/** Tells once when an answer is over. Fastify's onResponse tells of those that were finished; this one also of what a client left, or we cut. */
export function onRequestDone(
  request: FastifyRequest,
  reply: FastifyReply,
  tell: (request: FastifyRequest, reply: FastifyReply) => void
): void {
  onResponseClosed(reply.raw, tell, request, reply)
}

/** Tells how long a request has been here, in milliseconds. */
export const elapsed = ({ began }: FastifyRequest): number => performance.now() - began

declare module 'fastify' {
  interface FastifyRequest {
    /** When it was routed, by the process's clock. */
    began: number
    /** The response to it. */
    response: ServerResponse
  }
}

const words = new Map<string, string | undefined>()

/** Finds the word that a refusal's code begins with: SP_ERR_RATE_LIMIT_EXCEEDED is of rateLimit; undefined where nobody refused, but something failed. */
export function concernOfCode(code: string, gates: readonly string[]): string | undefined {
  if (words.has(code)) return words.get(code)
  const parts = code.replace('SP_ERR_', '').split('_')
  const gate = gates.find((each) => code.startsWith(`SP_ERR_${screaming(each)}_`))
  const word = gate ?? (parts.length > 1 ? parts[0]?.toLowerCase() : undefined)
  words.set(code, word)
  return word
}

const screaming = (word: string): string => word.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
