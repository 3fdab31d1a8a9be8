import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Scope } from '../helpers.ts'

/** What a DNS server of the tests knows: addresses, or services, by name and type. */
export interface Zone {
  readonly [question: `${'A' | 'AAAA' | 'SRV'} ${string}`]: readonly (
    | string
    | { priority: number; weight: number; port: number; name: string }
  )[]
}

const TYPES: Readonly<Record<number, 'A' | 'AAAA' | 'SRV'>> = { 1: 'A', 28: 'AAAA', 33: 'SRV' }

/** Starts a DNS server on a free port that answers from a zone as it is at the time, and tells its address (RFC 1035 section 4). */
export async function dnsServer(t: Scope, zone: () => Zone, ttl = 1): Promise<string> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const end = query.indexOf(0, 12)
    const question = query.subarray(12, end + 5)
    const type = query.readUInt16BE(end + 1)
    const records = zone()[`${TYPES[type] ?? 'A'} ${nameIn(query)}`]
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(records === undefined ? 0x8183 : 0x8180, 2)
    head.writeUInt16BE(records?.length ?? 0, 6)
    head.writeUInt32BE(0, 8)
    const answers = (records ?? []).map((record) => {
      const data = typeof record === 'string' ? addressOf(record, type) : serviceOf(record)
      const about = Buffer.alloc(12)
      about.writeUInt16BE(0xc00c, 0)
      about.writeUInt16BE(type, 2)
      about.writeUInt16BE(1, 4)
      about.writeUInt32BE(ttl, 6)
      about.writeUInt16BE(data.length, 10)
      return Buffer.concat([about, data])
    })
    socket.send(Buffer.concat([head, question, ...answers]), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  return `127.0.0.1:${socket.address().port}`
}

function nameIn(query: Buffer): string {
  const labels: string[] = []
  for (let at = 12; query[at] !== 0; at += (query[at] as number) + 1)
    labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] as number)))
  return labels.join('.').toLowerCase()
}

// An IPv6 address of the tests is "::1": it is the only one that everybody has.
const addressOf = (address: string, type: number): Buffer =>
  type === 28
    ? Buffer.concat([Buffer.alloc(15), Buffer.from([1])])
    : Buffer.from(address.split('.').map(Number))

function serviceOf({
  priority,
  weight,
  port,
  name
}: {
  priority: number
  weight: number
  port: number
  name: string
}): Buffer {
  const numbers = Buffer.alloc(6)
  numbers.writeUInt16BE(priority, 0)
  numbers.writeUInt16BE(weight, 2)
  numbers.writeUInt16BE(port, 4)
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([numbers, ...labels, Buffer.from([0])])
}
