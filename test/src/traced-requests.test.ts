import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { planOf } from '../../src/config/load.ts'
import { objectSource } from '../../src/config/source.ts'
import { LiveExplainer } from '../../src/explain/live.ts'
import { signExplain } from '../../src/explain/signature.ts'
import { buildGateway } from '../../src/gateway/build.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { Resources } from '../../src/gateway/resources.ts'
import type { Served } from '../../src/server/served.ts'
import { serve } from '../../src/server/server.ts'
import {
  ask,
  bodyOf,
  certificate,
  closed,
  movableClock,
  noOpenssl,
  originOf,
  raw,
  upstream
} from '../helpers.ts'

const KEY = 'an-admin-token-of-the-test'
const SILENT = pino({ level: 'silent' })

const signature = (): string => signExplain(KEY, Math.floor(Date.now() / 1000))

/** Returns the bytes of a signed request. */
const signed = (path = '/', ...lines: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: a', `Sallyport-Explain: ${signature()}`, ...lines, '', ''].join('\r\n')

const LAST = 'Connection: close'

/** The instance for traced requests: the test decides when it is built. */
interface Traced {
  readonly app: FastifyInstance
  isClosed: boolean
}

interface Stage {
  readonly url: string
  readonly port: number
  readonly served: Served
  readonly explainer: LiveExplainer
  /** The instances that were built for traced requests. */
  readonly built: readonly Traced[]
  /** Resolves once the next instance is asked for; it is built when the returned function is called. */
  hold(): Promise<() => void>
  /** Lets the next instance fail. */
  fail(): void
  reload(config: object): Promise<void>
}

/** Starts a gateway whose signed requests are traced. */
async function stage(t: Test, first: object): Promise<Stage> {
  const resources = new Resources()
  const built: Traced[] = []
  let plan = await planOf(objectSource(first), catalog, {})
  let held: PromiseWithResolvers<() => void> | undefined
  let fails = false
  const explainer = new LiveExplainer(KEY, async (observer) => {
    const current = plan
    if (held !== undefined) {
      const { resolve } = held
      held = undefined
      await new Promise<void>((build) => resolve(build))
    }
    if (fails) {
      fails = false
      throw new Error('the test')
    }
    const app = await buildGateway(current, resources, SILENT, { trace: true, observer })
    const traced = { app, isClosed: false }
    built.push(traced)
    const close = app.close.bind(app) as () => Promise<undefined>
    app.close = (() => {
      traced.isClosed = true
      return close()
    }) as never
    return { plan: current, app }
  })
  const served = await serve(await buildGateway(plan, resources, SILENT), {
    host: '127.0.0.1',
    port: 0,
    log: SILENT,
    drainTimeout: 5000,
    tracedRequests: explainer
  })
  t.teardown(() => served.close())
  const { port } = served.address
  return {
    url: `http${plan.options['tls'] === undefined ? '' : 's'}://localhost:${port}`,
    port,
    served,
    explainer,
    built,
    hold() {
      held = Promise.withResolvers()
      return held.promise
    },
    fail() {
      fails = true
    },
    async reload(config) {
      plan = await planOf(objectSource(config), catalog, {})
      served.swap(await buildGateway(plan, resources, SILENT))
    }
  }
}

const responding = (body: string): object => ({ routes: [{ name: body, path: '/*', respond: { body } }] })

/** Sends bytes and leaves the connection open. */
function sending(t: Test, port: number, bytes: string): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

t.test('while the instance for traced requests is being built', async (t) => {
  await t.test('the client leaves', async (t) => {
    let seen = 0
    const origin = await upstream(t, (_request, response) => {
      seen++
      response.end('there')
    })
    const gate = await stage(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
    const asked = gate.hold()
    const client = sending(t, gate.port, signed())
    const build = await asked
    t.equal(gate.served.load().inFlight, 1)
    client.destroy()
    await closed(client)
    build()
    const { headers } = await ask(gate.url, { headers: { 'sallyport-explain': signature() } })
    t.ok(headers.get('sallyport-trace'), 'the next one is traced')
    t.equal(gate.built.length, 1, 'by the same instance')
    t.equal(seen, 1, 'nothing was sent for the client that left')
    t.equal(gate.served.load().inFlight, 0)
  })
  await t.test('a reload: the request is traced by the new config', async (t) => {
    const gate = await stage(t, responding('old'))
    const asked = gate.hold()
    const response = raw(gate.port, signed('/', LAST))
    const build = await asked
    await gate.reload(responding('new'))
    build()
    t.match(await response, /200 OK[\s\S]*sallyport-trace[\s\S]*new$/i)
    t.match(gate.explainer.list(), [{ verdict: 'answered' }])
    t.strictSame(
      gate.built.map(({ isClosed }) => isClosed),
      [true, false],
      'the instance of the old config is closed'
    )
  })
  await t.test('a drain: the request is answered without a trace', async (t) => {
    const gate = await stage(t, responding('here'))
    const asked = gate.hold()
    const response = raw(gate.port, signed())
    const build = await asked
    const drained = gate.served.drain()
    build()
    const answer = await response
    t.match(answer, /200 OK[\s\S]*connection: close[\s\S]*here$/i)
    t.notMatch(answer, /sallyport-trace/i)
    t.equal(await drained, true)
    t.ok(gate.built.every(({ isClosed }) => isClosed))
  })
  await t.test('a drain waits for each traced request, not for the first alone', async (t) => {
    const gate = await stage(t, {
      routes: [{ path: '/*', respond: { body: 'here' }, fault: { delay: '200ms' } }]
    })
    t.match(await raw(gate.port, signed('/', LAST)), /sallyport-trace/i)
    const second = raw(gate.port, signed('/', LAST))
    while (gate.served.load().inFlight === 0) await new Promise(setImmediate)
    const drained = gate.served.drain()
    t.match(await second, /sallyport-trace[\s\S]*here$/i)
    t.equal(await drained, true)
  })
  await t.test('the end of the server', async (t) => {
    const gate = await stage(t, responding('here'))
    const asked = gate.hold()
    const client = sending(t, gate.port, signed())
    const build = await asked
    const end = gate.served.close()
    await closed(client)
    build()
    await end
    t.ok(gate.built.every(({ isClosed }) => isClosed))
  })
  await t.test('two signed requests and one that is not: one instance, two traces', async (t) => {
    const gate = await stage(t, responding('here'))
    const asked = gate.hold()
    const both = [raw(gate.port, signed('/1', LAST)), raw(gate.port, signed('/2', LAST))]
    const build = await asked
    t.equal((await ask(gate.url)).headers.get('sallyport-trace'), null, 'the other one does not wait')
    build()
    for (const answer of await Promise.all(both)) t.match(answer, /sallyport-trace: [0-9a-f]{16}\r/i)
    t.equal(gate.built.length, 1)
    t.strictSame(
      gate.explainer
        .list()
        .map(({ url }) => url)
        .sort(),
      ['/1', '/2']
    )
  })
  await t.test('a failure: the current instance answers, and the next request tries again', async (t) => {
    const gate = await stage(t, responding('here'))
    gate.fail()
    const untraced = await ask(gate.url, { headers: { 'sallyport-explain': signature() } })
    t.match(untraced, { status: 200, text: 'here' })
    t.equal(untraced.headers.get('sallyport-trace'), null)
    const traced = await ask(gate.url, { headers: { 'sallyport-explain': signature() } })
    t.ok(traced.headers.get('sallyport-trace'))
  })
  await t.test('an invalid body: the connection is refused', async (t) => {
    const gate = await stage(t, responding('here'))
    const asked = gate.hold()
    const head = signed('/', 'Transfer-Encoding: chunked').replace('GET', 'POST')
    const response = raw(gate.port, `${head}no chunk\r\n`)
    const build = await asked
    build()
    t.match(await response, /^HTTP\/1\.1 (400|200)/)
    t.match(await ask(gate.url), { status: 200 })
  })
})

t.test('requests behind a signed one on the same connection keep their order', async (t) => {
  const origin = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => response.end(`<${request.method} ${request.url} ${body.toString()}>`))
  })
  const gate = await stage(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const asked = gate.hold()
  const posted = `POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`
  const response = raw(gate.port, [
    signed('/1'),
    posted,
    signed('/3'),
    'GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  ])
  const build = await asked
  build()
  const answer = await response
  t.strictSame(answer.match(/<[^>]*>/g), ['<GET /1 >', '<POST /2 body>', '<GET /3 >', '<GET /4 >'])
  t.equal(answer.match(/sallyport-trace/gi)?.length, 2, 'only the signed ones are traced')
})

t.test('a large body that comes before the instance is built arrives whole', async (t) => {
  const size = 3 * 1024 * 1024
  const origin = await upstream(t, (request, response) => {
    void bodyOf(request).then(({ length }) => response.end(String(length)))
  })
  const gate = await stage(t, {
    limits: { body: '4mb' },
    routes: [{ path: '/*', proxy: { upstream: origin } }]
  })
  const asked = gate.hold()
  const response = ask(gate.url, {
    method: 'POST',
    headers: { 'sallyport-explain': signature() },
    body: Buffer.alloc(size)
  })
  const build = await asked
  build()
  t.equal((await response).text, String(size))
  t.match(gate.explainer.list(), [{ method: 'POST', status: 200 }])
})

t.test('"100 Continue" is sent once the traced route reads the body', async (t) => {
  const gate = await stage(t, { routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }] })
  const client = sending(
    t,
    gate.port,
    signed('/', LAST, 'Content-Length: 4', 'Expect: 100-continue').replace('GET', 'PUT')
  )
  const [first] = (await once(client, 'data')) as [Buffer]
  t.match(String(first), /^HTTP\/1\.1 100 /)
  client.write('body')
  t.match(await text(client), /200 OK[\s\S]*sallyport-trace/i)
})

