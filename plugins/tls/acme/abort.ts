/** Begins something unless a signal has aborted, and waits for it no longer than until it does. */
export async function abortable<T>(begin: () => Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([begin(), promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
