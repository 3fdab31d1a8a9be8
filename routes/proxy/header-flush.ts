/** A response whose headers wait for the first part of its body. */
export interface PendingHeaders {
  /** Sends the headers if no body has followed. */
  flush(): void
  onInternalError(error: unknown): void
}

let pending: PendingHeaders[] = []

/** Calls `flush` at the end of this round of the event loop: until then headers and body can share one write. */
export function flushSoon(response: PendingHeaders): void {
  if (pending.push(response) === 1) setImmediate(flushAll)
}

function flushAll(): void {
  const responses = pending
  pending = []
  for (const response of responses)
    try {
      response.flush()
    } catch (error) {
      response.onInternalError(error)
    }
}
