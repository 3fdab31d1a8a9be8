import { FormatError } from './format-errors.ts'

// As many keys as a JSON body may have.
const MAX_FIELDS = 10_000

type Form = Record<string, string | string[]>

/** Reads `application/x-www-form-urlencoded` into an object with a null prototype; a repeated name is a list; throws a FormatError. */
export function readForm(text: string): Form {
  const form: Form = Object.create(null)
  const fields = text.split('&', MAX_FIELDS + 1)
  if (fields.length > MAX_FIELDS) throw new FormatError('too many fields')
  for (const field of fields) {
    if (field === '') continue
    const equals = field.indexOf('=')
    const name = decode(equals === -1 ? field : field.slice(0, equals))
    const value = equals === -1 ? '' : decode(field.slice(equals + 1))
    const before = form[name]
    if (before === undefined) form[name] = value
    else if (Array.isArray(before)) before.push(value)
    else form[name] = [before, value]
  }
  return form
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw new FormatError('malformed form: percent-encoding')
  }
}
