import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { Scope } from './helpers.ts'

/** What a fault proxy does to a connection. */
export const FAULTS = [
  'pass',
  'refuse',
  'silent',
  'before',
  'garbage',
  'endless',
  'in head',
  'in body',
  'short',
  'slow'
] as const
export type Fault = (typeof FAULTS)[number]

/** Makes numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A proxy between a gateway and an upstream that breaks connections. */
export interface FaultProxy {
  readonly url: string
  /** The connections that are open now. */
  readonly open: ReadonlySet<Socket>
}

/** Starts a fault proxy; `choose` says for each connection what becomes of it. */
export async function faultProxy(t: Scope, upstream: string, choose: () => Fault): Promise<FaultProxy> {
  const { port } = new URL(upstream)
  const open = new Set<Socket>()
  const server = net.createServer((client) => {
    open.add(client)
    client.on('error', () => {}).on('close', () => open.delete(client))
    const fault = choose()
    if (fault === 'refuse') return void client.resetAndDestroy()
    client.once('data', (data) => spoil(client, data, Number(port), fault))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, open }
}

// Bytes of an answer after which a connection is lost: in the head, or in the body.
const CUTS: Partial<Record<Fault, number>> = { 'in head': 10, 'in body': 400, short: 400 }

// What a slow answer brings at a time, in bytes, and how often, in milliseconds.
const DRIP = 200
const OFTEN = 2

function spoil(client: Socket, first: Buffer, port: number, fault: Fault): void {
  if (fault === 'before') return void client.resetAndDestroy()
  if (fault === 'silent') return
  if (fault === 'garbage') return void client.end('\x00\x01<html>what?</html>\r\n\r\n')
  if (fault === 'endless') {
    goOn(client)
    return
  }
  const up = net.connect(port, '127.0.0.1', () => up.write(first))
  if (fault === 'slow') drip(up, client)
  else if (CUTS[fault] === undefined) up.pipe(client)
  else cut(up, client, CUTS[fault], fault === 'short')
  client.on('data', (data) => up.write(data))
  up.on('error', () => client.destroy())
  client.on('close', () => up.destroy())
}

/** Sends headers for as long as they are read. */
function goOn(client: Socket): void {
  client.write('HTTP/1.1 200 OK\r\n')
  const more = (): void => {
    if (!client.destroyed) client.write('x-more: and more and more\r\n'.repeat(100), () => setImmediate(more))
  }
  more()
}

/** Passes an answer on up to some byte; then the connection ends, or is reset. */
function cut(up: Socket, client: Socket, after: number, ends: boolean): void {
  let left = after
  up.on('data', (data) => {
    if (left <= 0) return
    client.write(data.subarray(0, left))
    left -= data.length
    if (left <= 0) setImmediate(() => (ends ? client.end() : client.resetAndDestroy()))
  })
}

/** Passes an answer on in small pieces. */
function drip(up: Socket, client: Socket): void {
  let rest = Buffer.alloc(0)
  const timer = setInterval(() => {
    if (rest.length > 0 && !client.destroyed) client.write(rest.subarray(0, DRIP))
    rest = rest.subarray(DRIP)
    if (rest.length === 0 && up.readableEnded) client.end()
  }, OFTEN)
  up.on('data', (data) => {
    rest = Buffer.concat([rest, data])
  })
  client.on('close', () => clearInterval(timer))
}
