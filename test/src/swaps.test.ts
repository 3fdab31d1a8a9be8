import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import { ask, listening, originOf } from '../helpers.ts'

t.setTimeout(600_000)

const SWAPS = 200
const UPLOAD = 50 * 1024 * 1024
const EVENT_EVERY = 10
const CHUNK = Buffer.alloc(64 * 1024, 'x')

/** A service of every kind: quick, slow, one that takes uploads, one that tells of events, one that echoes on WebSockets. */
async function service(t: Test): Promise<string> {
  const server = createServer((incoming, response) => {
    if (incoming.url === '/slow') setTimeout(() => response.end('slow'), 150)
    else if (incoming.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let sent = 0
      const timer = setInterval(() => response.write(`data: ${sent++}\n\n`), EVENT_EVERY)
      response.on('close', () => clearInterval(timer))
    } else if (incoming.url === '/upload') {
      const hash = createHash('sha256')
      incoming.on('data', (data) => hash.update(data as Buffer))
      incoming.on('end', () => response.end(hash.digest('hex')))
    } else response.end('quick')
  })
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.pipe(socket).on('error', () => {})
  })
  return originOf(t, server)
}

/** Uploads so slowly that it lasts over many swaps; tells what the service has made of it. */
async function upload(port: number, going: () => boolean): Promise<{ whole: boolean }> {
  const hash = createHash('sha256')
  async function* body(): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < UPLOAD; sent += CHUNK.length) {
      hash.update(CHUNK)
      yield CHUNK
      if (going()) await wait(2)
    }
  }
  const outgoing = request({ port, host: '127.0.0.1', path: '/upload', method: 'POST', agent: false })
  const answered = once(outgoing, 'response')
  await pipeline(Readable.from(body()), outgoing)
  const [response] = (await answered) as [Readable]
  let text = ''
  for await (const part of response) text += String(part)
  return { whole: text === hash.digest('hex') }
}

/** Listens to events until it is stopped; counts them, and checks that none is missing. */
function events(port: number): { seen(): number; whole(): boolean; leave(): void; cut(): boolean } {
  let text = ''
  let left = false
  let cut = false
  const outgoing = request({ port, host: '127.0.0.1', path: '/events', agent: false }, (response) => {
    response.on('data', (data) => {
      text += String(data)
    })
    response.on('close', () => {
      cut = !left
    })
  })
  outgoing.on('error', () => {}).end()
  const numbers = (): number[] => [...text.matchAll(/data: (\d+)\n\n/g)].map(([, each]) => Number(each))
  return {
    seen: () => numbers().length,
    whole: () => numbers().every((each, i) => each === i),
    cut: () => cut,
    leave() {
      left = true
      outgoing.destroy()
    }
  }
}

/** Opens a WebSocket and sends bytes that come back. */
async function webSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n')
  await once(socket, 'data')
  return socket
}

const descriptors = (): number => readdirSync('/proc/self/fd').length
const noProc = process.platform === 'linux' ? false : 'descriptors are counted in /proc'

t.test(`${SWAPS} swaps under a mixed load lose nothing`, { skip: noProc }, async (t) => {
  const origin = await service(t)
  const config = (version: number): object => ({
    metrics: true,
    limits: { body: '100mb' },
    rateLimit: { max: 1_000_000, window: '1h' },
    routes: [
      { path: '/version', respond: { body: String(version) } },
      { path: '/*', proxy: { upstream: origin } }
    ]
  })
  const keep = new Keep()
  // What is open goes on for as long as a drain may take, which is longer than all of this on any machine.
  const { app, served, port, url } = await listening(t, config(0), { keep, drainTimeout: 3_600_000 })
  const open = new Set([app])
  const watchClose = (each: typeof app): void => {
    const close = each.close.bind(each)
    Object.assign(each, {
      close: () => {
        open.delete(each)
        return close()
      }
    })
  }
  watchClose(app)
  const kept = keep.size
  const before = descriptors()

  let going = true
  const outcomes = new Map<string, number>()
  const failures: string[] = []
  const agent = new Agent({ keepAlive: true })
  const lane = async (path: string, wanted: string): Promise<void> => {
    while (going) {
      const text = await new Promise<string>((resolve) => {
        const outgoing = request({ port, host: '127.0.0.1', path, agent }, (response) => {
          let body = ''
          response.on('data', (data) => {
            body += String(data)
          })
          response.on('end', () => resolve(body))
        })
        outgoing.on('error', ({ message }) => resolve(message)).end()
      })
      outcomes.set(path, (outcomes.get(path) ?? 0) + 1)
      if (text !== wanted) failures.push(`${path}: ${text}`)
    }
  }
  const lanes = [
    ...Array.from({ length: 4 }, () => lane('/quick', 'quick')),
    ...Array.from({ length: 8 }, () => lane('/slow', 'slow'))
  ]
  const listeners = [events(port), events(port)]
  const uploads = [upload(port, () => going), upload(port, () => going)]
  const sockets = await Promise.all([webSocket(port), webSocket(port), webSocket(port)])
  let echoed = 0
  for (const socket of sockets) socket.on('data', (data) => (echoed += (data as Buffer).length))
  let said = 0
  for (let version = 1; version <= SWAPS; version++) {
    const next = await buildGateway(await loadConfig(config(version), {}), keep)
    open.add(next)
    watchClose(next)
    served.swap(next)
    t.equal((await ask(`${url}/version`)).text, String(version))
    for (const socket of sockets) socket.write(`hello ${version}`)
    said += `hello ${version}`.length * sockets.length
  }
  going = false
  await Promise.all(lanes)
  t.strictSame(await Promise.all(uploads), [{ whole: true }, { whole: true }], 'uploads are whole')
  t.strictSame(failures, [], 'no request is lost')
  t.ok((outcomes.get('/slow') ?? 0) >= 8 && (outcomes.get('/quick') ?? 0) > SWAPS, 'there were many')
  for (const { seen, whole, cut, leave } of listeners) {
    t.ok(seen() > 10 && whole(), `${seen()} events, none missing`)
    t.notOk(cut())
    leave()
  }
  // The last echo may come on any of the sockets.
  while (echoed < said) await wait(10)
  t.equal(echoed, said, 'what is said on WebSockets comes back')
  t.notOk(
    sockets.some(({ destroyed }) => destroyed),
    'none of them is closed early'
  )
  for (const socket of sockets) socket.destroy()
  agent.destroy()
  // Clients that disconnected are noticed later, and the last old generation closes then.
  while (open.size > 1) await wait(10)
  t.equal(open.size, 1, 'all that were retired are closed')
  t.equal(keep.size, kept, 'what they share is what one has')
  while (descriptors() > before + 8) await wait(10)
  t.ok(true, 'no descriptor is left behind but those of connections that wait for the next request')
})
