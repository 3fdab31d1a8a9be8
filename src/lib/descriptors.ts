import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'

interface Limits {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

let known: { readonly limit: number | undefined } | undefined

/** Returns how many file descriptors this process may have open; undefined where the limit is infinite or unknown (Windows). */
export function descriptorLimit(): number | undefined {
  if (known !== undefined) return known.limit
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report
  const { excludeNetwork = false } = report
  // Without this the report resolves the name of every address.
  report.excludeNetwork = true
  const soft = (report.getReport() as Limits).userLimits?.open_files?.soft
  report.excludeNetwork = excludeNetwork
  const limit = typeof soft === 'number' ? soft : undefined
  known = { limit }
  return limit
}

// The kernel assigns the lowest free number, so a high one means that nearly all are used.
const NEAR_LIMIT = 16

/** Returns whether a descriptor of this number shows that nearly all of a limit are used. */
export const isNearLimit = (descriptor: number, limit: number): boolean => descriptor >= limit - NEAR_LIMIT

// No descriptor left in this process or on this machine, no local port, no memory for a socket.
const EXHAUSTED: ReadonlySet<string | undefined> = new Set([
  'EMFILE',
  'ENFILE',
  'EADDRNOTAVAIL',
  'ENOBUFS',
  'ENOMEM'
])

/** Returns whether a connection failed because this machine has no descriptor or port left, which is not a fault of the other side. */
export function isExhausted(error: NodeJS.ErrnoException & { readonly errors?: readonly Error[] }): boolean {
  // Several addresses were tried; an address that refused is reachable.
  if (error.errors !== undefined && error.errors.length > 0) return error.errors.every(isExhausted)
  if (error.syscall?.startsWith('getaddrinfo') === true) return !hasDescriptor()
  return EXHAUSTED.has(error.code)
}

// A resolver without a descriptor reports that the name does not exist.
function hasDescriptor(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return true
  } catch {
    return false
  }
}
