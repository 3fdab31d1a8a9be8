/** Runs `begin` unless the signal is aborted; rejects as soon as it aborts. */
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
