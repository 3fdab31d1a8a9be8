import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type StatusObject,
  type sendUnaryData,
  status
} from '@grpc/grpc-js'
import t from 'tap'
import { ask, bodyOf, certificate, listening, noOpenssl, type Scope, upstream } from '../helpers.ts'

const asIs = { serialize: (value: Buffer) => value, deserialize: (bytes: Buffer) => bytes }
const method = (name: string, requestStream: boolean, responseStream: boolean): object => ({
  path: `/test.Talk/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs.serialize,
  requestDeserialize: asIs.deserialize,
  responseSerialize: asIs.serialize,
  responseDeserialize: asIs.deserialize
})
const service = {
  echo: method('Echo', false, false),
  fails: method('Fails', false, false),
  hangs: method('Hangs', false, false),
  sum: method('Sum', true, false),
  count: method('Count', false, true),
  chat: method('Chat', true, true)
}

type Unary = ServerUnaryCall<Buffer, Buffer>
type Duplex = ServerDuplexStream<Buffer, Buffer>

interface Talk {
  readonly port: number
  readonly server: Server
  /** Waits for the next call that stays open. */
  hanging(): Promise<Unary>
  /** Waits for the next bidirectional stream. */
  chatting(): Promise<Duplex>
}

/** Starts a gRPC server. */
async function talk(t: Scope, tls?: { key: Buffer; cert: Buffer }): Promise<Talk> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  const waiting: { hangs: ((call: Unary) => void)[]; chat: ((call: Duplex) => void)[] } = {
    hangs: [],
    chat: []
  }
  server.addService(service as never, {
    echo(call: Unary, done: sendUnaryData<Buffer>) {
      const head = new Metadata()
      for (const value of call.metadata.get('x-mine-bin')) head.add('x-yours-bin', value)
      head.set('x-te', String(call.metadata.get('x-mine')))
      head.set('x-timeout', String(call.getDeadline() !== Number.POSITIVE_INFINITY))
      call.sendMetadata(head)
      const tail = new Metadata()
      tail.add('x-tail', 'one')
      tail.add('x-tail', 'two')
      tail.set('x-tail-bin', Buffer.from([0, 255, 1]))
      done(null, call.request, tail)
    },
    fails(_call: Unary, done: sendUnaryData<Buffer>) {
      const metadata = new Metadata()
      metadata.set('x-why', 'because')
      done({ code: status.FAILED_PRECONDITION, details: 'not yet: é %', metadata })
    },
    hangs(call: Unary) {
      waiting.hangs.shift()?.(call)
    },
    sum(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      let bytes = 0
      call.on('data', (part: Buffer) => {
        bytes += part.length
      })
      call.on('end', () => done(null, Buffer.from(String(bytes))))
    },
    count(call: ServerWritableStream<Buffer, Buffer>) {
      for (let i = 0; i < 1000; i++) call.write(Buffer.from(String(i)))
      call.end()
    },
    chat(call: Duplex) {
      waiting.chat.shift()?.(call)
      call.on('data', (part: Buffer) => void call.write(part))
      call.on('end', () => call.end())
      call.on('error', () => {})
    }
  })
  const from =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{ private_key: tls.key, cert_chain: tls.cert }])
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('localhost:0', from, (error, port) => (error === null ? resolve(port) : reject(error)))
  const port = await promise
  t.teardown(() => server.forceShutdown())
  return {
    port,
    server,
    hanging: () => new Promise((resolve) => void waiting.hangs.push(resolve)),
    chatting: () => new Promise((resolve) => void waiting.chat.push(resolve))
  }
}

interface Stage {
  readonly up: Talk
  readonly client: Client
  readonly port: number
  readonly ca: Buffer
}

/** Starts a gateway between a gRPC client and server, with more options of the route and the config. */
async function stage(
  t: Scope & { testdir(): string },
  { secure = false, route = {}, more = {}, target = {} } = {}
): Promise<Stage> {
  const { key, cert, ca } = certificate(t)
  const up = await talk(t, secure ? { key, cert } : undefined)
  const where = { url: `${secure ? 'https' : 'http'}://localhost:${up.port}`, http2: true, tls: { ca } }
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: { up: { ...where, ...target } },
    routes: [{ path: '/test.Talk/*', limits: { body: '20mb' }, ...route, proxy: { upstream: 'up' } }],
    ...more
  })
  const client = new Client(`localhost:${port}`, credentials.createSsl(readFileSync(ca)), {
    'grpc.max_receive_message_length': -1,
    'grpc.keepalive_time_ms': 1000,
    'grpc.enable_retries': 0
  })
  t.teardown(() => client.close())
  return { up, client, port, ca: readFileSync(ca) }
}