t.test('over HTTP/2, from the client and to the upstream', { skip: noOpenssl }, async (t) => {
  const { ca, cert } = certificate(t)
  const seen: http2.IncomingHttpHeaders[] = []
  const server = http2.createServer()
  server.on('stream', (stream, headers) => {
    seen.push(headers)
    stream.respond({ ':status': 200 })
    stream.end('there')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const gate = await stage(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: { orders: { url: origin, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'orders' } }]
  })
  const client = http2.connect(gate.url, { ca: cert })
  t.teardown(() => client.close())
  const get = async (headers: http2.OutgoingHttpHeaders): Promise<http2.IncomingHttpHeaders> => {
    const stream = client.request({ ':path': '/orders', ...headers })
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    t.equal(await text(stream), 'there')
    return head
  }
  const asked = gate.hold()
  const first = get({ 'sallyport-explain': signature() })
  const build = await asked
  const left = client.request({ ':path': '/left', 'sallyport-explain': signature() })
  left.on('error', () => {})
  left.close(http2.constants.NGHTTP2_CANCEL)
  t.equal((await get({}))['sallyport-trace'], undefined, 'others do not wait')
  build()
  t.match((await first)['sallyport-trace'], /^[0-9a-f]{16}$/)
  t.match(gate.explainer.list(), [{ method: 'GET', url: '/orders', verdict: 'forwarded' }])
  t.strictSame(
    seen.map((headers) => [headers[':path'], headers['sallyport-explain']]),
    [
      ['/orders', undefined],
      ['/orders', undefined]
    ]
  )
  t.equal(gate.served.load().inFlight, 0)
})

