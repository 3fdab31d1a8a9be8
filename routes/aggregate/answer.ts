import type { FastifyRequest } from 'fastify'
import { compileFormat } from '../../src/lib/body/format.ts'
import { parseJson } from '../../src/lib/body/json.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { size } from '../../src/lib/units.ts'
import { compileBody } from './answer-body.ts'
import { headersFor } from './answer-head.ts'
import type { Calls } from './calls.ts'
import { AnswerTooLarge } from './failures.ts'
import type { AggregateOptions } from './options.ts'
import type { Values } from './references.ts'
import type { LegOutcome } from './run.ts'

/** A complete response. */
export interface Answer {
  readonly headers: Readonly<Record<string, string>>
  /** The body, in the parts that it is made of. */
  readonly chunks: readonly Buffer[]
  readonly length: number
  /** What became of its legs. */
  readonly outcomes: readonly LegOutcome[]
}

/** What a response is made of. */
export interface AnswerInput {
  readonly outcomes: readonly LegOutcome[]
  readonly values: Values
  readonly calls: Calls
}

/** Makes the response of a request whose legs are done; throws a refusal. */
export type WriteAnswer = (request: FastifyRequest, input: AnswerInput) => Answer

const JSON_TYPE = 'application/json; charset=utf-8'

/** Compiles how responses are made. */
export function answerWriter(options: AggregateOptions): WriteAnswer {
  const writeBody = compileBody(options)
  const maxTotal = size(options.maxTotal)
  const format = options.format === undefined ? undefined : compileFormat(options.format)
  return (request, { outcomes, values, calls }) => {
    const headers = headersFor(outcomes)
    const chunks = writeBody(outcomes, values)
    const length = lengthOf(chunks)
    const json = { headers: { ...headers, 'content-type': JSON_TYPE }, chunks, length, outcomes }
    if (json.length > maxTotal) throw new AnswerTooLarge()
    calls.hold(lengthOf(chunks.filter((chunk) => !isOfLeg(chunk, outcomes))))
    if (format === undefined || (format.to.length === 1 && format.to[0] === 'json')) return json
    headers['vary'] = joinVary(headers['vary'] ?? '', 'Accept')
    const type = format.choose(request.headers.accept)
    headers['content-type'] = format.contentTypes[type]
    if (type === 'json') return { ...json, headers }
    const body = format.write(parseJson(Buffer.concat(chunks).toString()), type)
    if (body.length > maxTotal) throw new AnswerTooLarge()
    calls.hold(body.length)
    return { headers, chunks: [body], length: body.length, outcomes }
  }
}

const lengthOf = (chunks: readonly Buffer[]): number => chunks.reduce((sum, { length }) => sum + length, 0)

// The bytes of a leg are counted already.
const isOfLeg = (chunk: Buffer, outcomes: readonly LegOutcome[]): boolean =>
  outcomes.some(({ value }) => value?.proven?.bytes === chunk)
