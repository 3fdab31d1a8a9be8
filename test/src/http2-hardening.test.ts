import { once } from 'node:events'
import http2 from 'node:http2'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { authority } from '../certificates.ts'
import {
  closed,
  type Listening,
  listening,
  noOpenssl,
  type ReadableLog,
  readableLog,
  type Scope,
  upstream
} from '../helpers.ts'
import {
  CODE,
  type Fields,
  FLAG,
  type Frame,
  FrameClient,
  frame,
  get,
  grow,
  indexed,
  kept,
  literals,
  post,
  request,
  reset,
  settings,
  TYPE,
  word
} from '../http2-frames.ts'

const skip = noOpenssl

interface Stage extends Listening {
  /** Requests that the upstream has seen. */
  readonly asked: () => number
  /** Those that it has to answer yet. */
  readonly live: () => number
  /** Waits until the upstream has this many to answer. */
  working(many: number): Promise<void>
  /** Sends a request over another connection, as another client would. */
  other(t: Scope): Promise<number>
}

const BIG = 200_000

// A file that is longer than a client takes of it in twice the time that it may take nothing.
const CHUNK = 65_536
const FILE = 25 * CHUNK

// The head of a record of 512 bytes, and of a ClientHello in it.
const HALF_A_HELLO = Buffer.from('1603010200010001fc0303', 'hex')

/** A gateway with an upstream that never answers, and answers of its own. */
async function stage(t: Test, limits: object = {}, log?: ReadableLog): Promise<Stage> {
  let asked = 0
  let live = 0
  const looks = new Set<() => void>()
  const target = await upstream(t, (incoming, response) => {
    asked++
    live++
    for (const look of looks) look()
    incoming.resume()
    response.on('close', () => {
      live--
      for (const look of looks) look()
    })
  })
  const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
  const at = await listening(
    t,
    {
      tls: { certificates: [{ cert, key }] },
      accessLog: log !== undefined,
      limits,
      routes: [
        { path: '/slow', proxy: { upstream: target } },
        { path: '/own', respond: { body: 'mine' } },
        { path: '/files/*', files: { root: t.testdir({ 'big.txt': 'x'.repeat(FILE) }) } },
        { path: ['/big', '/stuck'], respond: { body: 'x'.repeat(BIG) } },
        { path: '/empty', redirect: { to: 'https://a.example/' } },
        { path: '/small', limits: { body: '1kb' }, proxy: { upstream: target } }
      ]
    },
    log === undefined ? {} : { log: log.log }
  )
  return {
    ...at,
    asked: () => asked,
    live: () => live,
    working: (many) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (live !== many) return
          looks.delete(look)
          resolve()
        }
        looks.add(look)
        look()
      }),
    async other(t) {
      const client = FrameClient.open(t, at.port)
      client.send(get(1, '/own'))
      const status = await client.status(1)
      client.socket.destroy()
      return status
    }
  }
}

const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))
const id = (i: number): number => i * 2 + 1

t.test(
  'a client that opens requests and resets them costs the upstream a bounded number',
  { skip },
  async (t) => {
    const at = await stage(t)
    await t.test('requests that are reset at once reach no upstream', async (t) => {
      const client = FrameClient.open(t, at.port)
      await client.flood(many(20_000, (i) => Buffer.concat([get(id(i), '/slow'), reset(id(i))])))
      await client.closed
      t.ok(at.asked() < 300, `${at.asked()} requests came through`)
    })
    await t.test('requests in flight are cancelled, and the connection ends', async (t) => {
      const before = at.asked()
      const client = FrameClient.open(t, at.port)
      for (let i = 0; !client.over; i += 100) {
        client.send(...many(100, (k) => get(id(i + k), '/slow')))
        await Promise.race([at.working(100), client.closed])
        client.send(...many(100, (k) => reset(id(i + k))))
        await Promise.race([at.working(0), client.closed])
        t.equal(await at.other(t), 200, 'others are served meanwhile')
      }
      await at.working(0)
      t.ok(at.asked() - before <= 500, `${at.asked() - before} requests came through`)
      t.equal(client.goaway, CODE.internal)
    })
    await t.test('a client that cancels all its requests twice stays connected', async (t) => {
      const client = FrameClient.open(t, at.port)
      for (const i of [0, 120]) {
        client.send(...many(120, (k) => get(id(i + k), '/slow')))
        await at.working(120)
        client.send(...many(120, (k) => reset(id(i + k))))
        await at.working(0)
      }
      client.send(get(1001, '/own'))
      t.equal(await client.status(1001), 200)
    })
  }
)

