import { isJsonObject, stringifyJson } from '../../src/lib/body/json.ts'
import { type JsonTemplate, jsonTemplate, writeJson } from '../../src/lib/body/values-in-json.ts'
import { define } from '../../src/lib/schema.ts'
import { failedLegs } from './answer-head.ts'
import { resolverOf } from './leg-request.ts'
import type { AggregateOptions } from './options.ts'
import { resultValue, type Values } from './references.ts'
import type { LegOutcome } from './run.ts'

/** Writes the response as JSON. */
export type WriteBody = (outcomes: readonly LegOutcome[], values: Values) => Buffer[]

/** Compiles what the response is made of: `body`, `merge`, or each leg under its name. */
export function compileBody({ body, merge, partial, legs }: AggregateOptions): WriteBody {
  const write =
    merge !== undefined ? writeMerged(merge) : writeTemplate(jsonTemplate(body ?? underNames(legs)))
  if (partial === 'header') return write
  return (outcomes, values) => withPartial(write(outcomes, values), failedLegs(outcomes))
}

const underNames = (legs: AggregateOptions['legs']): Record<string, string> => {
  const template: Record<string, string> = {}
  for (const [name, { as = name }] of Object.entries(legs)) define(template, as, `{legs.${name}}`)
  return template
}

function writeTemplate(template: JsonTemplate): WriteBody {
  const readers = resolverOf(template)
  return (_outcomes, values) =>
    writeJson(template, (name) => readers.get(name)?.(values)) ?? [Buffer.from('null')]
}

function writeMerged(names: readonly string[]): WriteBody {
  return (_outcomes, { results }) => {
    const merged = {}
    for (const name of names) {
      const result = results.get(name)
      const value = result === undefined ? undefined : resultValue(result)
      if (isJsonObject(value)) for (const key of Object.keys(value)) define(merged, key, value[key])
    }
    return [Buffer.from(stringifyJson(merged))]
  }
}

const CLOSING = 0x7d
const OPENING = 0x7b

/** Adds `_partial` to a JSON object. */
function withPartial(chunks: Buffer[], failed: readonly object[]): Buffer[] {
  const last = chunks.at(-1)
  if (failed.length === 0 || last === undefined || last.at(-1) !== CLOSING) return chunks
  const isEmpty = chunks.length === 1 && last.length === 2 && last[0] === OPENING
  const member = `${isEmpty ? '' : ','}"_partial":${JSON.stringify(failed)}}`
  return [...chunks.slice(0, -1), last.subarray(0, -1), Buffer.from(member)]
}
