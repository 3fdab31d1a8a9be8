import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { buildGateway, Keep, loadConfig, type Served, serve } from '../../src/index.ts'
import { type ReadableLog, readableLog, type Scope } from '../helpers.ts'

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
const SHAKE = 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

interface Joined {
  readonly served: Served
  readonly client: Socket
  readonly upstream: Duplex
  /** All that the client has read behind the head. */
  read(): string
  /** Waits until the client has read so many bytes behind the head. */
  bytes(count: number): Promise<void>
  reload(): Promise<void>
  readonly log: ReadableLog
}

/** Joins a client and an upstream through a gateway on a socket. */
async function joined(t: Scope, drainTimeout: number): Promise<Joined> {
  const taken = Promise.withResolvers<Duplex>()
  const server = http.createServer()
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {}).write(SWITCH)
    taken.resolve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const keep = new Keep()
  const build = async (): Promise<Awaited<ReturnType<typeof buildGateway>>> =>
    buildGateway(
      await loadConfig({ accessLog: false, routes: [{ path: '/*', proxy: { upstream: url } }] }, {}),
      keep
    )
  const log = readableLog('warn')
  const served = await serve(await build(), { host: '127.0.0.1', port: 0, log: log.log, drainTimeout })
  const client = connect(served.address.port, '127.0.0.1', () => client.write(SHAKE))
  client.on('error', () => {})
  t.teardown(async () => {
    client.destroy()
    await served.close()
    server.close()
  })
  let seen = ''
  client.on('data', (data) => {
    seen += data.toString('latin1')
  })
  const behind = (): string => seen.slice(seen.indexOf('\r\n\r\n') + 4)
  const bytes = async (count: number): Promise<void> => {
    while (!seen.includes('\r\n\r\n') || behind().length < count) await once(client, 'data')
  }
  await bytes(0)
  return {
    served,
    log,
    client,
    upstream: await taken.promise,
    read: behind,
    bytes,
    reload: async () => served.swap(await build())
  }
}

t.test('tells a WebSocket "service restart" when a reload is long over, not at once', async (t) => {
  const { client, upstream, read, bytes, reload } = await joined(t, 300)
  await reload()
  upstream.write('\x81\x02hi', 'latin1')
  await bytes(4)
  t.equal(read(), '\x81\x02hi', 'it lives on under the config that it was opened with')
  await once(client, 'close')
  t.equal(read(), '\x81\x02hi\x88\x02\x03\xf4')
})

t.test('tells a WebSocket "going away" at the deadline of a drain', async (t) => {
  const { served, client, upstream, read, bytes } = await joined(t, 200)
  const drained = served.drain()
  upstream.write('\x81\x02hi', 'latin1')
  await bytes(4)
  await Promise.all([drained, once(client, 'close')])
  t.equal(read(), '\x81\x02hi\x88\x02\x03\xe9')
})

t.test('puts the last word between frames, never into one', async (t) => {
  const frame = (length: number): Buffer => {
    const head = length < 126 ? [0x82, length] : length < 65_536 ? [0x82, 126, length >> 8, length & 255] : []
    if (head.length > 0) return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 'x')])
    const long = Buffer.alloc(10)
    long.set([0x82, 127])
    long.writeBigUInt64BE(BigInt(length), 2)
    return Buffer.concat([long, Buffer.alloc(length, 'x')])
  }
  for (const length of [5, 300, 70_000]) {
    const { client, upstream, read, bytes, served, log } = await joined(t, 1)
    const bytesOfFrame = frame(length)
    const half = bytesOfFrame.subarray(0, length < 300 ? 1 : length - 1)
    upstream.write(half)
    await bytes(half.length)
    const drained = served.drain()
    await log.line(({ owed }) => owed === 1)
    upstream.write(bytesOfFrame.subarray(half.length))
    await Promise.all([drained, once(client, 'close')])
    t.equal(read(), `${bytesOfFrame.toString('latin1')}\x88\x02\x03\xe9`, `a frame of ${length} bytes`)
  }
})

t.test(
  'cuts a WebSocket whose frame does not end, without a word that would be read as a part of it',
  async (t) => {
    const { client, upstream, read, bytes, served } = await joined(t, 1)
    upstream.write('\x82\x0ahalf', 'latin1')
    await bytes(6)
    await Promise.all([served.drain(), once(client, 'close')])
    t.equal(read(), '\x82\x0ahalf')
  }
)
