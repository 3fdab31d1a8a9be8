/** A connection whose answer is complete and that waits to be reused. */
export interface QuietPollListener {
  /** Called after a whole poll phase of the event loop in which the connection had its chance to read. */
  onQuietPoll(): void
}

let added: QuietPollListener[] = []
let polled: QuietPollListener[] = []
let scheduled = false

/**
 * Calls `onQuietPoll` once the event loop has polled all sockets again: an upstream that sends bytes behind its answer
 * has them read by then, and nobody else's request is on the connection yet. The first immediate runs before that poll,
 * the second one behind it. One immediate serves all connections.
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
