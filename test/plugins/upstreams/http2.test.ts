import { once } from 'node:events'
import http2, { type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ask, gateway, listening, type Scope } from '../../helpers.ts'
import { routes, target } from './fleet.ts'

/** Starts a target that speaks HTTP/2 alone. */
async function speaking(
  t: Scope,
  answer: (stream: ServerHttp2Stream, path: string) => void
): Promise<{ url: string; opened: () => number }> {
  const server = http2.createServer()
  const sessions: http2.ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session))
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    answer(stream, headers[':path'] ?? '')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, opened: () => sessions.length }
}

t.test('checks the health of a target by the protocol that it speaks', async (t) => {
  const checked = Promise.withResolvers<void>()
  const { url } = await speaking(t, (stream, path) => {
    if (path === '/healthz') checked.resolve()
    stream.respond()
    stream.end('two')
  })
  const health = { path: '/healthz', every: '10ms', unhealthyAfter: 1 }
  const app = await gateway(t, { upstreams: { up: { url, http2: true, health } }, routes })
  await app.ready()
  await checked.promise
  t.equal((await app.inject('/x')).body, 'two')
  t.equal(target(app, 0).condition.well, true)
})

t.test('takes a head of as many bytes as "maxHeaders" allows, in one field or in many', async (t) => {
  let fields: Record<string, string> = {}
  const { url } = await speaking(t, (stream) => {
    stream.respond(fields)
    stream.end('ok')
  })
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'a']))
  for (const [maxHeaders, made, status] of [
    [undefined, { 'x-a': 'a'.repeat(60_000) }, 200],
    [undefined, { 'x-a': 'a'.repeat(70_000) }, 502],
    [undefined, many(1400), 200],
    [undefined, many(2100), 502],
    ['1kb', { 'x-a': 'a'.repeat(800) }, 200],
    ['1kb', { 'x-a': 'a'.repeat(1100) }, 502]
  ] as const) {
    fields = made
    const app = await gateway(t, {
      upstreams: { up: { url, http2: true, ...(maxHeaders === undefined ? {} : { maxHeaders }) } },
      routes
    })
    t.equal((await app.inject('/x')).statusCode, status, `${JSON.stringify(made).length} bytes`)
  }
})

t.test('lets no request wait for one that streams for long', async (t) => {
  const held: ServerHttp2Stream[] = []
  const { url: up, opened } = await speaking(t, (stream, path) => {
    stream.resume()
    stream.respond()
    if (path !== '/hold') return void stream.end('ok')
    stream.write('begun')
    held.push(stream)
  })
  const { url, app } = await listening(t, { upstreams: { up: { url: up, http2: true } }, routes })
  const asking = (method: string): RequestInit => (method === 'POST' ? { method, body: 'some' } : { method })
  for (const method of ['GET', 'POST']) {
    const response = await fetch(`${url}/hold`, asking(method))
    const whole = response.text()
    for (const other of ['GET', 'POST', 'DELETE', 'POST'])
      t.equal((await ask(`${url}/x`, asking(other))).text, 'ok', `${other} beside ${method}`)
    held.pop()?.end()
    t.equal(await whole, 'begun')
  }
  t.ok(opened() <= 4, `connections are used again: ${opened()}`)
  t.equal(target(app, 0).load.requests, 0)
})

t.test('has as many requests with a body under way as there are', async (t) => {
  const all = Promise.withResolvers<void>()
  const held: ServerHttp2Stream[] = []
  const { url: up } = await speaking(t, (stream) => {
    if (held.push(stream) === 20) all.resolve()
  })
  const { url } = await listening(t, { upstreams: { up: { url: up, http2: true } }, routes })
  const answers = Array.from({ length: 20 }, (_, i) => ask(`${url}/x`, { method: 'POST', body: `body ${i}` }))
  await all.promise
  for (const stream of held)
    void text(stream).then((body) => {
      stream.respond()
      stream.end(body)
    })
  t.same(
    (await Promise.all(answers)).map((each) => each.text),
    answers.map((_, i) => `body ${i}`)
  )
})
