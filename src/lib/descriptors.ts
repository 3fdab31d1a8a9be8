import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'

interface Limits {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

let known: { readonly limit: number | undefined } | undefined

/** Reads how many file descriptors this process may have open; undefined where there is no limit, or none is known (Windows). */
export function descriptorLimit(): number | undefined {
  if (known !== undefined) return known.limit
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report
  const { excludeNetwork = false } = report
  // The report would look up the name of every address.
  report.excludeNetwork = true
  const soft = (report.getReport() as Limits).userLimits?.open_files?.soft
  report.excludeNetwork = excludeNetwork
  const limit = typeof soft === 'number' ? soft : undefined
  known = { limit }
  return limit
}

// The kernel gives out the lowest number that is free, so a high one means that nearly all are used.
const NEARLY = 16

/** Returns whether a descriptor of this number shows that nearly all of a limit are used. */
export const isNearLimit = (descriptor: number, limit: number): boolean => descriptor >= limit - NEARLY

// No descriptor in this process or on this machine, no local port, no memory for a socket.
const EXHAUSTED: ReadonlySet<string | undefined> = new Set([
  'EMFILE',
  'ENFILE',
  'EADDRNOTAVAIL',
  'ENOBUFS',
  'ENOMEM'
])

/** Returns whether a connection could not be opened because this machine has no descriptor or port left; the other side has no part in it. */
export function isExhausted(error: NodeJS.ErrnoException & { readonly errors?: readonly Error[] }): boolean {
  // Several addresses were tried; one that refused has answered.
  if (error.errors !== undefined && error.errors.length > 0) return error.errors.every(isExhausted)
  if (error.syscall?.startsWith('getaddrinfo') === true) return !hasDescriptor()
  return EXHAUSTED.has(error.code)
}

// A resolver without a descriptor says that there is no such name.
function hasDescriptor(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return true
  } catch {
    return false
  }
}
