import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { buildGateway, Keep, loadConfig, type Served, serve } from '../../src/index.ts'
import {
  certificate,
  closed,
  listening,
  noOpenssl,
  type ReadableLog,
  raw,
  readableLog,
  type Scope,
  statusOf
} from '../helpers.ts'

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

t.test('closes a WebSocket with 1012 some time after a reload, not at once', async (t) => {
  const { client, upstream, read, bytes, reload } = await joined(t, 300)
  await reload()
  upstream.write('\x81\x02hi', 'latin1')
  await bytes(4)
  t.equal(read(), '\x81\x02hi', 'it lives on under the config that it was opened with')
  await once(client, 'close')
  t.equal(read(), '\x81\x02hi\x88\x02\x03\xf4')
})

t.test('closes a WebSocket with 1001 at the deadline of a drain', async (t) => {
  const { served, client, upstream, read, bytes } = await joined(t, 200)
  const drained = served.drain()
  upstream.write('\x81\x02hi', 'latin1')
  await bytes(4)
  await Promise.all([drained, once(client, 'close')])
  t.equal(read(), '\x81\x02hi\x88\x02\x03\xe9')
})

t.test('sends the close frame between frames, never within one', async (t) => {
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

t.test('cuts a WebSocket whose frame does not end, without a close frame', async (t) => {
  const { client, upstream, read, bytes, served } = await joined(t, 1)
  upstream.write('\x82\x0ahalf', 'latin1')
  await bytes(6)
  await Promise.all([served.drain(), once(client, 'close')])
  t.equal(read(), '\x82\x0ahalf')
})

/** Both ends of a WebSocket through a gateway, as sockets that may be half-closed. */
interface Tunnel {
  readonly client: Socket
  readonly upstream: Socket
  readonly served: Served
}

interface Sides {
  readonly client: 'plain' | 'TLS'
  readonly upstream: 'plain' | 'TLS'
}

/** Opens a WebSocket through a gateway whose sides are as given. */
async function tunnel(
  t: Scope & Pick<Test, 'testdir'>,
  sides: Sides,
  websocket: object = {}
): Promise<Tunnel> {
  const pair = sides.client === 'TLS' || sides.upstream === 'TLS' ? certificate(t) : undefined
  const taken = Promise.withResolvers<Socket>()
  const options = { allowHalfOpen: true }
  const accept = (socket: Socket): void => {
    socket
      .on('error', () => {})
      .once('data', () => {
        socket.write(SWITCH)
        taken.resolve(socket)
      })
  }
  const server =
    sides.upstream === 'TLS'
      ? createTlsServer({ ...options, key: pair?.key, cert: pair?.cert }, accept)
      : createServer(options, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = (server.address() as AddressInfo).port
  const up =
    sides.upstream === 'TLS'
      ? { url: `https://localhost:${at}`, tls: { ca: pair?.ca } }
      : { url: `http://127.0.0.1:${at}` }
  const { served, port } = await listening(t, {
    accessLog: false,
    upstreams: { up },
    routes: [{ path: '/*', proxy: { upstream: 'up', websocket } }],
    ...(sides.client === 'TLS'
      ? { tls: { certificates: [{ cert: pair?.ca, key: pair?.ca.replace('.pem', '.key') }] } }
      : {})
  })
  const client: Socket =
    sides.client === 'TLS'
      ? connectTls({ port, host: '127.0.0.1', ...options, rejectUnauthorized: false })
      : connect({ port, host: '127.0.0.1', ...options })
  client.on('error', () => {}).write(SHAKE)
  t.teardown(() => {
    client.destroy()
    server.close()
  })
  let head = ''
  while (!head.endsWith('\r\n\r\n')) {
    const [data] = (await once(client, 'data')) as [Buffer]
    head += data.toString('latin1')
  }
  const upstream = await taken.promise
  t.teardown(() => upstream.destroy())
  return { client, upstream, served }
}

const SIDES: readonly Sides[] = [
  { client: 'plain', upstream: 'plain' },
  { client: 'TLS', upstream: 'plain' },
  { client: 'plain', upstream: 'TLS' },
  { client: 'TLS', upstream: 'TLS' }
]

const nameOf = ({ client, upstream }: Sides): string => `${client} client, ${upstream} upstream`

// A message, masked or not, is bytes to the gateway; the Close behind it is what must not get lost.
const LAST = Buffer.concat([Buffer.alloc(400_000, 'x'), Buffer.from([0x88, 0x02, 0x0f, 0xa1])])

/** Sends again and again, for as long as the socket takes it. */
function chatter(socket: Socket): void {
  const timer = setInterval(() => {
    if (socket.writable) socket.write(Buffer.alloc(256, 'y'))
    else clearInterval(timer)
  }, 1)
  socket.once('close', () => clearInterval(timer))
}

/** Reads all that comes until the other side ends. */
async function readToEnd(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = []
  socket.on('data', (data: Buffer) => parts.push(data))
  await Promise.race([once(socket, 'end'), closed(socket)])
  return Buffer.concat(parts)
}

for (const sides of SIDES)
  t.test(
    `passes the end of a WebSocket to the other side, ${nameOf(sides)}`,
    { skip: noOpenssl },
    async (t) => {
      for (const from of ['upstream', 'client'] as const)
        t.test(`the last message and the Close of the ${from}, while the other side sends`, async (t) => {
          for (let i = 0; i < 3; i++) {
            const pair = await tunnel(t, sides)
            const [ending, other] =
              from === 'upstream' ? [pair.upstream, pair.client] : [pair.client, pair.upstream]
            ending.resume()
            chatter(other)
            const read = readToEnd(other)
            ending.end(LAST)
            t.ok((await read).equals(LAST))
            other.end()
            await closed(other)
          }
        })

      t.test('a Close, a FIN, and what the upstream still sends', async (t) => {
        const { client, upstream, served } = await tunnel(t, sides)
        client.end('bye')
        t.equal((await readToEnd(upstream)).toString(), 'bye', 'the upstream sees the end of its client')
        const read = readToEnd(client)
        upstream.end(LAST)
        t.ok((await read).equals(LAST))
        await closed(client)
        t.ok(await served.drain(), 'nothing is left of it')
      })

      t.test('both sides, once the one that is left has been silent for closeTimeout', async (t) => {
        for (const from of ['upstream', 'client'] as const) {
          const pair = await tunnel(t, sides, { closeTimeout: '200ms' })
          const [ending, other] =
            from === 'upstream' ? [pair.upstream, pair.client] : [pair.client, pair.upstream]
          ending.end()
          await readToEnd(other)
          await readToEnd(ending)
          t.notOk(other.destroyed, `the ${from} was ended, and the other side never ended itself`)
          await closed(ending)
          t.ok(await pair.served.drain(), 'nothing is left of it')
        }
      })

      t.test('a stream whose client has ended its side, for as long as it sends', async (t) => {
        const { client, upstream } = await tunnel(t, sides, { closeTimeout: '1500ms' })
        client.end()
        await readToEnd(upstream)
        const read = readToEnd(client)
        let left = 5
        const timer = setInterval(() => {
          if (left-- > 0) upstream.write('tick')
          else {
            clearInterval(timer)
            upstream.end()
          }
        }, 400)
        t.equal((await read).toString(), 'tick'.repeat(5))
      })

      t.test('the close frame of the gateway, to a client that is sending', async (t) => {
        const { client, upstream } = await tunnel(t, sides, { lifetime: '100ms' })
        upstream.resume()
        chatter(client)
        t.same(await readToEnd(client), Buffer.from([0x88, 0x02, 0x03, 0xe9]))
      })
    }
  )

t.test('waits for a slow client beyond closeTimeout before it closes a WebSocket', async (t) => {
  const { client, upstream } = await tunnel(
    t,
    { client: 'plain', upstream: 'plain' },
    { closeTimeout: '100ms' }
  )
  const large = Buffer.alloc(20_000_000, 'z')
  client.pause()
  upstream.resume().end(large)
  // As long as twice closeTimeout, in which nothing is read.
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal((await readToEnd(client.resume())).length, large.length)
})

t.test('ends a WebSocket whose client has left before the upstream accepts it', async (t) => {
  const asked = Promise.withResolvers<Duplex>()
  const server = http.createServer()
  server.on('upgrade', (_request, socket) => asked.resolve(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { port, served } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: url } }] })
  const client = connect(port, '127.0.0.1', () => client.write(SHAKE))
  const upstream = await asked.promise
  client.destroy()
  await closed(client)
  upstream.pipe(upstream)
  upstream.write(SWITCH)
  await once(upstream, 'close')
  while (served.load().webSockets > 0) await new Promise(setImmediate)
  t.equal(served.load().inFlight, 0)
})

t.test('responds 502 if the upstream switches to another protocol than WebSocket', async (t) => {
  const cases: [name: string, fields: string, status: number][] = [
    ['websocket', 'Upgrade: websocket', 101],
    ['websocket in other letters', 'uPGRADE: WebSocket', 101],
    ['h2c', 'Upgrade: h2c', 502],
    ['no protocol', 'X-Other: 1', 502],
    ['two of them', 'Upgrade: websocket, h2c', 502],
    ['two fields', 'Upgrade: websocket\r\nUpgrade: h2c', 502],
    ['a version', 'Upgrade: websocket/13', 502]
  ]
  let fields = ''
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', () =>
        socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n${fields}\r\n\r\n`)
      )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { port } = await listening(t, {
    accessLog: false,
    routes: [{ path: '/*', proxy: { upstream: url } }]
  })
  for (const [name, said, status] of cases) {
    fields = said
    t.equal(statusOf(await raw(port, SHAKE)), status, name)
  }
})
