import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { StageHead } from '../lib/http/stage-head.ts'
import {
  type ResponseStage,
  type StagedBody,
  type StagedOutput,
  startStages
} from '../lib/http/staged-body.ts'

export type { StageFactory } from '../lib/http/staged-body.ts'
export type { StageHead }

type Done = (error: Error | null, payload?: unknown) => void

/** Runs the stages of a route on a response that Fastify sends: the payload becomes what they return. */
export function stageReply(
  stages: readonly ResponseStage[],
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: Done
): void {
  const hasBody =
    payload !== null &&
    payload !== undefined &&
    request.method !== 'HEAD' &&
    reply.statusCode !== 204 &&
    reply.statusCode !== 304
  const head = new StageHead(reply.statusCode, fieldsOf(reply), hasBody)
  const length = hasBody || request.method === 'HEAD' ? lengthOf(payload) : undefined
  if (length !== undefined) head.set('content-length', String(length))
  const staged = new StagedPayload(head, reply, done)
  try {
    const body = startStages(stages, head, request, staged)
    if (body === undefined) {
      applyHeadTo(reply, head)
      // Fastify would give a HEAD the length of a payload that a GET does not get.
      const isOtherLength = length !== undefined && head.get('content-length') !== String(length)
      done(null, isOtherLength && request.method === 'HEAD' ? null : payload)
    } else staged.start(body, payload)
  } catch (error) {
    // The error is sent in place of the stream, which nothing would close.
    if (payload instanceof Readable) payload.destroy()
    done(error as Error)
  }
}

/** The output of the stages as a stream for Fastify, which gets it with the head that belongs to it. */
class StagedPayload implements StagedOutput {
  readonly #head: StageHead
  readonly #reply: FastifyReply
  readonly #done: Done
  readonly #out: Readable
  #body: StagedBody | undefined
  #source: Readable | undefined
  #handedOver = false

  constructor(head: StageHead, reply: FastifyReply, done: Done) {
    this.#head = head
    this.#reply = reply
    this.#done = done
    this.#out = new Readable({
      read: () => this.#body?.resume(),
      destroy: (error, callback) => {
        this.#body?.destroy()
        this.#source?.destroy()
        callback(error)
      }
    })
  }

  start(body: StagedBody, payload: unknown): void {
    this.#body = body
    if (typeof payload === 'string' || Buffer.isBuffer(payload)) {
      body.write(Buffer.from(payload as string))
      body.end()
      return
    }
    const source = payload as Readable
    this.#source = source
    source.on('data', (chunk: Buffer | string) => {
      if (!body.write(Buffer.from(chunk as string))) source.pause()
    })
    source.on('end', () => body.end())
    source.on('error', (error) => this.onStagedError(error))
  }

  onStagedData(chunk: Buffer): boolean {
    this.#handOver()
    return this.#out.push(chunk)
  }

  onStagedEnd(): void {
    this.#handOver()
    this.#out.push(null)
  }

  onStagedDrain(): void {
    this.#source?.resume()
  }

  onStagedError(error: Error): void {
    this.#body?.destroy()
    this.#source?.destroy()
    if (this.#handedOver) this.#out.destroy(error)
    else {
      this.#handedOver = true
      for (const name of ['content-length', 'etag', 'last-modified', 'cache-control'])
        this.#reply.removeHeader(name)
      this.#done(error)
    }
  }

  #handOver(): void {
    if (this.#handedOver) return
    this.#handedOver = true
    applyHeadTo(this.#reply, this.#head)
    this.#done(null, this.#out)
  }
}

/** Returns the length of a payload in bytes; undefined for a stream. */
const lengthOf = (payload: unknown): number | undefined =>
  typeof payload === 'string' || Buffer.isBuffer(payload) ? Buffer.byteLength(payload) : undefined

function fieldsOf(reply: FastifyReply): string[] {
  return Object.entries(reply.getHeaders()).flatMap(([name, value]) =>
    [value].flat().flatMap((each) => (each === undefined ? [] : [name, String(each)]))
  )
}

function applyHeadTo(reply: FastifyReply, head: StageHead): void {
  const { fields } = head
  const values = new Map<string, string[]>()
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    values.set(name, [...(values.get(name) ?? []), fields[i + 1] as string])
  }
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
  for (const [name, all] of values) reply.header(name, all.length === 1 ? all[0] : all)
  reply.code(head.status)
}
