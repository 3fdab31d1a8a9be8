import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import {
  ask,
  certificate,
  closed,
  listening,
  movableClock,
  noOpenssl,
  type Scope,
  SECRET,
  workersTogether
} from '../helpers.ts'
import { redis, withoutRedis } from '../redis.ts'

const USERS = [
  { name: 'ada', secret: 'lovelace' },
  { name: 'bob', secret: 'builder' }
]

/** Starts an upstream whose answers go on, and which takes WebSockets. */
async function endless(t: Scope): Promise<string> {
  const server = http.createServer((request, response) => {
    const type = request.url?.includes('ndjson') === true ? 'application/x-ndjson' : 'text/event-stream'
    response.writeHead(200, { 'content-type': type }).write('data: x\n\n')
  })
  server.on('upgrade', (_request, socket: Socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

const configOf = (url: string, more: object = {}, users: object = USERS): object => ({
  accessLog: false,
  auth: { session: true, users: { list: users } },
  routes: [{ path: '/app/*', proxy: { upstream: url } }],
  ...more
})

/** Logs in and returns the cookie. */
async function logIn(url: string, username = 'ada', password = 'lovelace'): Promise<string> {
  const { status, headers } = await ask(`${url}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username, password })
  })
  if (status !== 200) throw new Error(`the log-in of ${username} was answered ${status}`)
  return headers.getSetCookie()[0]?.split(';')[0] ?? ''
}

const logOut = (url: string, cookie: string, body: object = {}): Promise<{ status: number }> =>
  ask(`${url}/logout`, {
    method: 'POST',
    headers: { cookie, 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })

/** Opens an event stream and returns what settles when it ends, with whether it was cut. */
async function events(
  url: string,
  cookie: string,
  path = '/app/events'
): Promise<{ ended: Promise<'cut' | 'whole'> }> {
  const request = http.get(url + path, { headers: { cookie }, agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => {})
  const ended = new Promise<'cut' | 'whole'>((resolve) =>
    response.once('close', () => resolve(response.complete ? 'whole' : 'cut'))
  )
  await once(response, 'data')
  return { ended }
}

/** Opens a WebSocket and returns what settles with the close code that ends it. */
async function webSocket(port: number, cookie: string): Promise<{ closeCode: Promise<number> }> {
  const socket = connect(port, '127.0.0.1')
  socket.write(
    `GET /app/ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`
  )
  let seen = Buffer.alloc(0)
  const open = Promise.withResolvers<void>()
  socket.on('error', () => {})
  socket.on('data', (data) => {
    seen = Buffer.concat([seen, data])
    if (seen.includes('\r\n\r\n')) open.resolve()
  })
  await open.promise
  const closeCode = closed(socket).then(() => {
    const frame = seen.subarray(seen.indexOf('\r\n\r\n') + 4)
    return frame[0] === 0x88 ? frame.readUInt16BE(2) : 0
  })
  return { closeCode }
}

t.test('a stream ends at once when its session is ended here', async (t) => {
  const { url, port } = await listening(t, configOf(await endless(t)))
  const ends: [name: string, end: (own: string) => Promise<unknown>][] = [
    ['by a log-out', (own) => logOut(url, own)],
    ['by a log-out everywhere', async () => logOut(url, await logIn(url), { everywhere: true })],
    [
      'by another log-in of the same browser',
      (cookie) =>
        ask(`${url}/login`, {
          method: 'POST',
          headers: { cookie, 'content-type': 'application/json' },
          body: JSON.stringify({ username: 'bob', password: 'builder' })
        })
    ]
  ]
  for (const [name, end] of ends)
    t.test(name, async (t) => {
      const [own, bobs] = [await logIn(url), await logIn(url, 'bob', 'builder')]
      const streams = [await events(url, own), await events(url, own, '/app/ndjson')]
      const socket = await webSocket(port, own)
      const others = await events(url, bobs)
      await end(own)
      for (const stream of streams) t.equal(await stream.ended, 'cut')
      t.equal(await socket.closeCode, 1008)
      t.equal(
        await Promise.race([others.ended, Promise.resolve('open')]),
        'open',
        'the stream of another session goes on'
      )
      await logOut(url, bobs)
      t.equal(await others.ended, 'cut')
    })
})

t.test('a stream over HTTP/2 is reset when its session ends', { skip: noOpenssl }, async (t) => {
  const { key, cert } = certificate(t)
  const dir = t.testdir({ 'key.pem': key.toString(), 'cert.pem': cert.toString() })
  const { port } = await listening(
    t,
    configOf(await endless(t), {
      tls: { certificates: [{ cert: `${dir}/cert.pem`, key: `${dir}/key.pem` }] }
    })
  )
  const session = http2.connect(`https://localhost:${port}`, { ca: cert })
  t.teardown(() => session.destroy())
  const body = JSON.stringify({ username: 'ada', password: 'lovelace' })
  const post = (path: string, headers: object, text: string): http2.ClientHttp2Stream => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/json',
      ...headers
    })
    stream.end(text)
    return stream.resume()
  }
  const [head] = (await once(post('/login', {}, body), 'response')) as [http2.IncomingHttpHeaders]
  const cookie = head['set-cookie']?.[0]?.split(';')[0] ?? ''
  const stream = session.request({ ':path': '/app/events', cookie })
  stream.on('error', () => {})
  await once(stream, 'data')
  const ended = new Promise((resolve) => stream.once('close', resolve))
  post('/logout', { cookie }, '{}')
  await ended
  t.not(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR)
})

