import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import t from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import {
  ask,
  certificate,
  closed,
  gateway,
  listening,
  noOpenssl,
  raw,
  readableLog,
  running,
  type Scope,
  SECRET,
  statusOf,
  upstream
} from '../helpers.ts'
import { FrameClient, get as getFrame } from '../http2-frames.ts'

/** Writes a config into a folder of the test. */
async function configFile(t: Scope, config: object): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'gateway.json')
  await writeFile(file, JSON.stringify(config))
  return file
}

const answering = (body: string): object => ({ routes: [{ path: '/version', respond: { body } }] })

/** Sends a request over a kept-alive connection, and returns the status or the error code. */
function get(url: string, agent: http.Agent): Promise<number | string> {
  return new Promise((resolve) => {
    const request = http.get(url, { agent }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
      response.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? 'error'))
    })
    request.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? 'error'))
  })
}

t.test('loses no request in 30 reloads under load, good and broken configs mixed', async (t) => {
  const slow = await upstream(t, (request, response) => {
    request.resume()
    setTimeout(() => response.end('slow'), 5)
  })
  const route = (i: number): object => ({
    routes: [
      { path: '/a/*', proxy: { upstream: slow } },
      { path: `/generation-${i}`, respond: { body: String(i) } }
    ]
  })
  const file = await configFile(t, route(0))
  const process = await running(t, ['-c', file])
  const agent = new http.Agent({ keepAlive: true, maxSockets: 20 })
  t.teardown(() => agent.destroy())
  let stopped = false
  const seen = new Map<number | string, number>()
  const client = async (): Promise<void> => {
    while (!stopped) {
      const status = await get(`${process.url}/a/x`, agent)
      seen.set(status, (seen.get(status) ?? 0) + 1)
    }
  }
  const clients = Promise.all(Array.from({ length: 20 }, client))
  for (let i = 1; i <= 30; i++) {
    const broken = i % 3 === 0
    await writeFile(
      file,
      broken ? '{ "routes": [ { "path": "/a/*", "proxi": {} } ] }' : JSON.stringify(route(i))
    )
    const before = process.lines.length
    process.signal('SIGHUP')
    const line = await process.line(
      (each) =>
        process.lines.indexOf(each) >= before &&
        (each['msg'] === 'reloaded' || String(each['msg']).includes('refused'))
    )
    t.equal(line['msg'] === 'reloaded', !broken, `reload ${i} is ${broken ? 'refused' : 'taken'}`)
    const known = broken ? i - 1 : i
    t.equal((await ask(`${process.url}/generation-${known}`)).status, 200, `generation ${known} answers`)
  }
  stopped = true
  await clients
  t.strictSame([...seen.keys()], [200], 'every request was answered 200')
  t.ok((seen.get(200) ?? 0) > 100, 'there was load throughout')
})

t.test('logs why a reload was refused, and keeps serving the old config', async (t) => {
  const file = await configFile(t, answering('one'))
  const process = await running(t, ['-c', file])
  await writeFile(file, '{ "routes": [ { "path": "/version", "respnd": {} } ] }')
  process.signal('SIGHUP')
  const line = await process.line((each) => String(each['msg']).includes('refused'))
  t.match(line['faults'], [/gateway\.json:1:\d+ .*did you mean "respond"/])
  t.equal((await ask(`${process.url}/version`)).text, 'one')
})

t.test('reloads when a file changes with --watch, including an included one', async (t) => {
  const file = await configFile(t, { routes: [{ path: '/team', include: 'team.json' }] })
  const team = join(file, '..', 'team.json')
  await writeFile(team, JSON.stringify(answering('one')))
  const process = await running(t, ['-c', file, '--watch'])
  t.equal((await ask(`${process.url}/team/version`)).text, 'one')
  await writeFile(team, JSON.stringify(answering('two')))
  await process.line((each) => each['msg'] === 'reloaded')
  t.equal((await ask(`${process.url}/team/version`)).text, 'two')
})

