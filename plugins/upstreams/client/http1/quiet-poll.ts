/** A connection with a complete response, about to be reused. */
export interface QuietPollListener {
  /** Called after a complete poll phase of the event loop, in which the socket could be read. */
  onQuietPoll(): void
}

let added: QuietPollListener[] = []
let polled: QuietPollListener[] = []
let scheduled = false

/**
 * Calls `onQuietPoll` after the event loop has polled all sockets once more. Surplus bytes behind a response have been read by then,
 * before another client's request uses the connection. The first immediate runs before that poll, the second one after it.
 * One immediate serves all connections.
 */
export function afterQuietPoll(connection: QuietPollListener): void {
  added.push(connection)
  if (scheduled) return
  scheduled = true
  setImmediate(onImmediate)
}

function onImmediate(): void {
  const proven = polled
  polled = added
  added = []
  scheduled = polled.length > 0
  if (scheduled) setImmediate(onImmediate)
  for (const connection of proven) connection.onQuietPoll()
}
