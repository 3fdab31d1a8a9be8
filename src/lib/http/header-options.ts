import { Type } from 'typebox'
import type { OptionFault } from '../schema.ts'
import { REPLACED_WHOLE } from '../units.ts'
import { NAME } from './headers.ts'
import { FRAMING } from './hop-by-hop.ts'

/** Describes the name of a header in a config (RFC 9110 section 5.1). */
export const HeaderName = Type.String({ pattern: NAME })

/** The schema of the headers of a response that a config writes. */
export const ResponseHeaders = Type.Record(HeaderName, Type.String(), {
  additionalProperties: false,
  default: {},
  [REPLACED_WHOLE]: true,
  description: 'The response headers.',
  examples: [{ 'content-type': 'text/plain' }]
})

/** Returns the errors of a header that a config sets: a name that frames the message, or a value with a line break (CWE-113). */
export function headerFaults(name: string, value: unknown, path: OptionFault['path']): OptionFault[] {
  const found: OptionFault[] = []
  if (FRAMING.has(name.toLowerCase()))
    found.push({
      path,
      message: `"${name}" frames the message itself and can't be changed${name.toLowerCase() === 'host' ? '; "proxy.preserveHost" sends that of the client, "host" of an upstream another one' : ''}`
    })
  if (typeof value === 'string' && /[\r\n\0]/.test(value))
    found.push({ path, message: `The value of "${name}" has a line break, which no header can have` })
  return found
}