for (const where of ['in memory', 'in Redis'] as const)
  t.test(
    `a stream of another worker ends with its session ${where}`,
    { skip: where === 'in Redis' && withoutRedis },
    async (t) => {
      const url = await endless(t)
      const more = where === 'in Redis' ? { store: { redis: (await redis(t)).url } } : {}
      const [one, other] = workersTogether(2)
      const first = await listening(t, configOf(url, more), { keep: new Keep(one) })
      const second = await listening(t, configOf(url, more), { keep: new Keep(other) })
      const cookie = await logIn(first.url)
      const stream = await events(second.url, cookie)
      const socket = await webSocket(second.port, cookie)
      t.equal((await logOut(first.url, cookie)).status, 200)
      t.equal(await stream.ended, 'cut')
      t.equal(await socket.closeCode, 1008)
    }
  )

t.test('a stream of another gateway ends within half a minute', { skip: withoutRedis }, async (t) => {
  const store = { redis: (await redis(t)).url }
  const url = await endless(t)
  const clock = movableClock(t)
  const first = await listening(t, configOf(url, { store }))
  const second = await listening(t, configOf(url, { store }))
  const cookie = await logIn(first.url)
  const stream = await events(second.url, cookie)
  t.equal((await logOut(first.url, cookie)).status, 200)
  clock.advance(30_000)
  t.equal(await stream.ended, 'cut')
})

t.test('a stream ends within half a minute after its session has expired', async (t) => {
  const url = await endless(t)
  await t.test('after the idle timeout', async (t) => {
    const clock = movableClock(t)
    const gateway = await listening(t, configOf(url, { session: { idle: '5m' } }))
    const stream = await events(gateway.url, await logIn(gateway.url))
    clock.advance(250_000)
    t.equal(await Promise.race([stream.ended, ask(`${gateway.url}/-/live`).then(() => 'open')]), 'open')
    clock.advance(60_000)
    t.equal(await stream.ended, 'cut')
  })
  await t.test('after a reload removed its user', async (t) => {
    const clock = movableClock(t)
    const keep = new Keep()
    const gateway = await listening(t, configOf(url), { keep })
    const [ada, bob] = [
      await events(gateway.url, await logIn(gateway.url)),
      await events(gateway.url, await logIn(gateway.url, 'bob', 'builder'))
    ]
    const config = configOf(url, {}, USERS.slice(0, 1))
    gateway.served.swap(await buildGateway(await loadConfig(config, { SESSION_SECRET: SECRET }), keep))
    clock.advance(30_000)
    t.equal(await bob.ended, 'cut')
    t.equal(await Promise.race([ada.ended, ask(`${gateway.url}/-/live`).then(() => 'open')]), 'open')
  })
})

t.test('a stream without a session goes on when one ends', async (t) => {
  const url = await endless(t)
  const { url: own } = await listening(t, {
    ...configOf(url),
    routes: [
      { path: '/app/*', proxy: { upstream: url } },
      { path: '/open/*', auth: { optional: true }, proxy: { upstream: url } }
    ]
  })
  const cookie = await logIn(own)
  const stream = await events(own, '', '/open/events')
  await logOut(own, cookie)
  t.equal(await Promise.race([stream.ended, ask(`${own}/-/live`).then(() => 'open')]), 'open')
})