t.test('answers 20 slow requests in flight after SIGTERM, then exits with 0', async (t) => {
  const arrived: http.ServerResponse[] = []
  const all = Promise.withResolvers<void>()
  const origin = await upstream(t, (request, response) => {
    request.resume()
    arrived.push(response)
    if (arrived.length === 20) all.resolve()
  })
  const process = await running(t, [
    '-c',
    await configFile(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  ])
  const agent = new http.Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const answers = Promise.all(Array.from({ length: 20 }, () => get(`${process.url}/slow`, agent)))
  await all.promise
  process.signal('SIGTERM')
  await process.line((line) => line['msg'] === 'draining')
  t.rejects(ask(`${process.url}/late`), 'a new connection is refused')
  for (const response of arrived) response.end('done')
  t.strictSame(await answers, Array(20).fill(200))
  t.equal(await process.ended, 0)
})

t.test('exits at once after a second SIGTERM', async (t) => {
  const reached = Promise.withResolvers<void>()
  const origin = await upstream(t, () => reached.resolve())
  const process = await running(t, [
    '-c',
    await configFile(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  ])
  const agent = new http.Agent()
  const answer = get(`${process.url}/hangs`, agent)
  await reached.promise
  process.signal('SIGTERM')
  await process.line((line) => line['msg'] === 'draining')
  const again = setInterval(() => process.signal('SIGTERM'), 100)
  t.equal(await process.ended, 1)
  clearInterval(again)
  t.equal(await answer, 'ECONNRESET')
})

t.test('keeps draining when one Ctrl-C arrives twice, as under npm start', async (t) => {
  const reached = Promise.withResolvers<http.ServerResponse>()
  const origin = await upstream(t, (_request, response) => reached.resolve(response))
  const process = await running(t, [
    '-c',
    await configFile(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  ])
  const answer = get(`${process.url}/slow`, new http.Agent())
  const response = await reached.promise
  process.signal('SIGINT')
  await process.line((line) => line['msg'] === 'draining')
  process.signal('SIGINT')
  response.end('done')
  t.equal(await answer, 200)
  t.equal(await process.ended, 0)
})

t.test('reloads after the start when SIGHUP arrives during it', async (t) => {
  // The signal comes as soon as there is a handler, and once more with the second one, long before the config is read.
  const early = `let left = 2
    process.on('newListener', (event) => {
      if (event !== 'SIGHUP' || left-- <= 0) return
      process.nextTick(() => process.kill(process.pid, 'SIGHUP'))
    })`
  const process = await running(t, ['-c', await configFile(t, answering('here'))], {
    env: { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(early)}"` }
  })
  await process.line(({ msg, why }) => msg === 'reloaded' && why === 'SIGHUP')
  t.equal((await ask(`${process.url}/version`)).text, 'here')
})

t.test('sends Connection: close from the beginning of the drain delay', async (t) => {
  const answers: http.ServerResponse[] = []
  const three = Promise.withResolvers<void>()
  const origin = await upstream(t, (_request, response) => {
    if (answers.push(response) === 3) three.resolve()
  })
  const { served, port } = await listening(
    t,
    {
      routes: [
        { path: '/slow/*', proxy: { upstream: origin } },
        { path: '/version', respond: { body: 'here' } }
      ]
    },
    { drainDelay: 3000 }
  )
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  const kept = connect(port, '127.0.0.1')
  kept.write(request('/version'))
  t.match(String((await once(kept, 'data'))[0]), 'Connection: keep-alive')
  const underWay = raw(port, request('/slow/1'), 3000)
  const pipelined = raw(port, [request('/slow/2'), request('/version')], 3000)
  const begun = raw(port, request('/slow/3'), 3000)
  await three.promise
  answers.find(({ req }) => req.url === '/slow/3')?.write('begun')
  const drained = served.drain()
  kept.write(request('/version'))
  t.match(
    String((await once(kept, 'data'))[0]),
    /^HTTP\/1\.1 200[\s\S]*connection: close/i,
    'a kept connection'
  )
  await closed(kept)
  for (const answer of answers) answer.end('done')
  t.match(await underWay, /connection: close[\s\S]*done/i, 'a response whose headers are not sent yet')
  const both = await pipelined
  t.match(
    both,
    /connection: keep-alive[\s\S]*done[\s\S]*connection: close[\s\S]*here/i,
    'the last answer of several'
  )
  t.match(await begun, 'done', 'a response that has begun is complete')
  t.equal(await drained, true)
})

t.test('reports not ready, and still serves, during the drain delay', async (t) => {
  const { served, url } = await listening(t, answering('here'), { drainDelay: 3000 })
  t.equal((await ask(`${url}/-/ready`)).status, 200)
  const drained = served.drain()
  const { status, headers } = await ask(`${url}/-/ready`)
  t.equal(status, 503)
  t.ok(headers.get('retry-after'))
  t.equal((await ask(`${url}/-/live`)).status, 200)
  t.equal((await ask(`${url}/version`)).text, 'here')
  t.equal(await drained, true)
})

t.test('cuts requests in flight after the drain timeout', async (t) => {
  const reached = Promise.withResolvers<void>()
  const origin = await upstream(t, () => reached.resolve())
  const { served, url } = await listening(
    t,
    { routes: [{ path: '/*', proxy: { upstream: origin } }] },
    { drainTimeout: 50 }
  )
  const answer = get(`${url}/hangs`, new http.Agent())
  await reached.promise
  t.equal(await served.drain(), false)
  t.equal(await answer, 'ECONNRESET')
})

t.test('closes the retired generation after its last response, and not before', async (t) => {
  const held: http.ServerResponse[] = []
  const reached = Promise.withResolvers<void>()
  const origin = await upstream(t, (_request, response) => {
    held.push(response)
    reached.resolve()
  })
  const keep = new Keep()
  const { app, served, url } = await listening(
    t,
    { routes: [{ path: '/*', proxy: { upstream: origin } }] },
    { keep }
  )
  const closed = Promise.withResolvers<void>()
  let open = true
  const answer = ask(`${url}/slow`)
  await reached.promise
  const next = await buildGateway(await loadConfig(answering('two'), {}), keep)
  const close = app.close.bind(app)
  Object.assign(app, {
    close: async () => {
      open = false
      await close()
      closed.resolve()
    }
  })
  served.swap(next)
  t.equal((await ask(`${url}/version`)).text, 'two', 'new requests go to the new generation')
  t.equal(open, true, 'the old one stays open while it has a request in flight')
  held[0]?.end('late')
  t.equal((await answer).text, 'late')
  await closed.promise
  t.equal(open, false)
})

t.test('keeps connection pools across a reload, and closes them with their last user', async (t) => {
  const keep = new Keep()
  const config = { routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }] }
  const one = await buildGateway(await loadConfig(config, {}), keep)
  const pool = one.upstream(config.routes[0]?.proxy.upstream ?? '').targets[0]?.pool
  const two = await buildGateway(await loadConfig(config, {}), keep)
  t.equal(two.upstream(config.routes[0]?.proxy.upstream ?? '').targets[0]?.pool, pool, 'both use one pool')
  await one.close()
  t.equal(pool?.closed, false)
  await two.close()
  t.equal(pool?.closed, true)
  t.equal(keep.size, 0, 'all resources are released')
})

t.test('sends "100 Continue" when the body is read, and not to a refused request', async (t) => {
  const { port } = await listening(t, {
    auth: { global: false, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
    routes: [
      { path: '/open', proxy: { upstream: await upstream(t) } },
      { path: '/closed', proxy: { upstream: await upstream(t) }, auth: true }
    ]
  })
  const head = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n`
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(head('/open'))
  const [first] = (await once(socket, 'data')) as [Buffer]
  t.match(first.toString(), /^HTTP\/1\.1 100 Continue\r\n\r\n$/, 'before a byte of the body was sent')
  socket.write('hello')
  const rest: Buffer[] = []
  for await (const data of socket) rest.push(data as Buffer)
  t.match(Buffer.concat(rest).toString(), /^HTTP\/1\.1 200 OK[\s\S]*"body":"hello"/)
  t.equal(statusOf(await raw(port, head('/closed'))), 401)
})

t.test('survives more connections than it has descriptors for, and serves after they close', async (t) => {
  const process = await running(t, ['-c', await configFile(t, { ...answering('here'), accessLog: false })], {
    descriptors: 256
  })
  const { promise: refused, resolve: refuse } = Promise.withResolvers<void>()
  let ended = 0
  const sockets = Array.from({ length: 400 }, () => {
    const socket = connect(process.port, '127.0.0.1').resume()
    socket.on('error', () => {})
    // Some descriptors are in use already, so fewer than this many are free.
    socket.on('close', () => ++ended >= 150 && refuse())
    return socket
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  await refused
  t.match(await process.line(({ msg }) => String(msg).startsWith('file descriptors used up')), {
    level: 'warn',
    descriptors: 256
  })
  const gone = sockets.map(async (socket) => {
    await closed(socket)
  })
  for (const socket of sockets) socket.destroy()
  await Promise.all(gone)
  const one = (): Promise<number> =>
    ask(`${process.url}/version`).then(
      ({ status }) => status,
      () => 0
    )
  // The gateway detects closed connections one by one, at a time that it cannot control.
  let status = await one()
  while (status === 0) status = await one()
  t.equal(status, 200)
  t.match(process.lines[0], { descriptors: 256 }, 'logs the limit at the start')
  t.ok(process.lines.length < 10, `its log has ${process.lines.length} lines`)
  process.signal('SIGTERM')
  t.equal(await process.ended, 0)
})

t.test(
  'responds 503 when no descriptor is left for an upstream, without ejecting the target',
  { skip: noOpenssl },
  async (t) => {
    const waiting: http.ServerResponse[] = []
    const settled = Promise.withResolvers<void>()
    let refused = 0
    let holds = true
    const origin = await upstream(t, (_request, response) => {
      if (!holds) return void response.end('done')
      waiting.push(response)
      look()
    })
    const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
    const config = {
      accessLog: false,
      tls: { certificates: [{ cert, key }] },
      upstreams: { slow: { url: origin, eject: { failures: 1 }, breaker: { failures: '1%', of: 1 } } },
      routes: [{ path: '/slow', proxy: { upstream: 'slow' } }]
    }
    const process = await running(t, ['-c', await configFile(t, config)], { descriptors: 100 })
    // One connection, so that all descriptors go to the upstream.
    const client = FrameClient.open(t, process.port)
    const ids = Array.from({ length: 120 }, (_, i) => 2 * i + 1)
    client.send(...ids.map((id) => getFrame(id, '/slow')))
    const look = (): void => {
      if (waiting.length + refused === ids.length) settled.resolve()
    }
    const statuses = ids.map(async (id) => {
      const status = await client.status(id)
      if (status === 503) refused++
      look()
      return status
    })
    await settled.promise
    t.ok(refused > 20, `${refused} refused`)
    holds = false
    for (const response of waiting) response.end('done')
    t.strictSame(new Set(await Promise.all(statuses)), new Set([200, 503]))
    client.send(getFrame(1001, '/slow'))
    t.equal(await client.status(1001), 200, 'the target gets requests again')
    await process.line(({ msg }) => String(msg).startsWith('upstream connections failed'))
    const warnings = process.lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)
    t.strictSame(
      warnings.filter((msg) => !/ulimit/.test(String(msg))),
      ['upstream connections failed: out of file descriptors or local ports']
    )
  }
)

t.test('refuses unknown expectations and CONNECT', async (t) => {
  const { port } = await listening(t, answering('here'))
  t.equal(
    statusOf(
      await raw(port, 'POST /version HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n')
    ),
    417
  )
  t.equal(statusOf(await raw(port, 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n')), 405)
})

t.test('accepts a body with chunked coding or a length, and forwards the length as a number', async (t) => {
  let seen: string[] = []
  const up = await upstream(t, (request, response) => {
    seen = request.rawHeaders.map((each) => each.toLowerCase())
    request.resume().on('end', () => response.end('ok'))
  })
  const { port } = await listening(t, {
    routes: [
      { path: '/up/*', proxy: { upstream: up } },
      { path: '/here', respond: { body: 'here' } }
    ]
  })
  const chunks = '2\r\nhi\r\n0\r\n\r\n'
  const cases: [framing: string, body: string, status: number, sent?: [string, string]][] = [
    ['Transfer-Encoding: chunked', chunks, 200, ['transfer-encoding', 'chunked']],
    ['Transfer-Encoding: , CHUNKED', chunks, 200, ['transfer-encoding', 'chunked']],
    ['Transfer-Encoding: gzip, chunked', chunks, 501],
    ['Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked', chunks, 501],
    ['Transfer-Encoding: identity,chunked', chunks, 501],
    ['Transfer-Encoding: xchunked, chunked', chunks, 501],
    ['Transfer-Encoding: gzip', '', 400],
    ['Transfer-Encoding: chunked, chunked', chunks, 400],
    ['Content-Length: 2', 'hi', 200, ['content-length', '2']],
    ['Content-Length: 02', 'hi', 200, ['content-length', '2']],
    ['content-LENGTH: 0000000000000000000000000010', 'ten bytes.', 200, ['content-length', '10']],
    ['Content-Length: 00', '', 200, ['content-length', '0']],
    ['Content-Length: +2', 'hi', 400],
    ['Content-Length: 0x2', 'hi', 400]
  ]
  for (const [framing, body, status, sent] of cases)
    for (const path of ['/up/x', '/here', '/nowhere']) {
      seen = []
      const answer = await raw(
        port,
        `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${framing}\r\n\r\n${body}`
      )
      t.equal(statusOf(answer), status === 200 && path === '/nowhere' ? 404 : status, `${framing} to ${path}`)
      if (status === 501) t.match(answer, 'SP_ERR_REQUEST_CODING')
      if (path !== '/up/x' || sent === undefined) continue
      t.equal(seen[seen.indexOf(sent[0]) + 1], sent[1], framing)
      t.equal(seen.filter((each) => /^(content-length|transfer-encoding)$/.test(each)).length, 1)
    }
})

t.test('processes no request that is pipelined behind a response with Connection: close', async (t) => {
  const seen: (string | undefined)[] = []
  const up = await upstream(t, (request, response) => {
    seen.push(request.url)
    response.end('ok')
  })
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: up } }] })
  const closing: [name: string, first: string, status: number][] = [
    ['a refusal', 'POST / HTTP/1.1\r\nHost: a/b\r\nContent-Length: 2\r\n\r\nhi', 400],
    [
      'a body sent without waiting for 100 Continue',
      'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n',
      501
    ]
  ]
  for (const [name, first, status] of closing) {
    const answer = await raw(port, `${first}POST /behind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`)
    t.equal(statusOf(answer), status, name)
    t.match(answer, /^connection: close\r$/im)
    t.strictSame(seen, [], name)
  }
})

t.test('applies the connection limits of the current generation', async (t) => {
  const { port, served } = await listening(t, { ...answering('one'), limits: { headers: '2kb' } })
  const big = `GET /version HTTP/1.1\r\nHost: a\r\nX-Big: ${'x'.repeat(3000)}\r\nConnection: close\r\n\r\n`
  t.equal(statusOf(await raw(port, big)), 431)
  served.swap(
    await gateway(t, { ...answering('two'), limits: { headers: '8kb' } }, { env: { SESSION_SECRET: SECRET } })
  )
  t.equal(statusOf(await raw(port, big)), 200)
})

t.test('opens no socket by itself when it is embedded', async (t) => {
  const app = await gateway(t, answering('here'))
  t.equal(app.server.listening, false)
  const server = http.createServer((request, response) => app.routing(request, response)).listen(0)
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  t.match(await raw(port, 'GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /here$/)
})

t.test('answers requests while a config of many routes is loaded', async (t) => {
  const many = {
    routes: [
      { path: '/version', respond: { body: 'one' } },
      ...Array.from({ length: 500 }, (_, i) => ({
        path: `/r${i}/*`,
        proxy: { upstream: 'http://127.0.0.1:9' }
      }))
    ]
  }
  const { served, url } = await listening(t, many)
  let building = true
  let answered = 0
  const asking = (async () => {
    while (building) {
      t.equal((await ask(`${url}/version`)).text, 'one')
      answered++
    }
  })()
  const next = await buildGateway(await loadConfig(many, {}))
  building = false
  await asking
  t.ok(answered > 5, `${answered} were answered meanwhile`)
  served.swap(next)
})

t.test("releases all resources when a gateway can't be built", async (t) => {
  const cases = [
    { name: 'a plugin throws', body: "throw new Error('no')" },
    {
      name: 'a plugin never gets ready',
      body: "app.addHook('onReady', async () => { throw new Error('no') })"
    }
  ]
  for (const { name, body } of cases) {
    const folder = t.testdir({
      'broken.js': `export const key = 'broken'
        export const options = { type: 'object', properties: {}, description: 'Breaks.' }
        export const override = false
        export default async function broken (app) { ${body} }`,
      'gateway.json': JSON.stringify({
        extensions: [{ module: './broken.js' }],
        broken: {},
        rateLimit: { max: 1, window: '1s' },
        routes: [{ path: '/', proxy: { upstream: 'http://127.0.0.1:9' } }]
      })
    })
    const keep = new Keep()
    await t.rejects(
      buildGateway(await loadConfig(join(folder, 'gateway.json'), {}), keep),
      { message: 'no' },
      name
    )
    t.equal(keep.size, 0, name)
  }
})

t.test('writing after the end of a response affects no other request', async (t) => {
  const folder = t.testdir({
    'late.mjs': `export const key = 'late'
      export const target = true
      export const options = { type: 'object', properties: {}, description: 'Writes too late.' }
      export default async function late (app, { routes }) {
        for (const { mounts } of routes) for (const mount of mounts)
          app.route({ ...mount, method: [...mount.method], exposeHeadRoute: false, handler (request, reply) {
            reply.hijack()
            reply.raw.end('one')
            reply.raw.write('two')
            request.log.info({ byApp: app.log === request.log, byReply: reply.log === request.log }, 'too late')
          } })
      }`
  })
  const { log, line } = readableLog()
  const { url } = await listening(
    t,
    { extensions: [{ module: `${folder}/late.mjs` }], routes: [{ path: '/', late: {} }] },
    { log }
  )
  for (let i = 0; i < 2; i++) t.equal((await ask(url)).text, 'one')
  t.match(
    await line(({ msg }) => msg === 'too late'),
    { byApp: true, byReply: true },
    'and all of it has one log'
  )
})

t.test(
  'answers a request that is followed by invalid bytes, then refuses those',
  { skip: noOpenssl },
  async (t) => {
    const origin = await upstream(t, (request, response) => {
      request.resume()
      request.on('end', () => setImmediate(() => response.end('created')))
    })
    const config = {
      routes: [
        { path: '/x', proxy: { upstream: origin } },
        { path: '/own', respond: { body: 'own' } },
        { path: '/big', respond: { body: 'y'.repeat(3_000_000) } }
      ]
    }
    const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
    const ways = [
      { over: 'plain', at: await listening(t, config), open: connect },
      {
        over: 'TLS',
        at: await listening(t, { ...config, tls: { certificates: [{ cert, key }] } }),
        open: (port: number) =>
          tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
      }
    ]
    const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
    const post = (body: string, more = ''): string =>
      `POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n${more}\r\n${body}`
    const close = 'Connection: close\r\n'
    const cases: { name: string; parts: string[]; want: number[] }[] = [
      { name: 'garbage', parts: [post('helloGARBAGE / \r\n\r\n')], want: [200, 400] },
      {
        name: 'garbage in a separate write',
        parts: [post('hello'), 'GARBAGE / \r\n\r\n'],
        want: [200, 400]
      },
      { name: 'two bytes after the body', parts: [post('helloxy')], want: [200, 400] },
      { name: 'an empty line', parts: [post('hello\r\n')], want: [200] },
      {
        name: 'garbage after a response of the gateway itself',
        parts: [`${get('/own')}GARBAGE\r\n\r\n`],
        want: [200, 400]
      },
      {
        name: 'garbage while a large response is read',
        parts: [get('/big'), 'GARBAGE\r\n\r\n'],
        want: [200, 400]
      },
      {
        name: 'garbage after two requests',
        parts: [`${get('/x')}${get('/own')}GARBAGE\r\n\r\n`],
        want: [200, 200, 400]
      },
      { name: 'a request behind "Connection: close"', parts: [get('/x', close) + get('/own')], want: [200] },
      { name: 'bytes behind "Connection: close"', parts: [post('helloxy', close)], want: [200] },
      { name: 'an empty line behind "Connection: close"', parts: [post('hello\r\n', close)], want: [200] },
      {
        name: 'an oversized header section',
        parts: [`${get('/x')}${get('/own', `x: ${'y'.repeat(70_000)}\r\n`)}`],
        want: [200, 431]
      },
      {
        name: 'a body with invalid framing',
        parts: [`${get('/x')}POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`],
        want: [200, 400]
      },
      {
        name: 'a CONNECT',
        parts: [`${get('/x')}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`],
        want: [200, 405]
      },
      { name: 'a request without Host', parts: [`${get('/x')}GET /x HTTP/1.1\r\n\r\n`], want: [200, 400] },
      {
        name: 'a request with an empty Host',
        parts: [`${get('/x')}GET /x HTTP/1.1\r\nHost:\r\n\r\n`],
        want: [200, 400]
      },
      { name: 'RTSP', parts: [`${get('/x')}GET /x RTSP/1.0\r\nHost: a\r\n\r\n`], want: [200, 400] },
      ...[
        'GET /own RTSP/1.0',
        'OPTIONS * RTSP/1.0',
        'DESCRIBE /own RTSP/1.0',
        'SOURCE /own ICE/1.0',
        'GET /own ICE/1.0'
      ].map((line) => ({ name: `${line} alone`, parts: [`${line}\r\nHost: a\r\n\r\n`], want: [400] })),
      { name: 'a request without Host alone', parts: ['GET /own HTTP/1.1\r\n\r\n'], want: [400] }
    ]
    for (const { over, at, open } of ways)
      for (const { name, parts, want } of cases) {
        const socket = open(at.port, '127.0.0.1')
        let seen = ''
        socket.on('data', (data: Buffer) => {
          seen += data.toString('latin1')
        })
        socket.on('error', () => {})
        const end = closed(socket)
        for (const part of parts) {
          socket.write(part)
          await new Promise((resolve) => setImmediate(resolve))
        }
        // A connection that stays open has sent all its responses.
        const answers = (): number[] =>
          [...seen.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
        while (!socket.destroyed && answers().length < want.length)
          await Promise.race([once(socket, 'data'), end])
        if (want.at(-1) !== 200) await end
        socket.destroy()
        t.strictSame(answers(), want, `${over}: ${name}`)
        if (name.includes('large answer'))
          t.match(seen, /y{3000000}HTTP\/1\.1 400/, 'the response is complete')
      }
  }
)

t.test(
  'no error of an extension ends the process, over HTTP/1.1 or HTTP/2',
  { skip: noOpenssl },
  async (t) => {
    const { key, cert } = certificate(t)
    const up = await upstream(t, (_request, response) => void setTimeout(() => response.end('ok'), 20))
    const folder = t.testdir({
      'rude.mjs': `export const key = 'rude'
      export const options = { type: 'object', properties: {}, description: 'Breaks.' }
      export const override = false
      const fail = () => { throw new Error('rude') }
      const HOW = {
        timer: () => void setTimeout(fail, 1),
        promise: () => void Promise.reject(new Error('rude')),
        close: (reply) => void reply.raw.once('close', fail),
        value: (reply) => reply.header('x-rude', 'a\\nb'),
        name: (reply) => reply.header('x@rude )', 'a'),
        framing: (reply) => reply.header('trailer', 'x-rude').header('keep-alive', 'a'),
        late: (reply) => void setTimeout(() => reply.raw.writeHead(200, { 'x-rude': 'a\\nb' }), 1),
        twice: (reply) => void setTimeout(() => reply.send('twice'), 1)
      }
      export default async function rude (app) {
        app.addHook('onRequest', (request, reply, done) => { HOW[request.query.how]?.(reply); done() })
      }`,
      'page.txt': 'page',
      'up.key': key,
      'up.pem': cert
    })
    const config = {
      extensions: [{ module: `${folder}/rude.mjs` }],
      tls: { certificates: [{ cert: 'up.pem', key: 'up.key' }] },
      rude: {},
      routes: [
        { path: '/proxy', proxy: { upstream: up } },
        { path: '/down', proxy: { upstream: 'http://127.0.0.1:1' } },
        { path: '/respond', respond: { body: 'hello' } },
        { path: '/files/*', files: { root: folder } }
      ]
    }
    const file = join(folder, 'gateway.json')
    writeFileSync(file, JSON.stringify(config))
    const { port, lines } = await running(t, ['-c', file])
    const session = http2.connect(`https://localhost:${port}`, { ca: cert })
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const byTwo = (path: string): Promise<unknown> =>
      new Promise((resolve) => {
        const stream = session.request({ ':path': path })
        stream.on('response', (headers) => resolve(headers[':status']))
        stream.on('error', resolve)
        stream.resume()
      })
    const byOne = (path: string): Promise<unknown> =>
      new Promise((resolve) => {
        const request = https.get({ host: 'localhost', port, path, ca: cert, agent: false }, (response) => {
          response.on('error', () => {}).resume()
          resolve(response.statusCode)
        })
        request.on('error', resolve)
      })
    for (const how of ['timer', 'promise', 'close', 'value', 'name', 'framing', 'late', 'twice'])
      for (const path of ['/proxy', '/down', '/respond', '/files/page.txt'])
        for (const [version, send] of [['HTTP/1.1', byOne] as const, ['HTTP/2', byTwo] as const]) {
          // Bytes that a handler has written itself can't be recalled.
          const status = await send(`${path}?how=${how}`)
          if (how !== 'late') t.type(status, 'number', `${how}: ${path}, ${version}`)
          t.equal(await send('/respond'), 200, `and after it: ${how}: ${path}, ${version}`)
        }
    // The server looks for stalled streams every second: one whose "close" has thrown is not one.
    await new Promise((resolve) => setTimeout(resolve, 3500))
    t.equal(await byTwo('/respond'), 200, 'the session stays open')
    t.ok(lines.some(({ msg }) => msg === 'uncaught error'))
    t.ok(lines.some(({ msg }) => msg === 'response header could not be sent'))
  }
)
