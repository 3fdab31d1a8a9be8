import { variableName } from './names.ts'
import type { Translation } from './translation.ts'
import { WHOLE_MARK } from './values.ts'

const SECRET = /authorization|cookie|api-?key|token|secret|password/

/** Returns a variable in place of the value of a header whose name says that it is a secret; undefined for other headers. */
export function secretHeader(name: string, value: string, translation: Translation): string | undefined {
  // What is taken from the request is no secret of the source.
  if (!SECRET.test(name) || value.includes('$(') || WHOLE_MARK.test(value)) return undefined
  return translation.variable(variableName('HEADER', name), 'example')
}
