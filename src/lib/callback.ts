/** Calls a callback with the result of a promise. An error that the callback throws is an uncaught exception, not a rejection. */
export function settleCallback<T>(result: Promise<T>, done: (error: unknown, value?: T) => void): void {
  result.then(
    (value) => process.nextTick(done, null, value),
    (error: unknown) => process.nextTick(done, error)
  )
}
