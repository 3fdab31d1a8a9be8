import { ProvenJson, stringifyJson } from '../../src/lib/body/json.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { CallFailed, type LegFailure } from './failures.ts'
import type { Leg } from './leg.ts'
import type { LegValue } from './references.ts'

/** The result of one successful request. */
export interface LegResult {
  readonly value: LegValue
  /** The headers of its response. */
  readonly head: readonly string[]
  readonly status: number
}

/** The result of a leg that has not failed as a whole. */
export interface Finished {
  readonly value: LegValue
  /** Why one of its items failed. */
  readonly failure: LegFailure | undefined
  readonly status: number
  readonly heads: readonly (readonly string[])[]
}

/** How an item is called. */
export interface ItemCalls {
  /** Returns what is equal for items that one call serves; undefined for none. */
  keyOf(item: unknown): string | undefined
  /** Rejects with a CallFailed. */
  call(item: unknown): Promise<LegResult>
}

type ItemOutcome = Partial<LegResult> & { readonly failure?: LegFailure }

/** Calls a leg for each item of a list, `concurrency` at a time and at most `max` of them, and returns a list in the same order. */
export async function callEach(
  { max, concurrency, fallback }: Leg,
  items: readonly unknown[],
  { keyOf, call }: ItemCalls
): Promise<Finished> {
  const called = items.slice(0, max)
  const byKey = new Map<string, Promise<ItemOutcome>>()
  const outcomes: ItemOutcome[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < called.length) {
      const i = next++
      const item = called[i]
      const key = keyOf(item)
      const start = (): Promise<ItemOutcome> => call(item).catch(failureOf)
      outcomes[i] = await (key === undefined ? start() : getOrCreate(byKey, key, start))
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, called.length) }, work))
  const failure =
    outcomes.find((outcome) => outcome.failure !== undefined)?.failure ??
    (items.length > max ? TOO_MANY : undefined)
  return {
    value: listOf(outcomes.map(({ value }) => value ?? fallback ?? NULL)),
    failure,
    status: failure === undefined ? 200 : (failure.status ?? 0),
    heads: [...new Set(outcomes.flatMap(({ head }) => (head === undefined ? [] : [head])))]
  }
}

const TOO_MANY: LegFailure = { reason: 'size' }

const NULL: LegValue = { proven: new ProvenJson(Buffer.from('null')), value: null }

function failureOf(error: unknown): ItemOutcome {
  if (!(error instanceof CallFailed)) throw error
  return { failure: error.failure }
}

const OPENING = Buffer.from('[')
const COMMA = Buffer.from(',')
const CLOSING = Buffer.from(']')

/** Makes one list of results, each as the bytes that came where they are unchanged. */
function listOf(results: readonly LegValue[]): LegValue {
  const bytes = results.flatMap(({ proven, value }, i) => [
    i === 0 ? OPENING : COMMA,
    proven?.bytes ?? Buffer.from(stringifyJson(value))
  ])
  if (results.length === 0) bytes.push(OPENING)
  const values = results.map(({ value }) => value)
  return {
    proven: new ProvenJson(Buffer.concat([...bytes, CLOSING])),
    value: values.includes(undefined) ? undefined : values
  }
}
