/** Makes a callback for a timer or a socket, in which an error ends the request instead of the process. */
export function guarded<T extends { onInternalError(error: unknown): void }>(
  act: (request: T) => void
): (request: T) => void {
  return (request) => {
    try {
      act(request)
    } catch (error) {
      request.onInternalError(error)
    }
  }
}
