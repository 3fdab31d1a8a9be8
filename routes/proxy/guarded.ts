/** Makes a callback for a timer or a socket, in which an error ends the exchange instead of the process. */
export function guarded<T extends { onInternalError(error: unknown): void }>(
  act: (exchange: T) => void
): (exchange: T) => void {
  return (exchange) => {
    try {
      act(exchange)
    } catch (error) {
      exchange.onInternalError(error)
    }
  }
}