t.test(
  'bounds the cost of a client that makes the gateway reset its requests (MadeYouReset)',
  { skip },
  async (t) => {
    const at = await stage(t)
    const cases: { name: string; open?: typeof get; spoil: (stream: number) => Buffer }[] = [
      { name: 'a window that grows by nothing', spoil: (stream) => grow(stream, 0) },
      { name: 'a window that grows too large', spoil: (stream) => grow(stream, 0x7fffffff) },
      { name: 'a body after the end', spoil: (stream) => frame(TYPE.data, 0, stream, Buffer.alloc(1)) },
      { name: 'headers after the end', spoil: (stream) => get(stream, '/slow') },
      {
        name: 'a priority of the wrong size',
        spoil: (stream) => frame(TYPE.priority, 0, stream, Buffer.alloc(4))
      },
      {
        name: 'a body that is longer than it said',
        open: (stream, path) =>
          Buffer.concat([
            post(stream, path, ['content-length', '2']),
            frame(TYPE.data, 0, stream, Buffer.alloc(1))
          ]),
        spoil: (stream) => frame(TYPE.data, FLAG.endStream, stream, Buffer.alloc(5))
      },
      {
        name: 'trailers that are none',
        open: (stream, path) =>
          Buffer.concat([post(stream, path), frame(TYPE.data, 0, stream, Buffer.alloc(1))]),
        spoil: (stream) =>
          frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, stream, literals([['Upper', 'a']]))
      }
    ]
    for (const { name, open = get, spoil } of cases)
      await t.test(name, async (t) => {
        const before = at.asked()
        const client = FrameClient.open(t, at.port)
        for (let i = 0; i < 2000 && !client.over; i += 50) {
          client.send(...many(50, (k) => open(id(i + k), '/slow')))
          await Promise.race([at.working(50), client.closed])
          client.send(...many(50, (k) => spoil(id(i + k))))
          await Promise.race([at.working(0), client.closed])
        }
        t.ok(client.over, 'the connection has ended')
        await at.working(0)
        t.ok(at.asked() - before <= 200, `${at.asked() - before} requests came through`)
        t.equal(await at.other(t), 200)
      })
  }
)

t.test('ends a flood of frames, and serves other clients meanwhile', { skip }, async (t) => {
  const at = await stage(t)
  const start = frame(TYPE.headers, FLAG.endStream, 1, literals(request('/own')))
  function* after(first: Buffer, make: (i: number) => Buffer): Iterable<Buffer> {
    yield first
    // A hundred a write, until the connection ends.
    for (let i = 0; i < 3_000_000; i += 100) yield Buffer.concat(many(100, (k) => make(i + k)))
  }
  const none = Buffer.alloc(0)
  const cases: { name: string; parts: Iterable<Buffer>; reads?: boolean }[] = [
    {
      name: 'CONTINUATION with more and more fields (CVE-2024-27983)',
      parts: after(start, (i) => frame(TYPE.continuation, 0, 1, literals([[`x-${i}`, 'y']])))
    },
    { name: 'CONTINUATION with nothing in it', parts: after(start, () => frame(TYPE.continuation, 0, 1)) },
    {
      name: 'SETTINGS (CVE-2019-9515)',
      parts: after(none, (i) => frame(TYPE.settings, 0, 0, settings([4, 65_535 + (i % 100)])))
    },
    { name: 'SETTINGS, no answer read', parts: after(none, () => frame(TYPE.settings, 0, 0)), reads: false },
    {
      name: 'PING, no answer read (CVE-2019-9512)',
      parts: after(none, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8))),
      reads: false
    },
    {
      name: 'PRIORITY (CVE-2019-9513)',
      parts: after(none, (i) =>
        frame(TYPE.priority, 0, 1001, Buffer.concat([word(id(i % 500)), Buffer.from([i % 256])]))
      )
    },
    {
      name: 'frames of an unknown type',
      parts: after(none, () => frame(0xee, 0, 0, Buffer.alloc(8)))
    },
    {
      name: 'requests that are none',
      parts: after(none, (i) => get(id(i), '/own', ['Upper', 'x']))
    },
    {
      name: 'many more requests than may be open',
      parts: after(none, (i) => get(id(i), '/slow'))
    }
  ]
  for (const { name, parts, reads = true } of cases)
    await t.test(name, async (t) => {
      const client = FrameClient.open(t, at.port)
      await client.seen()
      if (!reads) client.socket.pause()
      const flooded = client.flood(parts)
      t.equal(await at.other(t), 200)
      await flooded
      client.socket.resume()
      await client.closed
      t.equal(await at.other(t), 200)
      await at.working(0)
    })
  t.ok(at.asked() <= 128, 'no more than may be open at a time')
})

