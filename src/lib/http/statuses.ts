import { STATUS_CODES } from 'node:http'
import { type TArray, type TUnsafe, Type } from 'typebox'
import { EXPECTED } from '../units.ts'

/** One status or several, as options name them: 404, "404", "4xx" or "200-299". */
export type StatusOption = number | string

const patternOf = (first: string): string => `^${first}(\\d\\d(-${first}\\d\\d)?|xx)$`

/** The pattern of a status, a class or a range. */
const STATUS = patternOf('[1-5]')

/** The pattern of a status, a class or a range of errors. */
export const ERROR_STATUS = patternOf('[45]')

/** How a message says which statuses an option takes. */
export const EXPECTED_ERROR_STATUS = 'an error status such as 404, "4xx" or "500-504"'

const statusOption = (pattern: string, minimum: number, expected: string): TUnsafe<StatusOption> =>
  Type.Unsafe<StatusOption>({
    anyOf: [
      { type: 'integer', minimum, maximum: 599 },
      { type: 'string', pattern }
    ],
    [EXPECTED]: expected
  })

/** The statuses of errors that a stale response may take the place of (RFC 5861 section 4). */
export const STALE_IF_ERROR: ReadonlySet<number> = new Set([500, 502, 503, 504])

interface StatusProps {
  readonly description: string
  readonly default?: readonly StatusOption[]
  readonly examples?: readonly (readonly StatusOption[])[]
}

/** Describes an option that is a list of statuses, classes and ranges. */
export const Statuses = (props: StatusProps): TArray<TUnsafe<StatusOption>> =>
  Type.Array(statusOption(STATUS, 100, 'a status such as 404, "4xx" or "200-299"'), {
    minItems: 1,
    ...props
  })

/** Describes an option that is a list of statuses, classes and ranges of errors. */
export const ErrorStatuses = (props: StatusProps): TArray<TUnsafe<StatusOption>> =>
  Type.Array(statusOption(ERROR_STATUS, 400, EXPECTED_ERROR_STATUS), { minItems: 1, ...props })

/** Returns the first and the last status that an option names. */
export function statusRange(option: StatusOption): readonly [first: number, last: number] {
  const text = String(option)
  if (text.endsWith('xx')) return [Number(text[0]) * 100, Number(text[0]) * 100 + 99]
  const [one = 0, other = one] = text.split('-').map(Number)
  return [Math.min(one, other), Math.max(one, other)]
}

/** Compiles statuses, classes and ranges into a test of statuses. */
export function statusMatcher(options: readonly StatusOption[]): (status: number) => boolean {
  const ranges = options.map(statusRange)
  return (status) => ranges.some(([first, last]) => status >= first && status <= last)
}

/** Lists the statuses that options name; of classes and ranges those with a registered meaning. */
export const registeredStatuses = (options: readonly StatusOption[]): number[] => [
  ...new Set(
    options
      .map(statusRange)
      .flatMap(([first, last]) => (first === last ? [first] : registeredIn(first, last)))
  )
]

const registeredIn = (first: number, last: number): number[] =>
  Object.keys(STATUS_CODES)
    .map(Number)
    .filter((status) => status >= first && status <= last)
