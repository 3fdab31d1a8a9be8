import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { SpanCounts } from '../../../plugins/tracing/span-counts.ts'
import { SpanExport } from '../../../plugins/tracing/span-export.ts'
import { Keep } from '../../../src/index.ts'
import {
  ask,
  certificate,
  gateway,
  listening,
  noOpenssl,
  originOf,
  readableLog,
  running,
  upstream
} from '../../helpers.ts'
import { CLIENT, receiver, SERVER } from './receiver.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const traceparent = `00-${TRACE}-b7ad6b7169203331-01`
const respond = [{ path: '/*', respond: { status: 204 } }]

t.test('answers at once and counts lost spans where the receiver fails', async (t) => {
  const nobody = await originOf(t, http.createServer())
  const cases: [name: string, endpoint: () => Promise<string>][] = [
    ['it refuses the connection', async () => 'http://127.0.0.1:1'],
    [
      'it answers 500',
      async () => (await receiver(t, (_q, response) => void response.writeHead(500).end())).url
    ],
    [
      'it answers 503',
      async () => (await receiver(t, (_q, response) => void response.writeHead(503).end())).url
    ],
    ['it never answers', async () => (await receiver(t, () => {})).url],
    ['it sends no HTTP', async () => nobody.replace('http:', 'https:')]
  ]
  for (const [name, endpoint] of cases)
    t.test(name, async (t) => {
      const { log, lines } = readableLog('warn')
      const app = await gateway(t, { tracing: { endpoint: await endpoint() }, routes: respond }, { log })
      const counts = app.tracing
      const statuses = new Set<number>()
      for (let i = 0; i < 600; i++) statuses.add((await app.inject('/')).statusCode)
      t.strictSame([...statuses], [204])
      await app.close()
      const [exported, dropped] = counts?.families() ?? []
      t.match(exported?.values, [{ value: 0 }])
      t.equal(
        dropped?.values.reduce((sum, { value }) => sum + value, 0),
        600
      )
      t.match(
        lines.find(({ msg }) => msg === 'spans dropped'),
        { cause: String, dropped: Number }
      )
      t.notMatch(JSON.stringify(lines), /127\.0\.0\.1/, 'no address in the log')
    })
})

t.test('drops and counts what a full queue cannot hold', async (t) => {
  const { url } = await receiver(t, () => {})
  const counts = new SpanCounts()
  const spans = new SpanExport({ endpoint: url, headers: {}, service: 'x' }, counts, readableLog().log)
  const span = {
    name: 'GET',
    kind: 1,
    traceId: TRACE,
    spanId: 'b7ad6b7169203331',
    parent: undefined,
    link: undefined,
    start: 0,
    end: 1.5,
    failed: false,
    attributes: {},
    events: []
  } as const
  for (let i = 0; i < 5000; i++) spans.add(span)
  t.ok(counts.dropped.queue_full >= 5000 - 2048 - 512 && counts.dropped.queue_full <= 5000 - 2048)
  await spans.close()
  t.equal(counts.droppedInTotal, 5000)
  spans.add(span)
  t.equal(counts.droppedInTotal, 5001, 'after its end it takes none')
})

t.test('keeps the exporter over a reload, and sends all where the receiver changes', async (t) => {
  const [one, two] = [await receiver(t), await receiver(t)]
  const keep = new Keep()
  const build = (tracing: object): ReturnType<typeof gateway> =>
    gateway(t, { tracing, routes: respond }, { keep })
  const first = await build({ endpoint: one.url })
  const second = await build({ endpoint: one.url, sample: '50%', errors: true })
  await first.inject('/')
  await first.close()
  t.strictSame(one.spans, [], 'the second generation goes on with the same exporter')
  const third = await build({ endpoint: two.url })
  await second.inject({ url: '/', headers: { traceparent } })
  await second.close()
  t.ok(one.spans.length >= 1, 'the spans of the first, and perhaps of the second generation')
  t.equal(new Set(one.resources.map((each) => each['service.instance.id'])).size, 1)
  await third.inject('/')
  await third.close()
  t.equal(two.spans.length, 1)
  t.equal(keep.size, 0)
})