t.test('limits header sections, however they are sent', { skip }, async (t) => {
  const at = await stage(t)
  const fields = (count: number, size = 1): Fields =>
    many(count, (i) => [`x-${i}`, 'y'.repeat(size)] as const)
  /** Splits a section into frames as large as they may be. */
  const split = (stream: number, block: Buffer): Buffer => {
    const parts = many(Math.ceil(block.length / 16_384), (i) => block.subarray(i * 16_384, (i + 1) * 16_384))
    return Buffer.concat(
      parts.map((part, i) =>
        frame(
          i === 0 ? TYPE.headers : TYPE.continuation,
          (i === 0 ? FLAG.endStream : 0) | (i === parts.length - 1 ? FLAG.endHeaders : 0),
          stream,
          part
        )
      )
    )
  }
  const whole = (...more: Fields): Buffer => literals([...request('/own'), ...more])
  const bomb = (times: number): Buffer =>
    Buffer.concat([whole(), kept('x-bomb', 'y'.repeat(3900)), ...many(times, () => indexed(62))])
  const cases: { name: string; block: Buffer; status?: number; reset?: number; ends?: true }[] = [
    { name: 'as many fields as over HTTP/1.1', block: whole(...fields(99)), status: 200 },
    { name: 'one more', block: whole(...fields(100)), status: 431 },
    { name: 'far more', block: whole(...fields(1500)), status: 431 },
    { name: 'more fields than the limit', block: whole(...fields(2100)), reset: CODE.calm },
    { name: 'a large field', block: whole(['x', 'y'.repeat(15_000)]), status: 200 },
    { name: 'one that is too large', block: whole(['x', 'y'.repeat(17_000)]), status: 431 },
    { name: 'one that is larger than a table', block: whole(['x', 'y'.repeat(70_000)]), ends: true },
    { name: 'a section of more than 64 kB', block: whole(...fields(90, 800)), reset: CODE.calm },
    { name: 'a field that is sent once and meant four times', block: bomb(3), status: 200 },
    { name: 'or ten times', block: bomb(10), status: 431 },
    { name: 'or two hundred times (CVE-2016-6581)', block: bomb(200), reset: CODE.calm },
    { name: 'or fifteen thousand times', block: bomb(15_000), reset: CODE.calm }
  ]
  for (const { name, block, status, reset: code, ends } of cases)
    await t.test(name, async (t) => {
      const client = FrameClient.open(t, at.port)
      await client.seen()
      client.send(split(1, block))
      t.equal(await client.status(1), status ?? 0)
      t.equal(client.resetOf(1), code)
      if (ends) {
        await client.closed
        t.equal(client.goaway, CODE.compression)
        return
      }
      client.send(get(3, '/own'))
      t.equal(await client.status(3), 200, 'the connection has borne it')
    })
  await t.test('applies a larger limit of a route over HTTP/2 as well', async (t) => {
    const wide = await stage(t, { headers: '128kb', headerCount: 1600 })
    const client = FrameClient.open(t, wide.port)
    client.send(split(1, whole(...fields(90, 800))))
    t.equal(await client.status(1), 200)
    client.send(split(3, whole(...fields(1500))))
    t.equal(await client.status(3), 200)
  })
})

