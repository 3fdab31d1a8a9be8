import type { Duplex } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { StageHead } from './stage-head.ts'

/**
 * Looks at the head of a response, and returns a stream that its body goes through, or undefined to leave the body alone.
 * The head is sent with the first byte of the last stream: until then a stage may change it, and an error that its stream
 * is destroyed with becomes the response. Later the error cuts the response.
 */
export type StageFactory = (head: StageHead, request: FastifyRequest) => Duplex | undefined

/** Returns the values of a request that stages put into responses. */
export type StageValues = (request: FastifyRequest) => readonly (string | undefined)[]

/** A stage of a route and the concern that it belongs to. */
export interface ResponseStage {
  readonly key: string
  readonly start: StageFactory
  readonly values?: StageValues | undefined
}

/** Receives what comes out of the last stage. */
export interface StagedOutput {
  /** Called with a part of the body; returns false to pause until `resume`. */
  onStagedData(chunk: Buffer): boolean
  onStagedEnd(): void
  /** Called when more may be written after `write` has returned false. */
  onStagedDrain(): void
  /** Called once if a stage fails; nothing follows. */
  onStagedError(error: Error): void
}

/** Starts the stages of a route for one response; returns undefined where none of them wants the body. */
export function startStages(
  stages: readonly ResponseStage[],
  head: StageHead,
  request: FastifyRequest,
  output: StagedOutput
): StagedBody | undefined {
  const streams: Duplex[] = []
  try {
    for (const { start } of stages) {
      head.mayChange = streams.length > 0
      const stream = start(head, request)
      if (stream !== undefined) streams.push(stream)
    }
  } catch (error) {
    for (const stream of streams) stream.on('error', ignore).destroy()
    throw error
  }
  if (head.hasBody && streams.length > 0) return new StagedBody(head, streams, output)
  for (const stream of streams) stream.on('error', ignore).destroy()
  return undefined
}

/** The streams that the body of one response goes through, one after the other, each as fast as the next takes it. */
export class StagedBody {
  readonly #head: StageHead
  readonly #streams: readonly Duplex[]
  readonly #first: Duplex
  readonly #last: Duplex
  readonly #output: StagedOutput
  #bytes = 0
  #over = false

  constructor(head: StageHead, streams: readonly Duplex[], output: StagedOutput) {
    this.#head = head
    this.#streams = streams
    this.#first = streams[0] as Duplex
    this.#last = streams.at(-1) as Duplex
    this.#output = output
    for (const [i, stream] of streams.entries()) {
      stream.on('error', (error: Error) => this.#fail(error))
      // A stream that is destroyed without an error would leave the response open.
      stream.on('close', () => {
        if (!stream.readableEnded) this.#fail(new Error('a response stage closed before the end of the body'))
      })
      const next = streams[i + 1]
      if (next !== undefined) stream.pipe(next)
    }
    this.#first.on('drain', () => {
      if (!this.#over) output.onStagedDrain()
    })
    this.#last.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#last.on('end', () => this.#onEnd())
  }

  /** Writes a part of the body; returns false to pause until `onStagedDrain`. */
  write(chunk: Buffer): boolean {
    return this.#over || this.#first.write(chunk)
  }

  /** Ends the body: it is complete. */
  end(): void {
    if (!this.#over) this.#first.end()
  }

  /** Goes on after `onStagedData` has returned false. */
  resume(): void {
    if (!this.#over) this.#last.resume()
  }

  /** Gives the body up. */
  destroy(): void {
    if (this.#over) return
    this.#over = true
    for (const stream of this.#streams) stream.destroy()
  }

  #onData(chunk: Buffer): void {
    if (this.#over) return
    this.#bytes += chunk.length
    // More bytes than the head says would be read as the next response (CWE-444).
    if (this.#bytes > (this.#length ?? this.#bytes)) this.#fail(new Error(WRONG_LENGTH))
    else if (!this.#output.onStagedData(chunk)) this.#last.pause()
  }

  #onEnd(): void {
    if (this.#over) return
    if (this.#bytes !== (this.#length ?? this.#bytes)) {
      this.#fail(new Error(WRONG_LENGTH))
      return
    }
    this.#over = true
    this.#output.onStagedEnd()
  }

  get #length(): number | undefined {
    const length = this.#head.get('content-length')
    return length === undefined ? undefined : Number(length)
  }

  #fail(error: Error): void {
    if (this.#over) return
    this.destroy()
    this.#output.onStagedError(error)
  }
}

const WRONG_LENGTH = 'a response stage changed the length of the body but not Content-Length'

const ignore = (): void => {}