t.test('traces HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const seen: unknown[] = []
  const server = http2.createServer()
  server.on('stream', (stream, headers) => {
    seen.push(headers['traceparent'])
    stream.respond({ ':status': 200 })
    stream.end('two')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const got = await receiver(t)
  const edge = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: { up: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }],
    tracing: { endpoint: got.url }
  })
  const client = http2.connect(`https://localhost:${edge.port}`, { ca: readFileSync(ca) })
  const stream = client.request({ ':path': '/x', traceparent, tracestate: 'a=1' })
  await once(stream.resume(), 'end')
  client.destroy()
  await edge.served.close()
  const server2 = got.spans.find(({ kind }) => kind === SERVER)
  const client2 = got.spans.find(({ kind }) => kind === CLIENT)
  t.match(server2, { traceId: TRACE, attributes: { 'network.protocol.version': '2', 'url.scheme': 'https' } })
  t.match(client2, { parentSpanId: server2?.spanId, attributes: { 'http.response.status_code': 200 } })
  t.strictSame(seen, [`00-${TRACE}-${client2?.spanId}-01`])
})

t.test('traces a WebSocket until it closes, and its handshake', async (t) => {
  const server = http.createServer()
  const told = once(server, 'upgrade')
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.on('data', () => socket.end()).on('error', () => {})
  })
  const url = await originOf(t, server)
  const got = await receiver(t)
  const edge = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: url } }],
    tracing: { endpoint: got.url }
  })
  const socket = connect(edge.port, '127.0.0.1')
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\ntraceparent: ${traceparent}\r\n\r\n`
  )
  await once(socket, 'data')
  socket.end('bye')
  await once(socket, 'close')
  const [request] = (await told) as [http.IncomingMessage]
  await edge.served.close()
  const [handshake, whole] = got.spans
  t.match(handshake, { kind: CLIENT, status: { code: 0 }, attributes: { 'http.response.status_code': 101 } })
  t.match(whole, {
    kind: SERVER,
    name: 'GET /*',
    status: { code: 0 },
    attributes: { 'http.response.status_code': 101 }
  })
  t.equal(request.headers['traceparent'], `00-${TRACE}-${handshake?.spanId}-01`)
})

t.test('ends the spans of a request whose client left, which is no error', async (t) => {
  const asked = Promise.withResolvers<void>()
  const url = await upstream(t, () => asked.resolve())
  const got = await receiver(t)
  const edge = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: url } }],
    tracing: { endpoint: got.url }
  })
  const socket = connect(edge.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await asked.promise
  socket.destroy()
  await edge.served.drain()
  t.strictSame(
    got.spans.map(({ kind, status, attributes }) => [
      kind,
      status.code,
      attributes['error.type'],
      attributes['http.response.status_code']
    ]),
    [
      [CLIENT, 0, 'SP_ERR_CLIENT_GONE', undefined],
      [SERVER, 0, 'SP_ERR_CLIENT_GONE', undefined]
    ]
  )
})

t.test('sends the last spans of every worker before it ends', async (t) => {
  const got = await receiver(t)
  const cwd = t.testdir({})
  writeFileSync(join(cwd, 'gateway.json'), JSON.stringify({ tracing: true, routes: respond }))
  const env = {
    WORKERS: '2',
    ADMIN_PORT: '0',
    OTEL_EXPORTER_OTLP_ENDPOINT: got.url,
    OTEL_SERVICE_NAME: 'edge'
  }
  const { url, line, signal, ended } = await running(t, [], { cwd, env })
  await line(({ admin }) => admin !== undefined)
  for (let i = 0; i < 8; i++) await ask(url, { headers: { connection: 'close' } })
  signal('SIGTERM')
  t.equal(await ended, 0)
  t.equal(got.spans.length, 8)
  t.ok(got.resources.every((each) => each['service.name'] === 'edge'))
})
