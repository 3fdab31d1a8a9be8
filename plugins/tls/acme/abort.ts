/** Waits for something, but no longer than until a signal aborts. */
export async function orAborted<T>(waited: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([waited, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
