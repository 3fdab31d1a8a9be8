import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Reservation } from '../buffers.ts'
import { isClosed } from './response.ts'

// The status that nginx logs for "client closed request".
const CLIENT_CLOSED_REQUEST = 499

/** Returns the status of a closed response; 499 where the client disconnected before its head was sent. */
export const statusOf = (reply: FastifyReply): number =>
  reply.raw.headersSent ? reply.statusCode : CLIENT_CLOSED_REQUEST

/** Returns the body size of a response that the gateway itself produced, in bytes. */
export const ownBytesOf = ({ method }: FastifyRequest, reply: FastifyReply): number =>
  method === 'HEAD'
    ? 0
    : ((reply.raw as Response)[OWN_BYTES] ?? (Number(reply.getHeader('content-length')) || 0))

/** Counts bytes of a body that the gateway writes to the raw response. */
export function countOwnBytes(response: Response, bytes: number): void {
  response[OWN_BYTES] = (response[OWN_BYTES] ?? 0) + bytes
}

/** A listener for the close of a response. */
export interface ResponseListener {
  /** The next listener of the same response. */
  next: ResponseListener | undefined
  onClosed(): void
}

const LISTENERS = Symbol('close listeners')
const OWN_BYTES = Symbol('bytes of the body')

interface Response extends ServerResponse {
  [LISTENERS]?: ResponseListener | undefined
  [OWN_BYTES]?: number
}

class CallbackListener<A, B> implements ResponseListener {
  next: ResponseListener | undefined
  readonly #fn: (a: A, b: B) => void
  readonly #a: A
  readonly #b: B

  constructor(fn: (a: A, b: B) => void, a: A, b: B, next: ResponseListener | undefined) {
    this.#fn = fn
    this.#a = a
    this.#b = b
    this.next = next
  }

  onClosed(): void {
    this.#fn(this.#a, this.#b)
  }
}

/** Calls `fn(a, b)` once when the response closes: finished, aborted by the client, or destroyed. The last registered runs first. A response has one event listener, and callers need no closure. */
export function onResponseClosed<A, B>(
  response: Response,
  fn: (a: A, b: B) => void,
  a: A,
  b: B
): ResponseListener {
  const next = response[LISTENERS]
  if (next === undefined) response.on('close', onClose)
  const listener = new CallbackListener(fn, a, b, next)
  response[LISTENERS] = listener
  return listener
}

/** Releases a reservation when a response closes; at once where it has closed already. */
export function releaseWithResponse(response: Response, reservation: Reservation): void {
  if (isClosed(response)) reservation.release()
  else onResponseClosed(response, release, reservation, undefined)
}

const release = (reservation: Reservation): void => reservation.release()

/** Removes a listener. */
export function offResponseClosed(response: Response, listener: ResponseListener): void {
  if (response[LISTENERS] === listener) response[LISTENERS] = listener.next
  else
    for (let at = response[LISTENERS]; at !== undefined; at = at.next)
      if (at.next === listener) at.next = listener.next
}

// A response on an upgraded connection may emit "close" twice.
function onClose(this: Response): void {
  const listener = this[LISTENERS]
  this[LISTENERS] = undefined
  if (listener !== undefined) callAll(listener)
}

// A listener that throws does not keep the others from running.
function callAll(listener: ResponseListener): void {
  try {
    listener.onClosed()
  } finally {
    if (listener.next !== undefined) callAll(listener.next)
  }
}

/** Calls a function once when the response closes. Unlike Fastify's onResponse, it is called for aborted responses, too. */
export function onRequestDone(
  request: FastifyRequest,
  reply: FastifyReply,
  fn: (request: FastifyRequest, reply: FastifyReply) => void
): void {
  onResponseClosed(reply.raw, fn, request, reply)
}

/** Returns the milliseconds since the request was routed. */
export const elapsed = ({ began }: FastifyRequest): number => performance.now() - began

declare module 'fastify' {
  interface FastifyRequest {
    /** When it was routed, by `performance.now()`. */
    began: number
    /** The raw response. */
    response: ServerResponse
  }
}

const concerns = new Map<string, string | undefined>()

/** Returns the concern of an error code, such as rateLimit for SP_ERR_RATE_LIMIT_EXCEEDED; undefined for an internal error. */
export function concernOfCode(code: string, gates: readonly string[]): string | undefined {
  if (concerns.has(code)) return concerns.get(code)
  const parts = code.replace('SP_ERR_', '').split('_')
  const gate = gates.find((each) => code.startsWith(`SP_ERR_${upperSnakeCase(each)}_`))
  const concern = gate ?? (parts.length > 1 ? parts[0]?.toLowerCase() : undefined)
  concerns.set(code, concern)
  return concern
}

/** Writes a key as a part of a code: rateLimit as RATE_LIMIT. */
export const upperSnakeCase = (key: string): string =>
  key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
