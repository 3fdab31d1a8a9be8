import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Forwarding, Upgrade } from '../../src/kit/index.ts'

/** What a joined connection may take, in milliseconds; undefined for no limit. */
export interface Joint {
  readonly idle: number | undefined
  readonly lifetime: number | undefined
}

/** How a WebSocket ends that did nothing wrong: "going away" (RFC 6455 section 7.4.1, code 1001), as an unmasked close frame. */
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])

// How long a client may take to read its last frame, in milliseconds.
const LAST_WORD = 1000

/** Joins two connections that speak a protocol of their own from here on; the end of one is the end of the other. */
export function join(
  response: ServerResponse,
  upgrade: Upgrade,
  upstream: Duplex,
  { idle, lifetime }: Joint,
  forwarding: Forwarding
): void {
  const { socket: client, head } = upgrade
  response.detachSocket(client as never)
  let over = false
  const timers: NodeJS.Timeout[] = []
  const end = (last?: Buffer): void => {
    if (over) return
    over = true
    for (const timer of timers) clearTimeout(timer)
    upstream.destroy()
    if (last === undefined || !client.writable) client.destroy()
    else {
      // A client that no longer reads does not get to hold the connection.
      const timer = setTimeout(() => client.destroy(), LAST_WORD)
      client.end(last, () => {
        clearTimeout(timer)
        client.destroy()
      })
    }
    response.emit('close')
  }
  const away = (): void => end(GOING_AWAY)
  upgrade.leave = away
  if (lifetime !== undefined) timers.push(setTimeout(away, lifetime))
  const stir = idle === undefined ? () => {} : watch(idle, away, timers)
  client.on('data', (chunk: Buffer) => {
    forwarding.bytesIn += chunk.length
    stir()
  })
  upstream.on('data', (chunk: Buffer) => {
    forwarding.bytesOut += chunk.length
    stir()
  })
  for (const side of [client, upstream]) side.on('error', () => end()).on('close', () => end())
  if (head.length > 0) {
    forwarding.bytesIn += head.length
    upstream.write(head)
  }
  client.pipe(upstream)
  upstream.pipe(client)
}

/** Calls back once nothing has stirred for a while. */
function watch(idle: number, call: () => void, timers: NodeJS.Timeout[]): () => void {
  const timer = setTimeout(call, idle)
  timers.push(timer)
  return () => void timer.refresh()
}