t.test('closes connections that are idle or read nothing after their timeout', { skip }, async (t) => {
  const log = readableLog('debug')
  // A handshake, of 20 at once, and a first request take their time on a busy machine.
  const at = await stage(t, { idle: '4s', headerTime: '4s' }, log)
  const open = (t: Scope, ...pairs: [number, number][]): FrameClient => FrameClient.open(t, at.port, ...pairs)
  /** Goes on saying something that is no request. */
  const chatter = (client: FrameClient, part: Buffer): FrameClient => {
    const timer = setInterval(() => client.send(part), 200)
    client.socket.once('close', () => clearInterval(timer))
    return client
  }
  const ping = frame(TYPE.ping, 0, 0, Buffer.alloc(8))
  // They last for seconds each, and wait for nothing but the clock: all at once.
  t.jobs = 20
  const cases: { name: string; run: (t: Test) => Promise<unknown> }[] = [
    { name: 'without a request', run: (t) => open(t).closed },
    { name: 'without a request, but with pings', run: (t) => chatter(open(t), ping).closed },
    {
      name: 'without a request, but with settings',
      run: (t) => chatter(open(t), frame(TYPE.settings, 0, 0, settings([4, 70_000]))).closed
    },
    { name: 'without a preface', run: (t) => new FrameClient(t, at.port).closed },
    {
      name: 'with half of a section of headers, byte by byte',
      run: (t) => {
        const slow = open(t)
        slow.send(frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, 1, literals(request('/own')), 9000))
        return chatter(slow, Buffer.from('a')).closed
      }
    },
    {
      name: 'after a request',
      run: async (t) => {
        const idle = chatter(open(t), ping)
        idle.send(get(1, '/own'))
        t.equal(await idle.status(1), 200)
        await idle.closed
        t.equal(idle.goaway, CODE.none)
      }
    },
    {
      name: 'with windows that never open (CVE-2019-9511, CVE-2019-9517)',
      run: async (t) => {
        const stalled = chatter(open(t, [4, 0]), ping)
        stalled.send(...many(100, (i) => get(id(i), '/big')))
        await stalled.closed
        for (const i of [0, 99]) {
          t.equal(await stalled.status(id(i)), 200)
          t.equal(stalled.resetOf(id(i)), CODE.cancel)
          t.equal(stalled.bytesOn(id(i)), 0)
        }
      }
    },
    {
      name: 'with a window that opens byte by byte',
      run: async (t) => {
        const stalled = open(t, [4, 0])
        stalled.send(get(1, '/big'))
        await chatter(stalled, grow(1, 1)).closed
        t.equal(stalled.resetOf(1), CODE.cancel)
        t.ok(stalled.bytesOn(1) > 0)
      }
    },
    {
      name: 'but not one that takes as much as is written at a time',
      run: async (t) => {
        const steady = open(t, [4, CHUNK])
        steady.send(grow(0, FILE))
        steady.send(get(1, '/files/big.txt'))
        t.equal(await steady.status(1), 200)
        const timer = setInterval(() => steady.send(grow(1, CHUNK)), 350)
        await steady.frame(
          ({ type, flags, stream }) => stream === 1 && type === TYPE.data && flags === FLAG.endStream
        )
        clearInterval(timer)
        t.equal(steady.bytesOn(1), FILE)
      }
    },
    {
      name: 'with open windows and a client that does not read',
      run: async (t) => {
        const stuck = open(t, [4, 0x7fffffff])
        stuck.send(grow(0, 0x7fff0000))
        await stuck.seen()
        stuck.socket.pause()
        stuck.send(...many(128, (i) => get(id(i), '/stuck')))
        await log.line(() => log.lines.filter(({ path }) => path === '/stuck').length === 128)
        // It learns of its end when it reads again.
        stuck.socket.resume()
        await stuck.closed
        t.equal(stuck.bytesOn(id(127)), 0)
      }
    },
    ...(
      [
        ['in the handshake, saying nothing', []],
        ['in the handshake, with half of a hello, byte by byte', [HALF_A_HELLO, Buffer.from([1])]]
      ] as const
    ).map(([name, [first, more]]) => ({
      name,
      run: async (t: Test) => {
        const socket = connect(at.port, '127.0.0.1').resume()
        socket.on('error', () => {})
        t.teardown(() => socket.destroy())
        if (first !== undefined) socket.write(first)
        const timer = setInterval(() => more !== undefined && socket.writable && socket.write(more), 100)
        await closed(socket)
        clearInterval(timer)
        t.match(await log.line(({ cause }) => cause === 'ERR_TLS_HANDSHAKE_TIMEOUT'), {
          level: 'debug',
          msg: 'TLS handshake failed'
        })
      }
    }))
  ]
  for (const { name, run } of cases) void t.test(name, { buffered: true }, async (t) => void (await run(t)))
})

