import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { Reservation } from '../lib/buffers.ts'
import { onResponseClosed } from '../lib/http/response-end.ts'
import { BodyTooLarge, buffersFull } from '../lib/refusals.ts'
import { size } from '../lib/units.ts'

/** How much of a body may be read into memory. */
export interface ReadBodyOptions {
  /** The largest body, such as "64kb"; "1mb" by default. */
  readonly maxBody?: string
}

const reading = new WeakMap<FastifyRequest, Promise<Buffer>>()

/**
 * Reads the body of a request into memory, as the bytes that came, and keeps it as `request.body`: the route's target and
 * each later call get the same bytes, and may change none of them. Returns an empty buffer where there is no body. Call it
 * in `preValidation` or later, on routes whose target streams.
 * Throws `SP_ERR_LIMITS_BODY` (413) beyond `maxBody` or `limits.body`, `SP_ERR_OVERLOAD_BUFFERS` (503) where the process
 * holds as many bodies as `overload.buffers` allows, and a TypeError where something else has parsed the body.
 */
export async function readBody(
  request: FastifyRequest,
  { maxBody = '1mb' }: ReadBodyOptions = {}
): Promise<Buffer> {
  const most = size(maxBody)
  let body = reading.get(request)
  if (body === undefined) {
    body = collect(request, most)
    reading.set(request, body)
  }
  const { length } = await body
  if (length > most) throw new BodyTooLarge()
  return body
}

function collect(request: FastifyRequest, most: number): Promise<Buffer> {
  const { body, raw, server } = request
  if (Buffer.isBuffer(body)) return Promise.resolve(body)
  if (body !== undefined && body !== null && !(body instanceof Readable))
    return Promise.reject(new TypeError('The body has been parsed: its bytes are gone'))
  const source = body ?? raw
  const reservation = new Reservation(server.buffers)
  onResponseClosed(request.response, giveBack, reservation, undefined)
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
      length > most
        ? new BodyTooLarge()
        : length > (request.limits?.body ?? length)
          ? request.limits?.tooLarge(request)
          : undefined
    if (refusal !== undefined) refuse(refusal)
    else if (reservation.add(part.length)) parts.push(part)
    else refuse(buffersFull())
  }
  const end = (): void => {
    // A request of HTTP/2 that was cancelled ends as well; it is not complete.
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
  // The time of the request stands still while the client sends.
  request.deadline?.pause()
  source.on('data', take).once('end', end).once('close', close).on('error', refuse)
  // What has ended already has no body.
  if (source.readableEnded) end()
  return promise
}

/** Replaces the body that `readBody` has read, and the headers about its bytes: the route's target and later calls get the new one. Throws `SP_ERR_OVERLOAD_BUFFERS` (503) where the process holds as many bodies as `overload.buffers` allows. */
export function replaceBody(request: FastifyRequest, body: Buffer): void {
  const reservation = new Reservation(request.server.buffers)
  if (!reservation.add(body.length)) throw buffersFull()
  onResponseClosed(request.response, giveBack, reservation, undefined)
  reading.set(request, Promise.resolve(body))
  request.body = body
  const { headers, rawHeaders } = request.raw
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2)
    if (FIELDS_OF_BYTES.has((rawHeaders[i] as string).toLowerCase())) rawHeaders.splice(i, 2)
  for (const name of FIELDS_OF_BYTES) delete headers[name]
  rawHeaders.push('content-length', String(body.length))
  headers['content-length'] = String(body.length)
}

// They describe the bytes that came (RFC 9110 section 8, RFC 9112 section 6, RFC 9530, RFC 3230).
const FIELDS_OF_BYTES: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest'
])

const giveBack = (reservation: Reservation): void => reservation.release()
