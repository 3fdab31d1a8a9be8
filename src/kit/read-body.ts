import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { Reservation } from '../lib/buffers.ts'
import { releaseWithResponse } from '../lib/http/response-end.ts'
import { BodyTooLarge, buffersFull } from '../lib/refusals.ts'
import { size } from '../lib/units.ts'

/** How much of a body may be read into memory. */
export interface ReadBodyOptions {
  /** The maximum size of the body, such as "64kb"; "1mb" by default. */
  readonly maxBody?: string
}

const reading = new WeakMap<FastifyRequest, Promise<Buffer>>()

/**
 * Reads the body of a request into memory, unchanged, and keeps it as `request.body`: the route's target and
 * each later call get the same buffer, and must not change it. Returns an empty buffer where there is no body. Call it
 * in `preValidation` or later, on routes whose target streams.
 * Throws `SP_ERR_LIMITS_BODY` (413) beyond `maxBody` or `limits.body`, `SP_ERR_OVERLOAD_BUFFERS` (503) where
 * `overload.buffers` is used up, and a TypeError where a parser has read the body.
 */
export async function readBody(
  request: FastifyRequest,
  { maxBody = '1mb' }: ReadBodyOptions = {}
): Promise<Buffer> {
  const maxBytes = size(maxBody)
  let body = reading.get(request)
  if (body === undefined) {
    body = collect(request, maxBytes)
    reading.set(request, body)
  }
  const { length } = await body
  if (length > maxBytes) throw new BodyTooLarge()
  return body
}

function collect(request: FastifyRequest, maxBytes: number): Promise<Buffer> {
  const { body, raw, server } = request
  if (Buffer.isBuffer(body)) return Promise.resolve(body)
  if (body !== undefined && body !== null && !(body instanceof Readable))
    return Promise.reject(new TypeError('The body has been parsed: its bytes are gone'))
  const source = body ?? raw
  const reservation = new Reservation(server.buffers)
  releaseWithResponse(request.response, reservation)
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const parts: Buffer[] = []
  let length = 0
  const stop = (): void => {
    request.deadline?.resume()
    source.off('data', take).off('end', end).off('close', close)
  }
  const refuse = (error: Error): void => {
    stop()
    source.pause()
    reservation.release()
    reject(error)
  }
  const take = (part: Buffer): void => {
    length += part.length
    const refusal =
      length > maxBytes
        ? new BodyTooLarge()
        : length > (request.limits?.body ?? length)
          ? request.limits?.tooLarge(request)
          : undefined
    if (refusal !== undefined) refuse(refusal)
    else if (reservation.add(part.length)) parts.push(part)
    else refuse(buffersFull())
  }
  const end = (): void => {
    // A cancelled HTTP/2 request emits "end" as well, incomplete.
    if (raw.aborted) {
      close()
      return
    }
    stop()
    const whole = Buffer.concat(parts)
    request.body = whole
    resolve(whole)
  }
  const close = (): void => refuse(new Error('The client left before its body was complete'))
  // The deadline is paused while the client sends.
  request.deadline?.pause()
  source.on('data', take).once('end', end).once('close', close).on('error', refuse)
  // A stream that has ended has no body.
  if (source.readableEnded) end()
  return promise
}

/** Replaces the body that `readBody` has read, and the headers about its bytes: the route's target and later calls get the new one. Throws `SP_ERR_OVERLOAD_BUFFERS` (503) where `overload.buffers` is used up. */
export function replaceBody(request: FastifyRequest, body: Buffer): void {
  const reservation = new Reservation(request.server.buffers)
  if (!reservation.add(body.length)) throw buffersFull()
  releaseWithResponse(request.response, reservation)
  reading.set(request, Promise.resolve(body))
  request.body = body
  const { headers, rawHeaders } = request.raw
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2)
    if (CONTENT_FIELDS.has((rawHeaders[i] as string).toLowerCase())) rawHeaders.splice(i, 2)
  for (const name of CONTENT_FIELDS) delete headers[name]
  rawHeaders.push('content-length', String(body.length))
  headers['content-length'] = String(body.length)
}

// They describe the bytes of the original body (RFC 9110 section 8, RFC 9112 section 6, RFC 9530, RFC 3230).
const CONTENT_FIELDS: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest'
])