interface Answer {
  readonly error: ServiceError | null
  readonly message: Buffer | undefined
  readonly head: Metadata | undefined
  readonly status: StatusObject
}

/** Calls a method with one message. */
function call(
  client: Client,
  name: string,
  message: Buffer,
  metadata = new Metadata(),
  options: object = {}
): Promise<Answer> {
  return new Promise((resolve) => {
    let result: [ServiceError | null, Buffer | undefined] | undefined
    let head: Metadata | undefined
    let last: StatusObject | undefined
    const settle = (): void => {
      if (result !== undefined && last !== undefined)
        resolve({ error: result[0], message: result[1], head, status: last })
    }
    const made = client.makeUnaryRequest(
      `/test.Talk/${name}`,
      asIs.serialize,
      asIs.deserialize,
      message,
      metadata,
      options,
      (error, answer) => {
        result = [error, answer]
        settle()
      }
    )
    made.on('metadata', (got: Metadata) => {
      head = got
    })
    made.on('status', (got: StatusObject) => {
      last = got
      settle()
    })
  })
}

const chat = (client: Client, options: object = {}): ClientDuplexStream<Buffer, Buffer> =>
  client
    .makeBidiStreamRequest('/test.Talk/Chat', asIs.serialize, asIs.deserialize, new Metadata(), options)
    .on('error', () => {})

for (const secure of [false, true])
  t.test(
    `carries every kind of call, ${secure ? 'over TLS' : 'h2c'} to the service`,
    { skip: noOpenssl },
    async (t) => {
      const { client, up } = await stage(t, { secure })

      t.test('a unary call with metadata of both kinds', async (t) => {
        const metadata = new Metadata()
        metadata.set('x-mine', 'yes')
        metadata.add('x-mine-bin', Buffer.from([1, 0, 254]))
        const seen = await call(client, 'Echo', Buffer.from('hello'), metadata)
        t.equal(seen.message?.toString(), 'hello')
        t.same(seen.head?.get('x-yours-bin'), [Buffer.from([1, 0, 254])])
        t.same(seen.head?.get('x-te'), ['yes'])
        t.equal(seen.status.code, status.OK)
        t.equal(seen.status.metadata.get('x-tail').join(', '), 'one, two')
        t.same(seen.status.metadata.get('x-tail-bin'), [Buffer.from([0, 255, 1])])
      })

      t.test('a request and a response of 10 MB', async (t) => {
        const large = Buffer.alloc(10_000_000, 'gRPC')
        const { message } = await call(client, 'Echo', large)
        t.ok(message?.equals(large))
      })

      t.test('an error with trailers only', async (t) => {
        const { error } = await call(client, 'Fails', Buffer.from('x'))
        t.match(error, { code: status.FAILED_PRECONDITION, details: 'not yet: é %' })
        t.same(error?.metadata.get('x-why'), ['because'])
      })

      t.test('an unknown method', async (t) => {
        t.match((await call(client, 'None', Buffer.from('x'))).error, {
          code: status.UNIMPLEMENTED,
          details: /The server does not implement/
        })
      })

      t.test('client streaming', async (t) => {
        const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
        const sum = client.makeClientStreamRequest(
          '/test.Talk/Sum',
          asIs.serialize,
          asIs.deserialize,
          (_error, answer) => resolve(answer)
        )
        for (let i = 0; i < 300; i++) sum.write(Buffer.alloc(10_000))
        sum.end()
        t.equal((await promise)?.toString(), '3000000')
      })

      t.test('server streaming', async (t) => {
        const count = client.makeServerStreamRequest(
          '/test.Talk/Count',
          asIs.serialize,
          asIs.deserialize,
          Buffer.from('x')
        )
        const seen: number[] = []
        for await (const part of count) seen.push(Number(part))
        t.same(
          seen,
          Array.from({ length: 1000 }, (_, i) => i)
        )
      })

      t.test('bidirectional streaming, one message after the other', async (t) => {
        const both = chat(client)
        for (let i = 0; i < 20; i++) {
          both.write(Buffer.from(String(i)))
          const [answer] = (await once(both, 'data')) as [Buffer]
          t.equal(answer.toString(), String(i))
        }
        both.end()
        both.resume()
        const [end] = (await once(both, 'status')) as [StatusObject]
        t.equal(end.code, status.OK)
      })

      t.test('a cancelled call is cancelled at the service', async (t) => {
        const hanging = up.hanging()
        const seen = Promise.withResolvers<ServiceError | null>()
        const made = client.makeUnaryRequest(
          '/test.Talk/Hangs',
          asIs.serialize,
          asIs.deserialize,
          Buffer.from('x'),
          (error) => seen.resolve(error)
        )
        const served = await hanging
        const cancelled = once(served, 'cancelled')
        made.cancel()
        await cancelled
        t.equal((await seen.promise)?.code, status.CANCELLED)
        const chatting = up.chatting()
        const both = chat(client)
        both.write(Buffer.from('x'))
        const other = await chatting
        const left = once(other, 'cancelled')
        await once(both, 'data')
        both.cancel()
        await left
      })

      t.test('a deadline is forwarded to the service', async (t) => {
        // A busy machine may take longer than that until the service has the call.
        for (let ms = 1000, served: Unary | undefined; served === undefined; ms *= 2) {
          const hanging = up.hanging()
          const answer = call(client, 'Hangs', Buffer.from('x'), new Metadata(), {
            deadline: Date.now() + ms
          })
          served = await Promise.race([hanging, answer.then(() => undefined)])
          t.equal((await answer).error?.code, status.DEADLINE_EXCEEDED)
          if (served === undefined) continue
          t.ok(Number(served.getDeadline()) < Date.now() + ms)
          if (!served.cancelled) await once(served, 'cancelled')
        }
      })
    }
  )

