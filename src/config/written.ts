import { type Fault, type Path, showPath, type UnknownOption } from './fault.ts'
import { type InterpolatedSource, pathKey } from './interpolate.ts'
import type { ValueFault } from './messages.ts'

/** The options of a concern, a target or the core, as they are written at one place. */
export interface Written {
  readonly source: InterpolatedSource
  readonly path: Path
  readonly value: unknown
}

/** Written options, and what has them. */
export interface PlacedWritten extends Written {
  /** The paths of the group or route; empty for the root. */
  readonly paths: readonly string[]
  readonly level: 'root' | 'group' | 'route'
}

/** Returns the fault for an invalid value inside written options, at its place in the file. */
export function faultIn(
  { source, path: outer }: Written,
  { path, message, known }: ValueFault
): Fault | UnknownOption {
  const key = [...outer, ...path]
  const fault = { ...source.at(key), path: showPath(key), message }
  return known === undefined ? fault : { ...fault, key, known }
}

/** Returns how a message writes a value that it must not quote: an interpolated one as it was written, a secret not at all. */
export function maskOf(written: Written | undefined): (path: Path) => string | undefined {
  return (path) => {
    if (written === undefined) return undefined
    const template = written.source.templates.get(pathKey([...written.path, ...path]))
    if (template !== undefined) return JSON.stringify(template)
    return path.some((key) => /secret|password|token|hmac/i.test(String(key)))
      ? 'a value that is not shown'
      : undefined
  }
}

/** Puts `${…}` back in place of an interpolated value wherever a message quotes it. */
export function messageAsWritten(written: Written, { path, message }: ValueFault): string {
  const template = written.source.templates.get(pathKey([...written.path, ...path]))
  const value = valueAt(written.value, path)
  if (template === undefined || typeof value !== 'string' || value === '') return message
  return message
    .replaceAll(value, () => template)
    .replaceAll(/"[^"]{2,}"/g, (quoted) =>
      value.includes(quoted.slice(1, -1)) ? JSON.stringify(template) : quoted
    )
}

/** Returns whether a value has something at a path inside it. */
export const hasValueAt = (value: unknown, path: Path): boolean =>
  path.length > 0 && valueAt(value, path) !== undefined

function valueAt(value: unknown, path: Path): unknown {
  let here = value
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined
    here = (here as Record<string | number, unknown>)[key]
  }
  return here
}
