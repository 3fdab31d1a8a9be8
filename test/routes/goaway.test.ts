import { once } from 'node:events'
import http2, {
  constants,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream
} from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ask, listening, readableLog, type Scope } from '../helpers.ts'

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants
const ALL = 2 ** 31 - 1

interface Upstream {
  readonly server: Http2Server
  readonly port: number
  readonly sessions: Set<ServerHttp2Session>
  opened: number
}

/** Starts an upstream that speaks HTTP/2 alone. */
async function over(
  t: Scope,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  options: http2.ServerOptions = {}
): Promise<Upstream> {
  const server = http2.createServer(options)
  const up: Upstream = { server, port: 0, sessions: new Set(), opened: 0 }
  server.on('session', (session) => {
    up.opened++
    up.sessions.add(session)
    session.on('error', () => {})
    session.once('close', () => up.sessions.delete(session))
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    onStream(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of up.sessions) session.destroy()
    server.close()
  })
  return Object.assign(up, { port: (server.address() as AddressInfo).port })
}

/** Joins connections to those of an upstream, so that a test can break them. */
async function between(t: Scope, upstream: number): Promise<{ port: number; joined: Socket[] }> {
  const joined: Socket[] = []
  const server = createServer((near) => {
    const far = connect(upstream, '127.0.0.1')
    for (const socket of [near, far]) joined.push(socket.on('error', () => {}))
    near.pipe(far).pipe(near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of joined) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, joined }
}

const to = (port: number, more: object = {}): { upstreams: object; routes: object[] } => ({
  upstreams: { up: { url: `http://127.0.0.1:${port}`, http2: true, ...more } },
  routes: [{ path: '/*', proxy: { upstream: 'up' }, limits: { body: '10mb' } }]
})

const echo = (stream: ServerHttp2Stream): void =>
  void text(stream).then(
    (body) => {
      if (stream.destroyed) return
      stream.respond({ ':status': 200 })
      stream.end(`got ${body}`)
    },
    () => {}
  )

t.test('loses and repeats no request while an upstream restarts twenty times under load', async (t) => {
  const done = new Map<string, number>()
  const up = await over(t, (stream, headers) => {
    const id = String(headers['x-id'])
    void text(stream).then(
      (body) => {
        done.set(id, (done.get(id) ?? 0) + 1)
        stream.respond({ ':status': 200 })
        stream.write(`got ${body}`)
        setImmediate(() => stream.end(' all'))
      },
      () => {}
    )
  })
  const { url } = await listening(t, to(up.port))
  let on = true
  let count = 0
  let answered = Promise.withResolvers<void>()
  const wrong: unknown[] = []
  const load = Array.from({ length: 16 }, async (_, lane) => {
    for (let i = 0; on; i++) {
      const id = `${lane}-${i}`
      const post = i % 2 === 0
      const headers = { 'x-id': id }
      const seen = await ask(`${url}/x`, post ? { method: 'POST', headers, body: id } : { headers })
      if (seen.status !== 200 || seen.text !== `got ${post ? id : ''} all`) wrong.push(seen)
      count++
      answered.resolve()
    }
  })
  for (let restart = 0; restart < 20; restart++) {
    const sessions = [...up.sessions].filter(({ destroyed }) => !destroyed)
    const next = once(up.server, 'session')
    for (const session of sessions) session.goaway(NGHTTP2_NO_ERROR, ALL)
    await next
    answered = Promise.withResolvers()
    await answered.promise
    // The second GOAWAY names the last stream, and the connection ends with it.
    for (const session of sessions) if (!session.destroyed) session.close()
  }
  on = false
  await Promise.all(load)
  t.same(wrong, [])
  t.equal(done.size, count)
  t.ok([...done.values()].every((times) => times === 1))
  t.ok(up.opened >= 20, `${up.opened} connections`)
})

t.test('retries requests that a GOAWAY did not process, whatever the method', async (t) => {
  for (const { name, code } of [
    { name: 'gracefully', code: NGHTTP2_NO_ERROR },
    { name: 'with an error', code: NGHTTP2_INTERNAL_ERROR }
  ])
    t.test(name, async (t) => {
      let left = 0
      const up = await over(t, (stream) => {
        // An id of 0 would be the last one that came.
        if (stream.id === 1 || left > 0) return echo(stream)
        left++
        stream.session?.goaway(code, (stream.id ?? 0) - 2)
      })
      const { url } = await listening(t, to(up.port))
      t.equal((await ask(`${url}/first`)).text, 'got ')
      t.equal((await ask(`${url}/x`, { method: 'POST', body: 'once' })).text, 'got once')
      t.same([left, up.opened], [1, 2])
    })
})

t.test('fails over if the target that did not process the request is gone', async (t) => {
  const went: Upstream[] = []
  const leaves = (up: () => Upstream) => (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    if (headers[':path'] === '/first' || went.length > 0) return echo(stream)
    went.push(up())
    up().server.close()
    stream.session?.goaway(NGHTTP2_NO_ERROR, (stream.id ?? 0) - 2)
  }
  const one: Upstream = await over(
    t,
    leaves(() => one)
  )
  const two: Upstream = await over(
    t,
    leaves(() => two)
  )
  const { url } = await listening(t, {
    upstreams: { up: { targets: [one, two].map(({ port }) => `http://127.0.0.1:${port}`), http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  for (let i = 0; i < 2; i++) await ask(`${url}/first`)
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'once' })).text, 'got once')
  t.equal(went.length, 1)
})

t.test('does not retry a body that was not kept', async (t) => {
  const up = await over(t, (stream) => {
    if (stream.id === 1) return echo(stream)
    void text(stream).then(
      () => stream.session?.goaway(NGHTTP2_NO_ERROR, (stream.id ?? 0) - 2),
      () => {}
    )
  })
  const { log, line } = readableLog('warn')
  const { url } = await listening(t, to(up.port), { log })
  await ask(`${url}/first`)
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'x'.repeat(100_000) })).status, 502)
  t.match(await line(({ msg }) => msg === 'upstream request failed'), { cause: 'UPSTREAM_NOT_PROCESSED' })
})