t.test(
  'lets a bidirectional stream last longer than the limits for headers',
  { skip: noOpenssl },
  async (t) => {
    const { client } = await stage(t, {
      route: { limits: { time: '2s' } },
      target: { timeouts: { headers: '2s' } }
    })
    const both = chat(client)
    both.write(Buffer.from('first'))
    await once(both, 'data')
    await new Promise((resolve) => setTimeout(resolve, 2500))
    both.write(Buffer.from('last'))
    const [last] = (await once(both, 'data')) as [Buffer]
    t.equal(last.toString(), 'last')
    both.end()
    both.resume()
    const [end] = (await once(both, 'status')) as [StatusObject]
    t.equal(end.code, status.OK)
  }
)

t.test('answers a ping while a call is open', { skip: noOpenssl }, async (t) => {
  const { port, ca, up } = await stage(t)
  const session = http2.connect(`https://localhost:${port}`, { ca })
  t.teardown(() => session.destroy())
  const chatting = up.chatting()
  const stream = session.request({
    ':method': 'POST',
    ':path': '/test.Talk/Chat',
    'content-type': 'application/grpc',
    te: 'trailers'
  })
  await chatting
  await new Promise<void>((resolve, reject) => {
    session.ping((error) => (error === null ? resolve() : reject(error)))
  })
  stream.close()
})

t.test(
  'ends a call after its timeout even if the client does not cancel it',
  { skip: noOpenssl },
  async (t) => {
    const { port, ca, up } = await stage(t, { route: { limits: { time: false } } })
    const session = http2.connect(`https://localhost:${port}`, { ca })
    t.teardown(() => session.destroy())
    const hanging = up.hanging()
    const stream = session.request({
      ':method': 'POST',
      ':path': '/test.Talk/Hangs',
      'content-type': 'application/grpc+proto',
      'grpc-timeout': '3000m',
      te: 'trailers'
    })
    stream.end(Buffer.from([0, 0, 0, 0, 1, 120]))
    const cancelled = hanging.then((served) => once(served, 'cancelled'))
    const [head, flags] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders, number]
    t.match(head, { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '4' })
    t.ok(flags & http2.constants.NGHTTP2_FLAG_END_STREAM, 'the head is all of it')
    stream.resume()
    await cancelled
  }
)