t.test('survives a client that keeps sending its body after the response', { skip }, async (t) => {
  const at = await stage(t)
  const client = FrameClient.open(t, at.port)
  client.send(post(1, '/small'), ...many(30, () => frame(TYPE.data, 0, 1, Buffer.alloc(100))))
  t.equal(await client.status(1), 413)
  for (let i = 0; i < 10; i++) {
    client.send(...many(30, () => frame(TYPE.data, 0, 1, Buffer.alloc(100))))
    t.equal(await client.seen(), true)
  }
  client.send(get(3, '/own'))
  t.equal(await client.status(3), 200)
})

t.test('ends connections by GOAWAY with their last responses on drain', { skip }, async (t) => {
  const reached = Promise.withResolvers<() => void>()
  const origin = await upstream(t, (_request, response) => reached.resolve(() => response.end('done')))
  const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
  const { served, port } = await listening(
    t,
    {
      tls: { certificates: [{ cert, key }] },
      routes: [
        { path: '/slow', proxy: { upstream: origin } },
        { path: '/own', respond: { body: 'mine' } }
      ]
    },
    { drainDelay: 3000 }
  )
  const isGoaway = ({ type }: Frame): boolean => type === TYPE.goaway
  const lastOf = (goaway: Frame | undefined): number => goaway?.payload.readUInt32BE(0) ?? -1
  const [busy, idle] = [FrameClient.open(t, port), FrameClient.open(t, port)]
  busy.send(get(1, '/slow'))
  const answer = await reached.promise
  idle.send(get(1, '/own'))
  t.equal(await idle.status(1), 200)
  t.equal(await idle.seen(), true)
  const drained = served.drain()
  t.equal(lastOf(await busy.frame(isGoaway)), 1, 'one with a request under way, at once')
  answer()
  t.equal(await busy.status(1), 200)
  t.equal(await idle.seen(), true)
  t.equal(idle.goaway, undefined)
  idle.send(get(3, '/own'), get(5, '/own'))
  t.strictSame([await idle.status(3), await idle.status(5)], [200, 200])
  t.equal(lastOf(await idle.frame(isGoaway)), 5, 'an idle one, with its next requests')
  const late = FrameClient.open(t, port)
  late.send(get(1, '/own'))
  t.equal(await late.status(1), 200, 'a new one, with its first')
  t.equal(lastOf(await late.frame(isGoaway)), 1)
  t.equal(await drained, true)
})

t.test('keeps a connection through many downloads that its client cancels', { skip }, async (t) => {
  const body = Buffer.alloc(2_000_000, 'x')
  const up = await upstream(t, (_request, response) => response.end(body))
  const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
  const { port } = await listening(t, {
    tls: { certificates: [{ cert, key }] },
    routes: [{ path: '/*', proxy: { upstream: up } }]
  })
  const session = http2.connect(`https://localhost:${port}`, { rejectUnauthorized: false })
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  for (let i = 0; i < 200; i++) {
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    await once(stream, 'data')
    stream.close(http2.constants.NGHTTP2_CANCEL)
    await once(stream, 'close')
  }
  t.notOk(session.closed)
  const last = session.request({ ':path': '/' })
  let size = 0
  for await (const chunk of last) size += (chunk as Buffer).length
  t.equal(size, body.length)
})
