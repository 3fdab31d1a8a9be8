import type { Format } from 'ajv'
import formats from 'ajv-formats/dist/formats.js'
import { IsIdnEmail, IsIdnHostname, IsIri, IsIriReference, Set as setTypeBoxFormat } from 'typebox/format'

/** The formats that are asserted, as ajv takes them: those of JSON Schema 2020-12 and of the OpenAPI registry. */
export const FORMATS: Readonly<Record<string, Format>> = {
  ...formats.fullFormats,
  'idn-email': IsIdnEmail,
  'idn-hostname': IsIdnHostname,
  iri: IsIri,
  'iri-reference': IsIriReference
}

/** Teaches TypeBox the same formats, so that a schema means the same in either engine. */
export function shareFormats(): void {
  for (const [name, format] of Object.entries(FORMATS)) {
    const check = checkOf(format)
    if (check !== undefined) setTypeBoxFormat(name, check)
  }
}

function checkOf(format: Format): ((value: string) => boolean) | undefined {
  if (format === true) return () => true
  if (format instanceof RegExp) return (value) => format.test(value)
  if (typeof format === 'function') return format as (value: string) => boolean
  if (typeof format !== 'object') return undefined
  // Formats of numbers say nothing of texts.
  if ('type' in format && format.type === 'number')
    return (value: unknown) => typeof value !== 'number' || (format.validate as (n: number) => boolean)(value)
  const { validate } = format
  return validate instanceof RegExp
    ? (value) => validate.test(value)
    : typeof validate === 'function'
      ? (value) => (validate as (text: string) => boolean)(value)
      : undefined
}
