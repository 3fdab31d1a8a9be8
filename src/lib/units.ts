import { type TUnsafe, Type } from 'typebox'

const DURATION = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const

/** The longest time a timer of Node.js can wait, in milliseconds (2^31 - 1, about 24.8 days). */
export const LONGEST_TIMER = 2_147_483_647

function read(text: string, units: Record<string, number>, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(text)
  const unit = units[match?.[2] ?? '']
  if (match === null || unit === undefined)
    throw new RangeError(`"${text}" is no ${what}; ${Object.keys(units).join(', ')} are its units`)
  const amount = Number(match[1]) * unit
  // What is not zero is not read as zero, which means none in many places.
  return amount > 0 ? Math.max(1, Math.round(amount)) : 0
}

/** Reads a duration such as "800ms", "30s", "5m", "12h" or "7d" into milliseconds; throws a RangeError on anything else. */
export const duration = (text: string): number => read(text, DURATION, 'duration')

/** Reads a size such as "64kb" or "1mb" (1024-based) into bytes; throws a RangeError on anything else. */
export const size = (text: string): number => read(text, SIZE, 'size')

/** Reads a share such as "5%" into a number from 0 to 1; throws a RangeError on anything else. */
export function share(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text)
  if (match === null || Number(match[1]) > 100)
    throw new RangeError(`"${text}" is no share from "0%" to "100%"`)
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

/** How a schema tells people what would do, where a pattern alone would not read well. */
export const EXPECTED = 'x-says'

/** Marks data of the user's own (bodies, JSON Schemas), which merging replaces whole. */
export const REPLACED_WHOLE = 'x-whole'

/** Marks the name of a file, which is relative to the config that says it. */
export const FILE = 'x-file'

/** Marks a text in which values of the request are filled in; what comes from outside by `${…}` is none of it. */
export const TEMPLATE = 'x-template'

/** Describes an option that is a file; it is absolute by the time a concern sees it. */
export const File = (said: { description: string }): TUnsafe<string> =>
  Type.Unsafe<string>({ type: 'string', minLength: 1, [FILE]: true, ...said })

interface Said {
  description: string
  default?: string | false
}

interface Amount extends Said {
  /** Whether zero is refused: where it would mean nothing, or none. */
  positive?: boolean
}

/** Zero or more of some units, or more than zero. */
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

const saysOf = ({ what, examples }: Measure, positive: boolean): string =>
  `${what} such as ${examples}${positive ? ', above zero' : ''}`

const amount = (of: Measure, { positive = false, ...said }: Amount): TUnsafe<string> =>
  Type.Unsafe<string>({
    type: 'string',
    pattern: patternOf(of, positive),
    [EXPECTED]: saysOf(of, positive),
    ...said
  })
const amountOrFalse = (of: Measure, { positive = false, ...said }: Amount): TUnsafe<string | false> =>
  Type.Unsafe<string | false>({
    anyOf: [{ type: 'string', pattern: patternOf(of, positive) }, { const: false }],
    [EXPECTED]: `${saysOf(of, positive)}, or false for none`,
    ...said
  })

/** Describes an option that is a duration. */
export const Duration = (said: Amount): TUnsafe<string> => amount(DURATIONS, said)
/** Describes an option that is a duration, or `false` for none. */
export const DurationOrNone = (said: Amount): TUnsafe<string | false> => amountOrFalse(DURATIONS, said)
/** Describes an option that is a size. */
export const Size = (said: Amount): TUnsafe<string> => amount(SIZES, said)
/** Describes an option that is a size, or `false` for none. */
export const SizeOrNone = (said: Amount): TUnsafe<string | false> => amountOrFalse(SIZES, said)
/** Describes an option that is a rate, or `false` for none. */
export const RateOrNone = (said: Amount): TUnsafe<string | false> => amountOrFalse(RATES, said)
/** Describes an option that is a share of a whole. */
export const Share = (said: Said): TUnsafe<string> =>
  Type.Unsafe<string>({
    type: 'string',
    pattern: '^(100(\\.0+)?|\\d{1,2}(\\.\\d+)?)%$',
    [EXPECTED]: 'a share such as "5%"',
    ...said
  })
/** Describes an option that is a text, or `false` for none. */
export const TextOrNone = (said: Said & { pattern?: string }): TUnsafe<string | false> =>
  Type.Unsafe<string | false>({
    anyOf: [
      { type: 'string', ...(said.pattern === undefined ? {} : { pattern: said.pattern }) },
      { const: false }
    ],
    [EXPECTED]: 'a text, or false for none',
    description: said.description,
    ...(said.default === undefined ? {} : { default: said.default })
  })
