import { type TSchema, Type } from 'typebox'
import { AddressEntry, addressFaults } from '../http/address-lists.ts'
import { isObject, type OptionFault } from '../schema.ts'
import { EXPECTED } from '../units.ts'

/** What a condition can look at, the kinds that decide between routes first. */
export const CONDITION_KINDS = ['header', 'cookie', 'query', 'client.ip', 'scheme', 'path'] as const

export type ConditionKind = (typeof CONDITION_KINDS)[number]

/** One condition: what it looks at, and the values of which one has to be there; true for any value, false for none. */
export interface Condition {
  readonly kind: ConditionKind
  /** The name of a header (in lower case), a cookie or a query parameter; empty for other kinds. */
  readonly name: string
  readonly accepts: boolean | readonly string[]
}

/** Sets of conditions; all of one set have to hold. None at all means that there is no condition. */
export type Alternatives = readonly (readonly Condition[])[]

/** One set of conditions as the config has it, such as `{ "header:x-canary": "true" }`. */
export type ConditionSet = Readonly<Record<string, boolean | string | readonly string[]>>

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

const texts = (description: string, examples: readonly unknown[]): TSchema =>
  Type.Unsafe({
    examples,
    anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
    description
  })

const named = (what: string): unknown => ({
  examples: ['true', ['B', 'C'], true],
  anyOf: [{ type: 'boolean' }, { type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1 }],
  [EXPECTED]: 'a text, a list of texts, true (present) or false (absent)',
  description: `The ${what}: one of these values, where "*" is any characters; true if it is present, false if it is absent.`
})

const conditionSet = {
  type: 'object',
  properties: {
    scheme: Type.Unsafe({
      type: 'string',
      enum: ['http', 'https'],
      description: 'The scheme that the client used.'
    }),
    'client.ip': Type.Unsafe({
      examples: [['10.0.0.0/8']],
      anyOf: [AddressEntry, { type: 'array', items: AddressEntry, minItems: 1 }],
      description:
        'The addresses of clients: addresses, CIDR ranges, "loopback", "private" or "file:NAME" with one address or range per line.'
    }),
    path: texts('The canonical path, where "*" is any characters, "/" too.', ['*.js'])
  },
  patternProperties: {
    [`^header:${TOKEN}$`]: named('request header'),
    [`^cookie:${TOKEN}$`]: named('cookie, decoded'),
    '^query:.+$': named('query parameter, decoded')
  },
  additionalProperties: false,
  minProperties: 1,
  description: 'Conditions that must all hold.',
  examples: [{ 'header:x-canary': 'true' }, { 'query:variant': ['B', 'C'], 'cookie:beta': true }]
}

/** Returns the schema of the option "when". */
export const whenOption = (description: string): TSchema =>
  Type.Unsafe({
    anyOf: [conditionSet, { type: 'array', items: conditionSet, minItems: 1 }],
    [EXPECTED]: 'an object such as { "header:x-canary": "true" }, or a list of them',
    examples: [{ 'header:x-canary': 'true' }],
    description
  })

/** Reads an option "when", whose values may be invalid. */
export function readWhen(option: unknown): Alternatives {
  return option === undefined ? [] : [option].flat().filter(isObject).map(readSet)
}

/** Returns the errors in the addresses of conditions. */
export const addressFaultsIn = (alternatives: Alternatives, path: OptionFault['path']): OptionFault[] =>
  alternatives
    .flat()
    .flatMap(({ kind, accepts }) =>
      kind !== 'client.ip' || typeof accepts === 'boolean'
        ? []
        : addressFaults(accepts, []).map(({ message }) => ({ path, message: `"client.ip": ${message}` }))
    )

function readSet(set: object): Condition[] {
  return Object.entries(set as ConditionSet)
    .filter(([key]) => !key.startsWith('x-'))
    .map(([key, value]) => {
      const colon = key.indexOf(':')
      const kind = (colon === -1 ? key : key.slice(0, colon)) as ConditionKind
      const name = colon === -1 ? '' : key.slice(colon + 1)
      return {
        kind,
        name: kind === 'header' ? name.toLowerCase() : name,
        accepts: typeof value === 'boolean' ? value : [value].flat().map(String)
      }
    })
}

/** Returns the alternatives that hold where both an outer and an inner condition do. */
export function bothOf(outer: Alternatives, inner: Alternatives): Alternatives {
  if (outer.length === 0) return inner
  if (inner.length === 0) return outer
  return outer.flatMap((one) => inner.map((other) => [...one, ...other]))
}

/** Returns the key of a condition in the config. */
export const conditionKey = ({ kind, name }: Condition): string => (name === '' ? kind : `${kind}:${name}`)

/** Returns a text that is equal for equal alternatives, whatever their order. */
export const alternativesText = (alternatives: Alternatives): string =>
  JSON.stringify(
    alternatives
      .map((set) =>
        set
          .map((condition) => {
            const { accepts } = condition
            return JSON.stringify([
              conditionKey(condition),
              typeof accepts === 'boolean' ? accepts : accepts.toSorted()
            ])
          })
          .toSorted()
      )
      .map((set) => JSON.stringify(set))
      .toSorted()
  )

/** Lists the conditions of alternatives for a person, such as "header:x-canary, cookie:beta | scheme"; values may be secrets. */
export const describeAlternatives = (alternatives: Alternatives): string =>
  alternatives.map((set) => set.map(conditionKey).join(', ')).join(' | ')

/** Returns alternatives in the form that the config has. */
export const writtenAlternatives = (alternatives: Alternatives): ConditionSet[] =>
  alternatives.map((set) => Object.fromEntries(set.map((each) => [conditionKey(each), each.accepts])))
