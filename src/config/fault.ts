/** A place in a config file; lines and columns count from 1. */
export interface Place {
  readonly file: string
  readonly line?: number
  readonly column?: number
}

/** Keys and indexes from the top of a file to a value. */
export type Path = readonly (string | number)[]

/** One error or warning of a config. */
export interface Fault extends Place {
  /** The path in the config, such as `routes[2].proxy.upstream`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

/** The error of an option that is unknown at its place. */
export interface UnknownOption extends Fault {
  readonly key: Path
  /** The valid options there. */
  readonly known: readonly string[]
}

/** The error of a value whose environment variable is not set. */
export interface MissingVariable extends Fault {
  readonly variable: string
}

/** Returns whether an error is that of an environment variable that is not set. */
export const isMissingVariable = (fault: Fault): fault is MissingVariable => 'variable' in fault

/** Sorts errors by place: file by file in the given order, then by line. */
export function sortFaults(faults: readonly Fault[], files: readonly string[] = []): Fault[] {
  const order = [...new Set([...files, ...faults.map(({ file }) => file)])]
  return faults.toSorted(
    (a, b) =>
      order.indexOf(a.file) - order.indexOf(b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0)
  )
}

/** All errors of a config; the message has one line for each. */
export class ConfigError extends Error {
  readonly faults: readonly Fault[]
  /** The files that were read until then, for watching. */
  readonly files: readonly string[]
  override readonly name = 'ConfigError'
  readonly code = 'SP_ERR_CONFIG'

  constructor(
    faults: readonly Fault[],
    { files = [], ...options }: ErrorOptions & { readonly files?: readonly string[] } = {}
  ) {
    super(faults.map(showFault).join('\n'), options)
    this.faults = faults
    this.files = files
    this.stack = `${this.name}: ${this.message}`
  }
}

/** Formats a place as `file:line:column`. */
export function showPlace({ file, line, column }: Place): string {
  return line === undefined ? file : `${file}:${line}:${column ?? 1}`
}

/** Formats an error as one line: its place, its path and its message. */
export function showFault(fault: Fault): string {
  return `${showPlace(fault)} ${fault.path === '' ? '' : `${fault.path}: `}${fault.message}`
}

/** Formats a path as in `routes[2].proxy.upstream`. */
export function showPath(path: Path): string {
  let made = ''
  for (const key of path) {
    if (typeof key === 'number') made += `[${key}]`
    else if (/^[\w$-]+$/.test(key)) made += made === '' ? key : `.${key}`
    else made += `[${JSON.stringify(key)}]`
  }
  return made
}
