import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { dirname, join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { certificate, listening, noOpenssl, type Scope, type Seen, upstream } from '../helpers.ts'

const module = fileURLToPath(new URL('../../examples/extensions/webhook-signature.ts', import.meta.url))
const secret = 'the secret of a sender'
const sign = (body: Buffer): string => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`

/** Starts an upstream that speaks HTTP/2 alone and answers as the echo does. */
async function echoHttp2(t: Scope): Promise<string> {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    void buffer(stream).then((body) => {
      stream.respond({ ':status': 200 })
      stream.end(JSON.stringify({ body: body.toString('latin1') }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A client of the gateway: posts a body and reads the answer. */
type Post = (
  gate: { port: number; ca: Buffer },
  body: Buffer,
  headers?: Record<string, string>
) => Promise<{ status: number; text: string }>

const CLIENTS: Record<string, Post> = {
  'HTTP/1.1 with a length': (gate, body, headers) =>
    overHttp1(gate, body, { 'content-length': String(body.length), ...headers }),
  'HTTP/1.1 in chunks': (gate, body, headers) =>
    overHttp1(gate, body, { 'transfer-encoding': 'chunked', ...headers }),
  'HTTP/2': async ({ port, ca }, body, headers) => {
    const client = http2.connect(`https://localhost:${port}`, { ca })
    const stream = client.request({ ':path': '/hook', ':method': 'POST', ...headers })
    stream.end(body)
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    const whole = await text(stream)
    client.close()
    return { status: Number(answer[':status']), text: whole }
  }
}

const overHttp1: Post = async ({ port, ca }, body, headers = {}) => {
  const request = https.request({
    port,
    host: 'localhost',
    path: '/hook',
    method: 'POST',
    headers,
    ca,
    agent: false
  })
  request.on('error', () => {})
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { status: Number(response.statusCode), text: await text(response) }
}

const tls = (t: Pick<Test, 'testdir'>) => {
  const { ca } = certificate(t)
  const folder = dirname(ca)
  return { folder, ca: readFileSync(ca), tls: { certificates: [{ key: join(folder, 'up.key'), cert: ca }] } }
}

t.test('checks a webhook by its raw body, and forwards the same bytes', { skip: noOpenssl }, async (t) => {
  const { ca, tls: own } = tls(t)
  for (const [up, url, two] of [
    ['HTTP/1.1', await upstream(t), false],
    ['HTTP/2', await echoHttp2(t), true]
  ] as const) {
    const { port, app } = await listening(t, {
      tls: own,
      extensions: [{ module }],
      upstreams: { up: { url, http2: two } },
      limits: { body: '2mb' },
      webhookSignature: { secret, maxBody: '1500kb' },
      routes: [{ path: '/hook', proxy: { upstream: 'up' } }]
    } as object)
    const gate = { port, ca }
    for (const [client, post] of Object.entries(CLIENTS)) {
      for (const length of [0, 1, 20_000, 65_536, 1_000_000])
        for (const type of [{}, { 'content-type': 'application/json' }, { 'content-type': 'not a type' }]) {
          const body = Buffer.alloc(length, 'bytes \xff\0', 'latin1')
          const name = `${client} to ${up}, ${length} bytes, ${JSON.stringify(type)}`
          const answer = await post(gate, body, { 'x-hub-signature-256': sign(body), ...type })
          t.equal(answer.status, 200, name)
          t.ok((JSON.parse(answer.text) as Seen).body === body.toString('latin1'), 'the bytes are the same')
        }
      const other = { 'x-hub-signature-256': sign(Buffer.from('another body')) }
      t.equal((await post(gate, Buffer.from('a body'), other)).status, 401, client)
      t.equal((await post(gate, Buffer.alloc(1_600_000))).status, 413, `${client}, beyond maxBody`)
      t.equal((await post(gate, Buffer.alloc(2_200_000))).status, 413, `${client}, beyond limits.body`)
    }
    t.equal(app.buffers.held, 0, 'nothing is counted once the answers are over')
  }
})

