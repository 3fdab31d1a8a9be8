import { CsvError, parse } from 'csv-parse/sync'
import { FormatError } from './format-errors.ts'

const MAX_COLUMNS = 256

// Each row repeats the names of the columns, so the value can be far larger than the text.
const MAX_GROWTH = 16

/** Reads CSV with a header row (RFC 4180) into a list of objects with null prototypes; every value stays a string; throws a FormatError. */
export function readCsv(text: string, maxBody: number): Record<string, string>[] {
  const rows: Record<string, string>[] = []
  let names: readonly string[] | undefined
  let room = maxBody * MAX_GROWTH
  // Nothing is kept by the parser: each row becomes an object at once.
  const takeRow = (row: string[]): null => {
    if (names === undefined) names = headerOf(row)
    else {
      rows.push(objectOf(names, row))
      for (const name of names) room -= name.length
      if (room < 0) throw new FormatError('too large', 'size')
    }
    return null
  }
  try {
    parse(text, { on_record: takeRow, record_delimiter: ['\r\n', '\n', '\r'], skip_empty_lines: true })
  } catch (error) {
    throw error instanceof CsvError ? new FormatError(`malformed CSV: ${reasonOf(error)}`) : error
  }
  if (names === undefined) throw new FormatError('malformed CSV: no header row')
  return rows
}

function headerOf(row: readonly string[]): readonly string[] {
  if (row.length > MAX_COLUMNS) throw new FormatError('too many columns')
  if (new Set(row).size !== row.length) throw new FormatError('malformed CSV: two columns with one name')
  return row
}

function objectOf(names: readonly string[], row: readonly string[]): Record<string, string> {
  const made: Record<string, string> = Object.create(null)
  for (let i = 0; i < names.length; i++) made[names[i] ?? ''] = row[i] ?? ''
  return made
}

// The message has content; the code is a fixed text such as CSV_QUOTE_NOT_CLOSED.
const reasonOf = ({ code }: CsvError): string => code.replace(/^CSV_/, '').replaceAll('_', ' ').toLowerCase()