t.test('the handshake of a WebSocket is explained, and its connection works as any other', async (t) => {
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {})
    if (request.url === '/refuses') socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
    else socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.pipe(socket)
  })
  const config = {
    upstreams: { chat: { url: await originOf(t, server) } },
    routes: [
      { path: '/*', proxy: { upstream: 'chat' } },
      { path: '/denied', ipAccess: { deny: ['loopback'] }, proxy: { upstream: 'chat' } }
    ]
  }
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: a']
  /** Reads until what has come matches. */
  const reading = (socket: Socket, pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      let seen = ''
      socket.on('data', (data) => {
        seen += data.toString('latin1')
        if (pattern.test(seen)) resolve(seen)
      })
      socket.once('close', () => reject(new Error(`closed after ${JSON.stringify(seen)}`)))
    })
  await t.test('that is accepted, while it is open', async (t) => {
    const gate = await stage(t, config)
    const client = sending(t, gate.port, signed('/accepts', ...upgrade))
    const head = await reading(client, /\r\n\r\n/)
    const id = /sallyport-trace: (\w+)/i.exec(head)?.[1] ?? ''
    while (gate.explainer.find(id) === undefined) await new Promise(setImmediate)
    const found = gate.explainer.find(id)
    t.match(found, {
      verdict: 'forwarded',
      status: 101,
      route: { name: '/*' },
      upstreams: [{ upstream: 'chat' }]
    })
    t.equal(found?.upstreams[0]?.headers.find(({ name }) => name === 'sec-websocket-key')?.by, null)
    client.write('hello')
    t.match(await reading(client, /hello/), 'hello')
    await gate.reload(config)
    t.strictSame(
      gate.built.map(({ isClosed }) => isClosed),
      [false],
      'the instance stays open for the connection'
    )
    client.destroy()
    while (gate.built.some(({ isClosed }) => !isClosed)) await new Promise(setImmediate)
    t.equal(gate.explainer.list().length, 1, 'it is kept once')
    t.equal(gate.served.load().inFlight, 0)
  })
  const refused = [
    { path: '/refuses', status: 403, expected: { verdict: 'forwarded', status: 403, refusedBy: null } },
    {
      path: '/denied',
      status: 403,
      expected: { verdict: 'refused', code: 'SP_ERR_IP_ACCESS_DENIED', refusedBy: 'ipAccess', upstreams: [] }
    }
  ]
  for (const { path, status, expected } of refused)
    await t.test(`that is refused (${path})`, async (t) => {
      const gate = await stage(t, config)
      const answer = await raw(gate.port, signed(path, ...upgrade))
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
      const id = /sallyport-trace: (\w+)/i.exec(answer)?.[1] ?? ''
      while (gate.explainer.find(id) === undefined) await new Promise(setImmediate)
      t.match(gate.explainer.find(id), expected)
    })
  await t.test('whose client leaves while the instance is being built', async (t) => {
    const gate = await stage(t, config)
    const asked = gate.hold()
    const client = sending(t, gate.port, signed('/accepts', ...upgrade))
    const build = await asked
    client.destroy()
    await closed(client)
    build()
    while (gate.served.load().inFlight > 0) await new Promise(setImmediate)
    t.equal(gate.served.load().webSockets, 0)
    t.equal(gate.built.length, 1)
  })
})