t.test('sends its errors as gRPC statuses', { skip: noOpenssl }, async (t) => {
  const { port: gone, server } = await talk(t)
  server.forceShutdown()
  const keys = [{ id: 'alice', secret: 'the key of alice' }]
  const only = (name: string, more: object): object => ({ path: `/test.Talk/${name}`, ...more })
  const { client } = await stage(t, {
    more: {
      auth: { apiKeys: { from: ['header:x-api-key'], list: keys } },
      routes: [
        only('Key', { proxy: { upstream: 'up' } }),
        only('Role', { auth: { require: { roles: ['boss'] } }, proxy: { upstream: 'up' } }),
        only('Address', { auth: false, ipAccess: { deny: ['loopback'] }, proxy: { upstream: 'up' } }),
        only('Echo', { auth: false, rateLimit: { max: 1, window: '1h' }, proxy: { upstream: 'up' } }),
        only('Large', { auth: false, limits: { body: '1kb' }, proxy: { upstream: 'up' } }),
        only('Hangs', { auth: false, limits: { time: '100ms' }, proxy: { upstream: 'up' } }),
        only('Gone', { auth: false, proxy: { upstream: `http://localhost:${gone}` } })
      ]
    }
  })
  const alice = new Metadata()
  alice.set('x-api-key', 'the key of alice')
  await call(client, 'Echo', Buffer.from('x'))
  const cases = [
    { name: 'Key', code: status.UNAUTHENTICATED, details: /\(SP_ERR_AUTH_/ },
    { name: 'Role', metadata: alice, code: status.PERMISSION_DENIED, details: /\(SP_ERR_AUTH_/ },
    { name: 'Address', code: status.PERMISSION_DENIED, details: /\(SP_ERR_IP_/ },
    { name: 'Echo', code: status.RESOURCE_EXHAUSTED, details: /\(SP_ERR_RATE_LIMIT/ },
    { name: 'Large', code: status.RESOURCE_EXHAUSTED, details: /\(SP_ERR_LIMITS_BODY\)/ },
    { name: 'Hangs', code: status.DEADLINE_EXCEEDED, details: /\(SP_ERR_LIMITS_TIME\)/ },
    { name: 'Gone', code: status.UNAVAILABLE, details: /\(SP_ERR_UPSTREAM_/ },
    { name: 'Nowhere', code: status.UNIMPLEMENTED, details: /\(SP_ERR_ROUTE_UNKNOWN\)/ }
  ]
  for (const { name, metadata, code, details } of cases)
    t.test(name, async (t) => {
      const { error } = await call(client, name, Buffer.alloc(2000), metadata)
      t.match(error, { code, details })
    })
})

t.test(
  'sends a gRPC status when the upstream fails in the middle of a stream',
  { skip: noOpenssl },
  async (t) => {
    const { client, up } = await stage(t)
    const both = chat(client)
    both.write(Buffer.from('x'))
    await once(both, 'data')
    const end = new Promise<StatusObject>((resolve) => void both.on('status', resolve).resume())
    up.server.forceShutdown()
    t.match(await end, { code: status.UNAVAILABLE, details: /\(SP_ERR_UPSTREAM_FAILED\)/ })
  }
)

t.test('proxies gRPC-Web as ordinary HTTP', async (t) => {
  const trailer = Buffer.from('grpc-status:0\r\n')
  const answer = Buffer.concat([
    Buffer.from([0, 0, 0, 0, 2, 255, 0]),
    Buffer.from([128, 0, 0, 0, trailer.length]),
    trailer
  ])
  const question = Buffer.from([0, 0, 0, 0, 3, 0, 128, 255])
  let came: Buffer | undefined
  const url = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => {
      came = body
      response.writeHead(200, { 'content-type': 'application/grpc-web+proto' }).end(answer)
    })
  })
  const gate = await listening(t, {
    upstreams: { up: { url } },
    routes: [
      { path: '/test.Talk/*', proxy: { upstream: 'up' } },
      { path: '/closed/*', ipAccess: { deny: ['loopback'] }, proxy: { upstream: 'up' } }
    ]
  })
  const init = { method: 'POST', body: question, headers: { 'content-type': 'application/grpc-web+proto' } }
  const response = await fetch(`${gate.url}/test.Talk/Echo`, init)
  t.same(came, question)
  t.same(Buffer.from(await response.arrayBuffer()), answer)
  t.equal(response.headers.get('content-type'), 'application/grpc-web+proto')
  const refused = await ask(`${gate.url}/closed/Echo`, init)
  t.equal(refused.status, 403, 'its clients read the status of HTTP')
  t.equal(refused.headers.get('grpc-status'), null)
})
