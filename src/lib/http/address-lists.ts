import { readFileSync } from 'node:fs'
import { type TArray, type TString, Type } from 'typebox'
import type { OptionFault } from '../schema.ts'
import { ADDRESSES } from '../units.ts'
import { unreadable } from '../unreadable.ts'
import { EXPECTED_RANGE, isRange } from './networks.ts'

/** The schema of one entry of an address list: an address, a range, a preset, or "file:NAME". */
export const AddressEntry = Type.String({ minLength: 1, [ADDRESSES]: true })

interface ListProps {
  readonly description: string
  readonly default?: string[]
  readonly examples?: readonly (readonly string[])[]
  readonly minItems?: number
}

/** Describes an option that is a list of addresses, ranges, presets and files of them. */
export const AddressList = (props: ListProps): TArray<TString> => Type.Array(AddressEntry, { ...props })

const FILE_PREFIX = 'file:'

/** Returns the file that an entry of an address list names; undefined for an address. */
export const addressFileOf = (entry: string): string | undefined =>
  entry.startsWith(FILE_PREFIX) ? entry.slice(FILE_PREFIX.length) : undefined

interface Line {
  readonly text: string
  readonly line: number
}

/** Reads the lines of a file of addresses, without comments and empty lines. */
const linesOf = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((written, i) => ({ text: written.replace(/#.*/, '').trim(), line: i + 1 }))
    .filter(({ text }) => text !== '')

/** Reads the ranges of a file of addresses: one a line, "#" begins a comment. */
export const readAddressFile = (file: string): string[] => linesOf(file).map(({ text }) => text)

/** Returns the ranges of an address list, those of its files included. */
export const readAddresses = (list: readonly string[]): string[] =>
  list.flatMap((entry) => {
    const file = addressFileOf(entry)
    return file === undefined ? [entry] : readAddressFile(file)
  })

/** Returns what is wrong with a text in an address list; undefined if nothing is. */
export type RangeFault = (range: string) => string | undefined

/** Returns the error of a text that is no address, range or preset. */
export const notARange: RangeFault = (range) =>
  isRange(range) ? undefined : `expected an address, got "${range}"; ${EXPECTED_RANGE} would work`

/** Returns the errors of an address list, with the lines of its files. */
export const addressFaults = (
  list: readonly string[],
  path: OptionFault['path'],
  faultOf: RangeFault = notARange
): OptionFault[] =>
  list.flatMap((entry, i) => {
    const file = addressFileOf(entry)
    if (file !== undefined) return addressFileFaults(file, [...path, i], faultOf)
    const message = faultOf(entry)
    return message === undefined ? [] : [{ path: [...path, i], message }]
  })

/** Returns the errors of a file of addresses, with their lines; one error if it can't be read. */
export function addressFileFaults(
  file: string,
  path: OptionFault['path'],
  faultOf: RangeFault = notARange
): OptionFault[] {
  try {
    return linesOf(file).flatMap(({ text, line }) => {
      const message = faultOf(text)
      return message === undefined ? [] : [{ path, message: `${file}:${line}: ${message}` }]
    })
  } catch (error) {
    return [{ path, message: unreadable(file, error) }]
  }
}