t.test('the signature never reaches a service, whether it is valid or not', async (t) => {
  const seen: IncomingMessage[] = []
  const server = createServer((request, response) => {
    seen.push(request)
    response.setHeader('content-type', 'application/json').end('{}')
  })
  server.on('upgrade', (request, socket) => {
    seen.push(request)
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  const origin = await originOf(t, server)
  const gate = await stage(t, {
    upstreams: { orders: { url: origin } },
    routes: [
      { path: '/proxied', proxy: { upstream: 'orders', mirror: { upstream: 'orders', share: '100%' } } },
      {
        path: '/asked',
        auth: { forward: { upstream: 'orders', path: '/check' } },
        proxy: { upstream: 'orders' }
      },
      { path: '/legs', aggregate: { legs: { a: { upstream: 'orders', path: '/a' } } } },
      { path: '/socket', proxy: { upstream: 'orders' } }
    ]
  })
  const valid = signature()
  for (const value of [valid, signExplain('another key', 1)]) {
    for (const path of ['/proxied', '/asked', '/legs'])
      t.equal((await ask(gate.url + path, { headers: { 'sallyport-explain': value } })).status, 200, path)
    const upgraded = await raw(
      gate.port,
      `GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSallyport-Explain: ${value}\r\n\r\n`
    )
    t.match(upgraded, /^HTTP\/1\.1 101 /)
    t.equal(/sallyport-trace/i.test(upgraded), value === valid)
  }
  t.ok(seen.length >= 8, `${seen.length} requests`)
  for (const { rawHeaders } of seen) t.notMatch(rawHeaders.join('\n'), /sallyport-explain/i)
})

t.test('the id of a trace is not stored in the cache', async (t) => {
  const origin = await upstream(t, (_request, response) =>
    response.setHeader('cache-control', 'max-age=60').end('there')
  )
  const gate = await stage(t, { cache: {}, routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const traced = await ask(gate.url, { headers: { 'sallyport-explain': signature() } })
  t.ok(traced.headers.get('sallyport-trace'))
  const { headers } = await ask(gate.url)
  t.ok(headers.get('age'), 'it is stored')
  t.equal(headers.get('sallyport-trace'), null)
})

t.test('the last 50 explanations are kept', async (t) => {
  const gate = await stage(t, responding('here'))
  const paths = Array.from({ length: 60 }, (_, i) => `/${i}`)
  await raw(
    gate.port,
    paths.map((path, i) => signed(path, ...(i === 59 ? [LAST] : [])))
  )
  t.strictSame(
    gate.explainer.list().map(({ url }) => url),
    paths.toReversed().slice(0, 50)
  )
})

t.test('the instance is closed after a minute without a traced request', async (t) => {
  const { advance } = movableClock(t)
  const gate = await stage(t, responding('here'))
  const headers = (): Record<string, string> => ({ 'sallyport-explain': signature() })
  await ask(gate.url, { headers: headers() })
  advance(50_000)
  await ask(gate.url, { headers: headers() })
  advance(50_000)
  t.equal(gate.built[0]?.isClosed, false)
  advance(10_000)
  t.equal(gate.built[0]?.isClosed, true)
  t.ok((await ask(gate.url, { headers: headers() })).headers.get('sallyport-trace'))
  t.equal(gate.built.length, 2)
})

t.test('the instance is closed after a minute, although the client that asked for it has left', async (t) => {
  const { advance } = movableClock(t)
  const gate = await stage(t, responding('here'))
  const asked = gate.hold()
  const client = sending(t, gate.port, signed())
  const build = await asked
  client.destroy()
  await closed(client)
  build()
  while (gate.served.load().inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
  advance(60_000)
  t.equal(gate.built[0]?.isClosed, true)
})
