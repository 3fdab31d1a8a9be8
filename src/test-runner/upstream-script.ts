import type { SimulatedResponse, UpstreamCall } from '../lib/contracts/simulation.ts'
import { matchesGlob } from '../lib/glob.ts'
import { fieldPairs } from '../lib/http/headers.ts'
import { duration } from '../lib/units.ts'
import { bodyMismatches } from './match-body.ts'
import { shown } from './match-call.ts'
import { headerMismatches } from './match-headers.ts'
import type { ScriptedUpstreams } from './upstreams-schema.ts'
import { bodyBytes, fieldsOf } from './written-request.ts'

type Entry = ScriptedUpstreams[string][number]
type Answer = Entry['answers'][number]

/** What the upstreams of one test answer, and the requests that nothing answers. */
export class UpstreamScript {
  readonly #entries = new Map<string, ScriptEntry[]>()
  #unlisted: string[] = []
  #unanswered: string | undefined

  /** Entries of earlier lists are tried first. */
  constructor(...lists: readonly (ScriptedUpstreams | undefined)[]) {
    for (const list of lists)
      for (const [name, added] of Object.entries(list ?? {}))
        this.#entries.set(name, [
          ...(this.#entries.get(name) ?? []),
          ...added.map((entry) => new ScriptEntry(entry))
        ])
  }

  /** Returns the response to a request; the connection of one that nothing answers is refused. */
  readonly respond = (call: UpstreamCall): SimulatedResponse => {
    for (const entry of this.#entries.get(call.upstream) ?? []) {
      const answer = entry.answer(call)
      if (answer === undefined) continue
      this.#unanswered = answer.status === 'hang' || answer.delay !== undefined ? shown(call) : undefined
      return responseOf(answer)
    }
    const asker = call.gate === undefined ? '' : `, which "${call.gate}" asks,`
    this.#unlisted.push(`${shown(call)}${asker} is not in "upstreams"${this.#hint(call)}`)
    return 'refuse'
  }

  /** The last request, where its response comes late or never. */
  get unanswered(): string | undefined {
    return this.#unanswered
  }

  /** Returns the requests that nothing answered since the last call, in words. */
  takeUnlisted(): string[] {
    return this.#unlisted.splice(0)
  }

  #hint({ upstream }: UpstreamCall): string {
    if (this.#entries.has(upstream))
      return ': no entry of this upstream matches, or all its answers are given'
    const names = [...this.#entries.keys()].map((name) => `"${name}"`)
    return names.length === 0 ? '' : `, which has ${names.join(', ')}`
  }
}

/** One entry: which requests it answers, and how often each of its answers was given. */
class ScriptEntry {
  readonly #when: Entry['when']
  readonly #answers: readonly Answer[]
  #at = 0
  #given = 0

  constructor({ when, answers }: Entry) {
    this.#when = when
    this.#answers = answers
  }

  /** Returns the next answer to a request; undefined where it is for other requests, or all answers are given. */
  answer(call: UpstreamCall): Answer | undefined {
    const answer = this.#answers[this.#at]
    if (answer === undefined || !this.#matches(call)) return undefined
    const isLast = this.#at === this.#answers.length - 1
    const times = answer.times ?? (isLast ? Number.POSITIVE_INFINITY : 1)
    if (++this.#given >= times) {
      this.#at++
      this.#given = 0
    }
    return answer
  }

  #matches({ method, path, headers, body }: UpstreamCall): boolean {
    const when = this.#when
    if (when === undefined) return true
    const { pathname, whole } = { pathname: path.split('?', 1)[0] ?? path, whole: path }
    return (
      (when.method === undefined || when.method.toUpperCase() === method) &&
      (when.path === undefined || matchesGlob(when.path, when.path.includes('?') ? whole : pathname)) &&
      (when.headers === undefined || headerMismatches(when.headers, fieldPairs(headers)).length === 0) &&
      (when.body === undefined || bodyMismatches(when.body, body).length === 0)
    )
  }
}

function responseOf({ status, headers, body, delay }: Answer): SimulatedResponse {
  if (typeof status === 'string') return status
  const bytes = bodyBytes(body)
  const fields = fieldsOf(headers, body).map(([name, value]): [string, string] => [name.toLowerCase(), value])
  const hasLength = fields.some(([name]) => name === 'content-length' || name === 'transfer-encoding')
  const length = bytes === undefined || hasLength ? [] : ['content-length', String(bytes.length)]
  return {
    status,
    headers: [...fields.flat(), ...length],
    body: bytes ?? Buffer.alloc(0),
    ...(delay === undefined ? {} : { delay: duration(delay) })
  }
}
