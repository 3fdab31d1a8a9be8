import type { FastifyRequest } from 'fastify'
import { readBody, replaceBody } from '../../src/kit/index.ts'
import { type CodingFault, decodeBody } from '../../src/lib/body/content-coding.ts'
import { stringifyJson } from '../../src/lib/body/json.ts'
import { mediaKindOf } from '../../src/lib/body/media-kind.ts'
import { Reservation } from '../../src/lib/buffers.ts'
import { mayHaveBody } from '../../src/lib/http/bodies.ts'
import { isGrpc } from '../../src/lib/http/grpc.ts'
import { BodyTooLarge, buffersFull } from '../../src/lib/refusals.ts'
import { size } from '../../src/lib/units.ts'
import { compileChange, NotChangeable, readJson } from './change.ts'
import { BodyInvalid, MediaUnsupported } from './errors.ts'
import type { PartOptions } from './options.ts'

/** Compiles the hook that changes request bodies before they are forwarded. */
export function changeRequests(options: PartOptions): (request: FastifyRequest) => Promise<void> {
  const { maxBody, otherwise } = options
  const max = size(maxBody)
  const change = compileChange(options, max)
  return async function changeRequest(request) {
    if (isGrpc(request) || !mayHaveBody(request.raw)) return
    const kind = mediaKindOf(request.raw.headers['content-type'])
    // A service may take for JSON what is unclear, so it never passes unchanged.
    if (kind === 'unclear') throw new MediaUnsupported('it has to be application/json in UTF-8')
    if (kind === 'other') {
      if (otherwise === 'reject') throw new MediaUnsupported('this route takes application/json')
      return
    }
    const body = await readBody(request, { maxBody })
    if (body.length === 0) return
    const bytes = await decoded(request, body, max)
    try {
      replaceBody(request, Buffer.from(stringifyJson(change(readJson(bytes), request))))
    } catch (error) {
      throw error instanceof NotChangeable ? refusalOf(error) : error
    }
  }
}

const refusalOf = ({ kind, message }: NotChangeable): Error =>
  kind === 'size' ? new BodyTooLarge() : new BodyInvalid(message)

async function decoded(request: FastifyRequest, body: Buffer, maxBody: number): Promise<Buffer> {
  const coding = request.raw.headers['content-encoding']
  if (coding === undefined) return body
  const max = Math.min(maxBody, request.limits?.body ?? maxBody)
  const reservation = new Reservation(request.server.buffers)
  // As much as may come of it.
  if (!reservation.add(max)) throw buffersFull()
  const bytes = await decodeBody(body, coding, max)
  reservation.release()
  if (Buffer.isBuffer(bytes)) return bytes
  throw CODING_REFUSALS[bytes.fault]()
}

const CODING_REFUSALS: Readonly<Record<CodingFault['fault'], () => Error>> = {
  unknown: () => new MediaUnsupported('this route takes gzip, br, zstd and deflate, one at a time'),
  malformed: () => new BodyInvalid('it is not encoded as its Content-Encoding says'),
  tooLarge: () => new BodyTooLarge()
}
