/** Hands what comes of a promise to a callback, outside of the promise: what the callback throws is nobody's rejection. */
export function settleCallback<T>(result: Promise<T>, done: (error: unknown, value?: T) => void): void {
  result.then(
    (value) => process.nextTick(done, null, value),
    (error: unknown) => process.nextTick(done, error)
  )
}
