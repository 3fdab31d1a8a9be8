import { Transform, type TransformCallback } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { Reservation } from '../buffers.ts'
import { releaseWithResponse } from '../http/response-end.ts'
import type { StageHead } from '../http/stage-head.ts'
import { buffersFull } from '../refusals.ts'
import { BodyCollector } from './body-collector.ts'
import { type CodingFault, decodeBody } from './content-coding.ts'

/** How a stage reads response bodies into values and writes them; each function throws the refusal that the client gets. */
export interface ValueStageOptions {
  /** The largest body in bytes, also when it is decoded. */
  readonly maxBody: number
  read(bytes: Buffer): unknown
  write(value: unknown): Buffer
  /** Makes the refusal of a body that can't be read, from a few words that say why. */
  refuse(reason: string): Error
}

/** Makes one value from another; throws the refusal that the client gets. */
export type ChangeValue = (value: unknown) => unknown

// They describe the bytes that the upstream sent (RFC 9110 section 8, RFC 9530, RFC 3230).
const FIELDS_OF_BYTES = [
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
  'accept-ranges'
] as const

const stages = new WeakMap<StageHead, ValueStage>()

/** Returns the stage that reads the body of a response into a value already, so that a later concern changes that. */
export const valueStageOf = (head: StageHead): ValueStage | undefined => stages.get(head)

/** Makes the stage that reads the body of a response into a value; undefined where the response has no body, and then only its head is changed. Throws the refusal of a body that is only a part. */
export function makeValueStage(
  head: StageHead,
  request: FastifyRequest,
  options: ValueStageOptions
): ValueStage | undefined {
  const { hasBody } = head
  // Nothing was asked for in parts, and a part can't be read.
  if (hasBody && head.status === 206) throw options.refuse('it is only a part')
  if (hasBody && Number(head.get('content-length') ?? 0) > options.maxBody)
    throw options.refuse('it is too large')
  const coding = head.get('content-encoding')
  for (const name of FIELDS_OF_BYTES) head.set(name, undefined)
  // A weak one says that the meaning is the same (RFC 9110 section 8.8.1).
  if (head.get('etag')?.startsWith('W/') === false) head.set('etag', undefined)
  const setLength = head.changeLength()
  if (!hasBody) return undefined
  const stage = new ValueStage(request, options, { coding, setLength })
  stages.set(head, stage)
  return stage
}

interface BodyFields {
  readonly coding: string | undefined
  /** Sets the Content-Length of what is written. */
  readonly setLength: (length: number) => void
}

/** Holds a response body back, reads it into a value, lets concerns change that, and writes it. */
export class ValueStage extends Transform {
  readonly #request: FastifyRequest
  readonly #options: ValueStageOptions
  readonly #fields: BodyFields
  readonly #changes: ChangeValue[] = []
  readonly #reservation: Reservation
  readonly #collector: BodyCollector
  #isDecoding = false

  constructor(request: FastifyRequest, options: ValueStageOptions, fields: BodyFields) {
    super()
    this.#request = request
    this.#options = options
    this.#fields = fields
    this.#reservation = new Reservation(request.server.buffers)
    this.#collector = new BodyCollector(options.maxBody, this.#reservation)
  }

  /** Adds a change of the value, after those added before. */
  addChange(change: ChangeValue): void {
    this.#changes.push(change)
  }

  override _transform(part: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const problem = this.#collector.add(part)
    if (problem === undefined) done()
    else done(problem === 'size' ? this.#options.refuse('it is too large') : buffersFull())
  }

  override _flush(done: TransformCallback): void {
    const { bytes } = this.#collector
    const { coding } = this.#fields
    if (coding === undefined || bytes.length === 0) {
      this.#finish(bytes, done)
      return
    }
    // As much as may come of it.
    if (this.#reservation.add(this.#options.maxBody)) void this.#decode(bytes, coding, done)
    else done(buffersFull())
  }

  async #decode(bytes: Buffer, coding: string, done: TransformCallback): Promise<void> {
    const { maxBody, refuse } = this.#options
    this.#isDecoding = true
    const decoded = await decodeBody(bytes, coding, maxBody)
    this.#isDecoding = false
    if (this.destroyed) this.#reservation.release()
    else if (Buffer.isBuffer(decoded)) this.#finish(decoded, done)
    else done(refuse(CODING_FAULTS[decoded.fault]))
  }

  #finish(bytes: Buffer, done: TransformCallback): void {
    const { read, write } = this.#options
    let written = bytes
    try {
      // A response without content has nothing to read, whatever its type.
      if (bytes.length > 0)
        written = write(this.#changes.reduce((value, change) => change(value), read(bytes)))
    } catch (error) {
      done(error as Error)
      return
    }
    const held = new Reservation(this.#request.server.buffers)
    if (!held.add(written.length)) {
      done(buffersFull())
      return
    }
    // The client may have left, or had a stored response, while this one is for a cache.
    releaseWithResponse(this.#request.response, held)
    this.#fields.setLength(written.length)
    done(null, written)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // The decoder still works on it.
    if (!this.#isDecoding) this.#reservation.release()
    done(error)
  }
}

const CODING_FAULTS: Readonly<Record<CodingFault['fault'], string>> = {
  unknown: 'its content coding is unknown',
  malformed: 'it is not encoded as its Content-Encoding says',
  tooLarge: 'it is too large'
}
