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

/** Is told of an answer that is over. */
type Tell = (request: FastifyRequest, reply: FastifyReply) => void

const WAITING = Symbol('waiting for the end')

interface Waiting {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly tell: Tell
  readonly before: Waiting | undefined
}

interface Response extends ServerResponse {
  [WAITING]?: Waiting | undefined
}

/** Tells once when an answer is over. Fastify's onResponse tells of those that were finished; this one also of what a client left, or we cut. */
export function whenOver(request: FastifyRequest, reply: FastifyReply, tell: Tell): void {
  const response: Response = reply.raw
  const before = response[WAITING]
  if (before === undefined) response.on('close', onClose)
  response[WAITING] = { request, reply, tell, before }
}

// An answer on a connection that was handed over may close twice.
function onClose(this: Response): void {
  let waiting = this[WAITING]
  this[WAITING] = undefined
  for (; waiting !== undefined; waiting = waiting.before) waiting.tell(waiting.request, waiting.reply)
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
