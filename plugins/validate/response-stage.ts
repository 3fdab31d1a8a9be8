import { Transform, type TransformCallback } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { StageFactory, StageHead } from '../../src/kit/index.ts'
import type { Invalid } from '../../src/lib/body/json-schema/schema-errors.ts'
import { Reservation } from '../../src/lib/buffers.ts'
import { share } from '../../src/lib/units.ts'
import { MAX_RESPONSE, type ResponseJudge } from './operation-response.ts'

/** Receives what is wrong with a response. */
export type OnInvalid = (request: FastifyRequest, status: number, invalid: Invalid) => void

/** Finds what judges the response to a request; undefined where nothing is declared. */
type FindJudge = (request: FastifyRequest) => ResponseJudge | undefined

/** Makes the stage that validates responses without changing them. */
export function responseStage(
  response: true | { readonly sample: string },
  find: FindJudge,
  onInvalid: OnInvalid
): StageFactory {
  const sample = response === true ? 1 : share(response.sample)
  return (head, request) => {
    const judge = find(request)
    if (judge === undefined || (sample < 1 && Math.random() >= sample)) return undefined
    const tell = (found: Invalid | undefined): void => {
      if (found !== undefined) onInvalid(request, head.status, found)
    }
    if (head.hasBody) return isStream(head) ? undefined : new CopiedBody(head, judge, request, tell)
    // A HEAD, a 204 or a 304 has a head to judge; what a 304 leaves out is in the response before.
    if (head.status !== 304) tell(judge.judge(head).found)
    return undefined
  }
}

const STREAMS =
  /^(?:text\/event-stream|application\/grpc|multipart\/|application\/(?:x-ndjson|jsonl?-seq|json-seq))/i

/** Returns whether a response is a stream or a part, which no schema describes. */
const isStream = (head: StageHead): boolean =>
  head.status === 206 || head.status === 101 || STREAMS.test(head.get('content-type') ?? '')

/** Passes a body on as it is, and judges a copy of it once it has ended. */
class CopiedBody extends Transform {
  readonly #head: StageHead
  readonly #judge: ResponseJudge
  readonly #tell: (found: Invalid | undefined) => void
  readonly #log: FastifyRequest['log']
  readonly #reservation: Reservation
  #judgeBody: ((bytes: Buffer) => Promise<Invalid | undefined>) | undefined
  #chunks: Buffer[] | undefined
  #bytes = 0

  constructor(
    head: StageHead,
    judge: ResponseJudge,
    { server, log }: FastifyRequest,
    tell: (found: Invalid | undefined) => void
  ) {
    super()
    this.#head = head
    this.#judge = judge
    this.#tell = tell
    this.#log = log
    this.#reservation = new Reservation(server.buffers)
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#begin()
    this.#copy(chunk)
    done(null, chunk)
  }

  override _flush(done: TransformCallback): void {
    this.#begin()
    const judgeBody = this.#judgeBody
    const chunks = this.#chunks
    done()
    if (judgeBody === undefined || chunks === undefined) return
    // The client has the response before it is judged.
    setImmediate(() => {
      judgeBody(Buffer.concat(chunks))
        .then(this.#tell)
        .catch((error: unknown) => this.#log.error({ err: error }, 'response validation failed'))
        .finally(() => this.#drop())
    })
    this.#chunks = undefined
    this.#judgeBody = undefined
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#chunks !== undefined) this.#drop()
    done(error)
  }

  /** Judges the head at the first byte, until which earlier stages may change it. */
  #begin(): void {
    if (this.#bytes > 0 || this.#chunks !== undefined) return
    this.#chunks = []
    if (isStream(this.#head)) return
    const { found, judgeBody } = this.#judge.judge(this.#head)
    this.#tell(found)
    this.#judgeBody = judgeBody
  }

  #copy(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#judgeBody === undefined) return
    if (this.#bytes > MAX_RESPONSE || !this.#reservation.add(chunk.length)) {
      this.#judgeBody = undefined
      this.#drop()
    }
    // The memory of a chunk may be used again.
    else this.#chunks?.push(Buffer.from(chunk))
  }

  #drop(): void {
    this.#chunks = []
    this.#reservation.release()
  }
}