const KEEPER = (kit: string): string => `
import { PassThrough, Readable } from 'node:stream'
import { fp, overrideOf, perRoute, Type } from '${kit}'
export const key = 'keeper'
export const options = Type.Object({ how: Type.String() }, { additionalProperties: false })
export const override = overrideOf(options)
export default fp(async (app, { how }) => {
  app.decorate('keptBodies', [])
  perRoute(app, key, { how }, () => ({
    preParsing: async (request, reply, payload) => {
      const parts = []
      app.keptBodies.push(parts)
      if (how === 'tee') {
        const out = new PassThrough()
        payload.on('data', (part) => parts.push(part))
        return payload.pipe(out)
      }
      for await (const part of payload) parts.push(part)
      return Readable.from(parts.length === 0 ? [] : [Buffer.concat(parts)])
    }
  }))
}, { name: key, fastify: '5.x' })
`

t.test('leaves the parts of a body to an extension that keeps them', { skip: noOpenssl }, async (t) => {
  const { ca, tls: own, folder } = tls(t)
  const kit = new URL('../../src/kit/index.ts', import.meta.url).href
  writeFileSync(join(folder, 'keeper.mjs'), KEEPER(kit))
  for (const [up, url, two] of [
    ['HTTP/1.1', await upstream(t), false],
    ['HTTP/2', await echoHttp2(t), true]
  ] as const)
    for (const how of ['keep', 'tee']) {
      const { port, app } = await listening(t, {
        tls: own,
        extensions: [{ module: join(folder, 'keeper.mjs') }],
        upstreams: { up: { url, http2: two } },
        limits: { body: '8mb' },
        keeper: { how },
        routes: [{ path: '/hook', proxy: { upstream: 'up' } }]
      } as object)
      const { keptBodies } = app as unknown as { keptBodies: Buffer[][] }
      for (const [client, post] of Object.entries(CLIENTS))
        for (const length of [20_000, 4_000_000]) {
          const body = Buffer.alloc(length, 'kept')
          const answer = await post({ port, ca }, body)
          const name = `${how}, ${client} to ${up}, ${length} bytes`
          t.equal(answer.status, 200, name)
          t.ok((JSON.parse(answer.text) as Seen).body === body.toString('latin1'), 'the upstream has it all')
          t.ok(Buffer.concat(keptBodies.at(-1) ?? []).equals(body), 'and the extension still has it')
        }
    }
})

t.test('sends a body that was read again if "retry" allows it', async (t) => {
  const bodies: string[] = []
  const url = await upstream(t, (request, response) => {
    void text(request).then((body) => {
      bodies.push(body)
      response.writeHead(bodies.length === 1 ? 503 : 200).end()
    })
  })
  const { port } = await listening(t, {
    extensions: [{ module }],
    webhookSignature: { secret },
    routes: [{ path: '/hook', proxy: { upstream: url, retry: { on: ['503'], attempts: 2 } } }]
  } as object)
  const body = Buffer.from('a body that was read')
  const answer = await fetch(`http://127.0.0.1:${port}/hook`, {
    method: 'PUT',
    body,
    headers: { 'x-hub-signature-256': sign(body) }
  })
  t.equal(answer.status, 200)
  t.strictSame(bodies, [String(body), String(body)])
})

t.test('refuses to read a body where the process holds as many as it may', async (t) => {
  const { url, app } = await listening(t, {
    overload: { buffers: '10kb' },
    extensions: [{ module }],
    webhookSignature: { secret },
    routes: [{ path: '/hook', proxy: { upstream: await upstream(t) } }]
  } as object)
  for (const [length, status] of [
    [9000, 200],
    [11_000, 503],
    [9000, 200]
  ] as const) {
    const body = Buffer.alloc(length)
    const answer = await fetch(`${url}/hook`, {
      method: 'POST',
      body,
      headers: { 'x-hub-signature-256': sign(body) }
    })
    const told = await answer.text()
    t.equal(answer.status, status, `${length} bytes`)
    if (status === 503) {
      t.match(told, /SP_ERR_OVERLOAD_BUFFERS/)
      t.match(answer.headers.get('retry-after'), /^\d+$/)
    }
  }
  t.equal(app.buffers.held, 0)
})

t.test('releases the buffered part of a body if its client disconnects', async (t) => {
  const { port, app } = await listening(t, {
    extensions: [{ module }],
    webhookSignature: { secret },
    routes: [{ path: '/hook', proxy: { upstream: await upstream(t) } }]
  } as object)
  const socket = connect(port, '127.0.0.1')
  socket.write(`POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n${'a'.repeat(50)}`)
  while (app.buffers.held === 0) await turn()
  t.equal(app.buffers.held, 50)
  socket.destroy()
  while (app.buffers.held > 0) await turn()
  t.equal(app.buffers.held, 0)
})
