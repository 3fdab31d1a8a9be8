/** Ends an attempt whose response is no longer needed; it does not count as a failure of the target. */
export class Superseded extends Error {}

/** Ends a response body that was idle for longer than `timeouts.body`. */
export class BodyTimeout extends Error {
  readonly code = 'UND_ERR_BODY_TIMEOUT'
  readonly statusCode = 504
}

/** Returns whether an error is a timeout of the upstream (504). */
export const isTimeoutError = (error: Error & { statusCode?: number }): boolean => error.statusCode === 504

/** Returns why an attempt failed, in the words of `retry.on`. */
export function reasonOf(
  { connected }: { readonly connected: boolean },
  { code }: { code?: string }
): string {
  if (!connected) return 'connect'
  return code === 'UND_ERR_HEADERS_TIMEOUT' ? 'timeout' : 'reset'
}

const LOCAL_ERROR_CODES = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
  'SP_ERR_UPSTREAM_SOCKETS'
])

/** Returns whether the gateway itself could not send the request, so that nothing reached the target. */
export const isLocalError = ({ code }: Error & { code?: string }): boolean =>
  code !== undefined && LOCAL_ERROR_CODES.has(code)

/** Returns whether an error looks like an idle connection that the upstream closed just as it was reused. */
export function isStaleConnection(
  error: Error & { code?: string; socket?: { bytesRead?: number } }
): boolean {
  return (
    (error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE') &&
    (error.socket?.bytesRead ?? 1) > 0
  )
}
