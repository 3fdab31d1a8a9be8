import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import t from 'tap'
import { ask, gateway, listening, readableLog, type Scope, upstream } from '../../helpers.ts'
import { routes, target } from './fleet.ts'

/** Returns the origin of a port that nothing listens on. */
async function refusing(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `http://127.0.0.1:${port}`
}

async function started(t: Scope, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const answer: RequestListener = (request, response) => {
  let length = 0
  request.on('data', (chunk: Buffer) => {
    length += chunk.length
  })
  request.on('end', () => response.end(`${request.method} ${length}`))
}

t.test('fails over to another target when one refuses the connection, whatever the method', async (t) => {
  for (const [version, http2, url] of [
    ['HTTP/1.1', false, await started(t, createHttpServer(answer))],
    ['HTTP/2', true, await started(t, createHttp2Server(answer as never) as unknown as Server)]
  ] as const) {
    const { url: origin } = await listening(t, {
      upstreams: { up: { targets: [await refusing(), await refusing(), url], http2 } },
      routes
    })
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'])
      for (const length of method === 'GET' ? [0] : [0, 10, 100_000])
        for (let i = 0; i < 3; i++) {
          const body = method === 'GET' ? {} : { body: 'a'.repeat(length) }
          const { status, text } = await ask(`${origin}/x`, { method, ...body })
          t.strictSame([status, text], [200, `${method} ${length}`], `${method}, ${length} bytes, ${version}`)
        }
  }
})

t.test('opens a WebSocket at another target when one refuses the connection', async (t) => {
  const server = createHttpServer()
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
  })
  const url = await started(t, server)
  const { port } = await listening(t, { upstreams: { up: { targets: [await refusing(), url] } }, routes })
  for (let i = 0; i < 4; i++) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.write(
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    )
    const [first] = (await once(socket, 'data')) as [Buffer]
    t.match(first.toString(), /^HTTP\/1\.1 101 /)
  }
})

t.test('fails over for forward auth when a target refuses the connection', async (t) => {
  const asked: string[] = []
  const service = await upstream(t, (request, response) => {
    asked.push(String(request.url))
    response.writeHead(request.headers['x-pass'] === undefined ? 403 : 204).end()
  })
  const app = await gateway(t, {
    upstreams: { decides: { targets: [await refusing(), service] } },
    auth: { forward: { upstream: 'decides', path: '/check' } },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
  })
  for (let i = 0; i < 4; i++) {
    t.equal((await app.inject({ url: '/x', headers: { 'x-pass': '1' } })).statusCode, 200)
    t.equal((await app.inject('/x')).statusCode, 403)
  }
  t.strictSame(asked, Array(8).fill('/check'))
})

t.test('answers 502 when every target refuses the connection, and counts a failure for each', async (t) => {
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      upstreams: {
        up: { targets: [await refusing(), await refusing()], eject: { failures: 1, max: '100%' } }
      },
      routes
    },
    { log }
  )
  t.equal((await app.inject({ method: 'POST', url: '/x', payload: 'a' })).statusCode, 502)
  t.equal(lines.filter(({ cause }) => cause === 'ECONNREFUSED').length, 2, 'each refusal is in the log')
  t.strictSame(
    [0, 1].map((i) => target(app, i).health.ejected),
    [true, true]
  )
})

t.test('does not count a failover as an attempt of "retry"', async (t) => {
  let asked = 0
  const url = await upstream(t, (_request, response) => {
    response.writeHead(++asked === 1 ? 503 : 200).end()
  })
  const app = await gateway(t, {
    upstreams: { up: { targets: [await refusing(), url] } },
    routes: [{ path: '/*', proxy: { upstream: 'up', retry: { attempts: 2, on: ['503'], backoff: '1ms' } } }]
  })
  t.equal((await app.inject('/x')).statusCode, 200)
  t.equal(asked, 2)
})

/** Starts a target that answers the first request of each connection, and ends the connection at the next one. */
async function forgetful(t: Scope): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = []
  const server = createServer((socket) => {
    let asked = 0
    socket.on('error', () => {})
    socket.on('data', (data) => {
      seen.push(data.toString('latin1').slice(0, data.indexOf(' ')))
      if (asked++ > 0) socket.destroy()
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    })
  })
  return { url: await started(t, server), seen }
}

t.test('resends a request on a new connection when an idle one was dead', async (t) => {
  const { url, seen } = await forgetful(t)
  const app = await gateway(t, {
    upstreams: { up: { url, eject: { failures: 1 }, breaker: { of: 1, failures: '1%' } } },
    routes
  })
  for (const [method, statuses] of [
    ['GET', [200]],
    ['HEAD', [200]],
    ['PUT', [200]],
    ['POST', [502]]
  ] as const) {
    // Several idle connections, each of which is dead at its next request.
    const first = await Promise.all(Array.from({ length: 5 }, () => app.inject('/x')))
    t.strictSame(
      first.map(({ statusCode }) => statusCode),
      [200, 200, 200, 200, 200]
    )
    seen.length = 0
    const { statusCode } = await app.inject({ method, url: '/x' })
    t.ok((statuses as readonly number[]).includes(statusCode), `${method}: ${statusCode}`)
    t.equal(seen.length, method === 'POST' ? 1 : 2, `${method}: once more, on a new connection`)
    const { health: condition } = target(app, 0)
    t.strictSame(
      [condition.ejected, condition.breakerClosed],
      [false, true],
      'a dead idle connection is no failure of the target'
    )
  }
})

t.test('opens a new connection of HTTP/2 after an idle one was dead', async (t) => {
  const used = new Set<unknown>()
  const held: (() => void)[] = []
  let asked = 0
  const server = createHttp2Server({ settings: { maxConcurrentStreams: 1 } })
  server.on('session', (session) => {
    session.on('error', () => {})
    session.on('stream', (stream) => {
      stream.on('error', () => {})
      asked++
      if (used.has(session)) {
        session.destroy()
        return
      }
      used.add(session)
      held.push(() => {
        stream.respond()
        stream.end('ok')
      })
      // Each of the first five needs a connection of its own.
      if (asked >= 5) for (const answer of held.splice(0)) answer()
    })
  })
  const url = await started(t, server as unknown as Server)
  const app = await gateway(t, { upstreams: { up: { url, http2: true, eject: { failures: 1 } } }, routes })
  const first = await Promise.all(Array.from({ length: 5 }, () => app.inject('/x')))
  t.ok(first.every(({ statusCode }) => statusCode === 200))
  t.equal(used.size, 5)
  t.equal((await app.inject('/x')).statusCode, 200)
  t.equal(asked, 7, 'one dead connection was met')
  t.equal(target(app, 0).health.ejected, false)
})
