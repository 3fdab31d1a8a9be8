import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Forwarding, Upgrade } from '../../src/kit/index.ts'
import { closeFrame, Frames, GOING_AWAY } from './frames.ts'

/** What a joined connection may take, in milliseconds; undefined for no limit. */
export interface Joint {
  readonly idle: number | undefined
  readonly lifetime: number | undefined
}

// How long a frame may take to end, and then a client to read its last one, in milliseconds.
const LAST_WORD = 1000

/** Joins two WebSocket connections from here on; the end of one is the end of the other. */
export function join(
  response: ServerResponse,
  upgrade: Upgrade,
  upstream: Duplex,
  { idle, lifetime }: Joint,
  forwarding: Forwarding
): void {
  const { socket: client, head } = upgrade
  response.detachSocket(client as never)
  const frames = new Frames()
  let over = false
  let last: Buffer | undefined
  const timers: NodeJS.Timeout[] = []
  const end = (): void => {
    if (over) return
    over = true
    for (const timer of timers) clearTimeout(timer)
    upstream.unpipe(client)
    upstream.destroy()
    if (last === undefined || !client.writable || !frames.between) client.destroy()
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
  const leave = (code: number): void => {
    if (over || last !== undefined) return
    last = closeFrame(code)
    // In the middle of a frame a close would be read as a part of it.
    if (frames.between) end()
    else timers.push(setTimeout(end, LAST_WORD))
  }
  const away = (): void => leave(GOING_AWAY)
  upgrade.leave = leave
  if (lifetime !== undefined) timers.push(setTimeout(away, lifetime))
  const stir = idle === undefined ? () => {} : watch(idle, away, timers)
  client.on('data', (chunk: Buffer) => {
    forwarding.bytesIn += chunk.length
    stir()
  })
  upstream.on('data', (chunk: Buffer) => {
    forwarding.bytesOut += chunk.length
    frames.take(chunk)
    stir()
  })
  for (const side of [client, upstream]) side.on('error', end).on('close', end)
  if (head.length > 0) {
    forwarding.bytesIn += head.length
    upstream.write(head)
  }
  client.pipe(upstream)
  upstream.pipe(client)
  // Behind the pipe, so that the rest of a frame is on its way before the last word.
  upstream.on('data', () => {
    if (last !== undefined && frames.between) end()
  })
}

/** Calls back once nothing has stirred for a while. */
function watch(idle: number, call: () => void, timers: NodeJS.Timeout[]): () => void {
  const timer = setTimeout(call, idle)
  timers.push(timer)
  return () => void timer.refresh()
}
