import { type TUnsafe, Type } from 'typebox'

const DURATION = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const

function parseAmount(text: string, units: Record<string, number>, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(text)
  const unit = units[match?.[2] ?? '']
  if (match === null || unit === undefined)
    throw new RangeError(`expected ${what} in ${Object.keys(units).join(', ')}, got "${text}"`)
  const amount = Number(match[1]) * unit
  // Only zero becomes zero, which means "none" for many options.
  return amount > 0 ? Math.max(1, Math.round(amount)) : 0
}

/** Reads a duration such as "800ms", "30s", "5m", "12h" or "7d" into milliseconds; throws a RangeError on anything else. */
export const duration = (text: string): number => parseAmount(text, DURATION, 'a duration')

/** Reads a size such as "64kb" or "1mb" (1024-based) into bytes; throws a RangeError on anything else. */
export const size = (text: string): number => parseAmount(text, SIZE, 'a size')

/** Reads a share such as "5%" into a number from 0 to 1; throws a RangeError on anything else. */
export function share(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text)
  if (match === null || Number(match[1]) > 100)
    throw new RangeError(`expected a share from "0%" to "100%", got "${text}"`)
  return Number(match[1]) / 100
}

/** Reads a rate such as "1kb/s" into bytes a second; throws a RangeError on anything else. */
export const rate = (text: string): number => size(text.replace(/\/s$/, ''))

/** Reads an optional rate into bytes a second; `false` and a missing one are undefined, which means none. */
export const rateOrNone = (text: string | false | undefined): number | undefined =>
  text === false || text === undefined ? undefined : rate(text)

/** Reads an optional duration into milliseconds; `false` and a missing one are undefined, which means none. */
export const durationOrNone = (text: string | false | undefined): number | undefined =>
  text === false || text === undefined ? undefined : duration(text)

/** Reads an optional size into bytes; `false` and a missing one are Infinity, which means no limit. */
export const sizeOrNone = (text: string | false | undefined): number =>
  text === false || text === undefined ? Number.POSITIVE_INFINITY : size(text)

/** The schema keyword with the text after "expected" in an error, for patterns that are hard to read. */
export const EXPECTED = 'x-says'

/** The same for the names of properties that match no pattern. */
export const EXPECTED_NAME = 'x-names'

/** Marks the user's own data (bodies, JSON Schemas), which merging replaces as a whole. */
export const REPLACED_WHOLE = 'x-whole'

/** Marks a file name, which is relative to the config that contains it. */
export const FILE = 'x-file'

/** Marks an entry of a list of addresses; "file:NAME" is a file that is relative to the config that contains it. */
export const ADDRESSES = 'x-addresses'

/** Marks what clients get, or names of their data, in which there is no secret of the gateway. */
export const NO_SECRET = 'x-no-secret'

/** Marks a template with values of the request; what `${…}` inserts is not part of the template. */
export const TEMPLATE = 'x-template'

/** Marks JSON whose texts are templates, at any depth. */
export const TEMPLATES = 'x-templates'

/** Marks a JSON Schema of the user's own, whose references to files are relative to the config that has it. */
export const JSON_SCHEMA = 'x-json-schema'

/** The keywords of Sallyport's own in the schemas of options; ajv ignores them, and `schema --standard` leaves them out. */
export const OWN_KEYWORDS: readonly string[] = [
  ADDRESSES,
  EXPECTED,
  EXPECTED_NAME,
  NO_SECRET,
  REPLACED_WHOLE,
  FILE,
  TEMPLATE,
  TEMPLATES,
  JSON_SCHEMA
]

/** Describes an option that is a file; concerns get its absolute name. */
export const File = (props: { description: string }): TUnsafe<string> =>
  Type.Unsafe<string>({ type: 'string', minLength: 1, [FILE]: true, ...props })

interface OptionProps {
  description: string
  default?: string | false
  examples?: readonly string[]
}

interface AmountProps extends OptionProps {
  /** Whether zero is refused. */
  positive?: boolean
}

/** A quantity, and how to write it. */
interface Measure {
  readonly units: string
  readonly what: string
  readonly examples: string
}

const DURATIONS: Measure = {
  units: '(ms|s|m|h|d)',
  what: 'a duration',
  examples: '"800ms", "30s", "5m", "12h" or "7d"'
}
const SIZES: Measure = { units: '(b|kb|mb|gb)', what: 'a size', examples: '"64kb" or "1mb"' }

const RATES: Measure = { units: '(b|kb|mb|gb)(/s)?', what: 'a rate', examples: '"1kb/s"' }

const patternOf = ({ units }: Measure, positive: boolean): string =>
  positive ? `^(\\d*[1-9]\\d*(\\.\\d+)?|0+\\.\\d*[1-9]\\d*)${units}$` : `^\\d+(\\.\\d+)?${units}$`

const expectedText = ({ what, examples }: Measure, positive: boolean): string =>
  `${what} such as ${examples}${positive ? ', above zero' : ''}`

const amount = (measure: Measure, { positive = false, ...props }: AmountProps): TUnsafe<string> =>
  Type.Unsafe<string>({
    type: 'string',
    pattern: patternOf(measure, positive),
    [EXPECTED]: expectedText(measure, positive),
    ...props
  })
const amountOrFalse = (
  measure: Measure,
  { positive = false, ...props }: AmountProps
): TUnsafe<string | false> =>
  Type.Unsafe<string | false>({
    anyOf: [{ type: 'string', pattern: patternOf(measure, positive) }, { const: false }],
    [EXPECTED]: `${expectedText(measure, positive)}, or false for none`,
    ...props
  })

/** Describes an option that is a duration. */
export const Duration = (props: AmountProps): TUnsafe<string> => amount(DURATIONS, props)
/** Describes an option that is a duration, or `false` for none. */
export const DurationOrNone = (props: AmountProps): TUnsafe<string | false> => amountOrFalse(DURATIONS, props)
/** Describes an option that is a size. */
export const Size = (props: AmountProps): TUnsafe<string> => amount(SIZES, props)
/** Describes an option that is a size, or `false` for none. */
export const SizeOrNone = (props: AmountProps): TUnsafe<string | false> => amountOrFalse(SIZES, props)
/** Describes an option that is a rate, or `false` for none. */
export const RateOrNone = (props: AmountProps): TUnsafe<string | false> => amountOrFalse(RATES, props)
/** Describes an option that is a percentage. */
export const Share = (props: OptionProps): TUnsafe<string> =>
  Type.Unsafe<string>({
    type: 'string',
    pattern: '^(100(\\.0+)?|\\d{1,2}(\\.\\d+)?)%$',
    [EXPECTED]: 'a share such as "5%"',
    ...props
  })
/** Describes an option that is a text, or `false` for none. */
export const TextOrNone = (props: OptionProps & { pattern?: string }): TUnsafe<string | false> =>
  Type.Unsafe<string | false>({
    anyOf: [
      { type: 'string', ...(props.pattern === undefined ? {} : { pattern: props.pattern }) },
      { const: false }
    ],
    [EXPECTED]: 'a string, or false for none',
    description: props.description,
    ...(props.default === undefined ? {} : { default: props.default })
  })