t.test(
  'finishes streams that a GOAWAY includes, and sends new requests over another connection',
  async (t) => {
    const slow = Promise.withResolvers<ServerHttp2Stream>()
    const up = await over(t, (stream, headers) => {
      if (headers[':path'] !== '/slow') return echo(stream)
      stream.respond({ ':status': 200 })
      stream.write('half')
      slow.resolve(stream)
    })
    const { url } = await listening(t, to(up.port, { connections: { max: 1 } }))
    const answer = await fetch(`${url}/slow`, { method: 'POST', body: 'x' })
    const stream = await slow.promise
    stream.session?.goaway(NGHTTP2_NO_ERROR, ALL)
    stream.session?.goaway(NGHTTP2_NO_ERROR, stream.id ?? 0)
    const next = await ask(`${url}/x`, { method: 'POST', body: 'x' })
    t.same([next.status, up.opened], [200, 2], 'a connection that ends holds up no other')
    stream.end(' and half')
    t.equal(await answer.text(), 'half and half')
  }
)

t.test('does not retry a request that may have been processed', async (t) => {
  let came = 0
  const up = await over(t, (stream) => {
    came++
    stream.session?.goaway(NGHTTP2_INTERNAL_ERROR, stream.id ?? 0)
  })
  const { url } = await listening(t, to(up.port))
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'x' })).status, 502)
  t.equal(came, 1)
})

t.test('retries a refused stream a limited number of times', async (t) => {
  let came = 0
  let refuses = 1
  const up = await over(t, (stream) => {
    came++
    if (refuses-- > 0) stream.close(NGHTTP2_REFUSED_STREAM)
    else echo(stream)
  })
  const { url } = await listening(t, to(up.port))
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'x' })).text, 'got x')
  t.equal(came, 2)
  came = 0
  refuses = 1000
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'x' })).status, 502)
  t.equal(came, 8)
})

t.test('cuts a response whose connection is lost', async (t) => {
  const ways: Record<string, (stream: ServerHttp2Stream, near: Socket) => void> = {
    'with a GOAWAY': (stream) => void stream.session?.socket.destroy(),
    'ended without a word': (_stream, near) => void near.end(),
    'reset without a word': (_stream, near) => void near.resetAndDestroy(),
    // A close of Node's would be a clean end.
    'by the stream alone': (stream) => void stream.destroy(new Error('lost'))
  }
  for (const [name, lose] of Object.entries(ways))
    t.test(name, async (t) => {
      const reached = Promise.withResolvers<ServerHttp2Stream>()
      const up = await over(t, (stream) => {
        stream.respond({ ':status': 200 })
        stream.write('half')
        reached.resolve(stream)
      })
      const { port, joined } = await between(t, up.port)
      const { url } = await listening(t, to(port))
      const answer = await fetch(`${url}/x`)
      const [near] = joined as [Socket]
      near.unpipe()
      lose(await reached.promise, near)
      await t.rejects(answer.text())
    })
})

t.test('opens no more streams than the target allows', async (t) => {
  let now = 0
  let most = 0
  const up = await over(
    t,
    (stream) => {
      most = Math.max(most, ++now)
      setImmediate(() => {
        now--
        stream.respond({ ':status': 200 }, { endStream: true })
      })
    },
    { settings: { maxConcurrentStreams: 3 } }
  )
  const { url } = await listening(t, to(up.port, { connections: { max: 2 } }))
  const all = await Promise.all(Array.from({ length: 40 }, () => ask(url, { method: 'POST', body: 'x' })))
  t.ok(all.every(({ status }) => status === 200))
  t.ok(most <= 6, `${most} at a time`)
  t.ok(up.opened <= 2, `${up.opened} connections`)
})

t.test('closes a dead connection that sends no GOAWAY', async (t) => {
  const up = await over(t, echo)
  const { port, joined } = await between(t, up.port)
  const { upstreams, routes } = to(port, { timeouts: { connect: '2s' } })
  const hasty = { path: '/hasty', proxy: { upstream: 'up', timeouts: { headers: '100ms' } } }
  const { url } = await listening(t, { upstreams, routes: [...routes, hasty] })
  t.equal((await ask(url)).status, 200)
  const [near, far] = joined as [Socket, Socket]
  near.unpipe(far)
  near.resume()
  const dead = once(near, 'close')
  t.equal((await ask(`${url}/hasty`)).status, 504)
  t.equal(
    (await ask(`${url}/hasty`)).status,
    504,
    'nothing has come in since: it is asked whether it is there'
  )
  await dead
  t.equal((await ask(url)).status, 200)
})

t.test('sends trailers after the complete body to a slow client', async (t) => {
  const size = 3_000_000
  const up = await over(t, (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'right' }))
    stream.end(Buffer.alloc(size, 'x'))
  })
  const { port } = await listening(t, to(up.port))
  const client = connect(port, '127.0.0.1', () =>
    client.write('GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n')
  )
  let seen = 0
  let tail = ''
  for await (const chunk of client) {
    seen += (chunk as Buffer).length
    tail = (tail + (chunk as Buffer).toString('latin1')).slice(-60)
    await new Promise(setImmediate)
  }
  t.ok(seen > size)
  t.match(tail, /x-sum: right\r\n\r\n$/)
})
