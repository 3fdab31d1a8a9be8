import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { join } from 'node:path'
import type { Transform } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import {
  brotliDecompressSync,
  createBrotliDecompress,
  createGunzip,
  createZstdDecompress,
  zstdDecompressSync
} from 'node:zlib'
import t from 'tap'
import { enterPool, leavePool } from '../../../plugins/compress/pool.ts'
import { certificate, gateway, type Listening, listening, noOpenssl, upstream } from '../../helpers.ts'
import { ALL, decoded, respond, textOf } from './helpers.ts'

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  br: createBrotliDecompress,
  zstd: createZstdDecompress
}

const kit = new URL('../../../src/kit/index.ts', import.meta.url).href

t.test('what a slow upstream has sent is not held back', async (t) => {
  let response: ServerResponse | undefined
  const origin = await upstream(t, ({ url }, answer) => {
    response = answer
    answer.setHeader('content-type', 'text/plain')
    answer.setHeader('x-length', url ?? '')
    if (url === '/known') answer.setHeader('content-length', 9)
    answer.write('one')
  })
  const { port } = await listening(t, {
    routes: [
      { path: '/known', compress: { minSize: '0b' }, proxy: { upstream: origin } },
      { path: '/*', compress: true, proxy: { upstream: origin } }
    ]
  })
  for (const [coding, decoder] of Object.entries(DECODERS))
    for (const path of ['/known', '/chunked']) {
      const answer = await respond(port, path, { 'accept-encoding': coding })
      t.equal(answer.headers['content-encoding'], coding, `${path} with ${coding}`)
      const plain = answer.pipe(decoder())
      t.equal(String((await once(plain, 'data'))[0]), 'one', `${path}: the first part comes by itself`)
      response?.write('two')
      t.equal(String((await once(plain, 'data'))[0]), 'two', `${path}: and so does the next`)
      response?.end('end')
      t.equal(await text(plain), 'end', `${path}: the rest`)
    }
})

t.test('event streams are compressed with "streams", and each event is sent at once', async (t) => {
  let response: ServerResponse | undefined
  const origin = await upstream(t, (_request, answer) => {
    response = answer
    answer.setHeader('content-type', 'text/event-stream; charset=utf-8')
    answer.setHeader('etag', '"a"')
    answer.flushHeaders()
  })
  const { port } = await listening(t, {
    compress: true,
    routes: [
      { path: '/compressed', compress: { streams: true }, proxy: { upstream: origin } },
      { path: '/plain', proxy: { upstream: origin } }
    ]
  })
  const plain = await respond(port, '/plain', ALL)
  t.equal(plain.headers['content-encoding'], undefined, 'not by default')
  t.equal(plain.headers.vary, undefined)
  plain.destroy()
  for (const [coding, decoder] of Object.entries(DECODERS)) {
    const answer = await respond(port, '/compressed', { 'accept-encoding': coding })
    t.match(answer.headers, { 'content-encoding': coding, vary: 'Accept-Encoding', etag: 'W/"a"' })
    const events = answer.pipe(decoder())
    for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n']) {
      response?.write(event)
      t.equal(String((await once(events, 'data'))[0]), event, `${coding}: ${event.trim()}`)
    }
    response?.end()
    t.equal(await text(events), '')
  }
})

t.test('a large body is compressed only as fast as the client reads', async (t) => {
  const chunk = randomBytes(65_536)
  const total = 24 * 1024 * 1024
  const stalled = Promise.withResolvers<void>()
  let written = 0
  const { port, app } = await listening(t, {
    compress: { encodings: ['gzip'], levels: { gzip: 1 } },
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.setHeader('content-type', 'text/plain')
            const more = (): void => {
              while (written < total) {
                written += chunk.length
                if (response.write(chunk)) continue
                // Nothing is taken for a while once all buffers are full.
                const timer = setTimeout(stalled.resolve, 500)
                response.once('drain', () => {
                  clearTimeout(timer)
                  more()
                })
                return
              }
              response.end()
            }
            more()
          })
        }
      }
    ]
  })
  const response = await respond(port, '/', { 'accept-encoding': 'gzip' })
  response.pause()
  await stalled.promise
  t.ok(written < total, 'the upstream has to wait')
  t.ok(app.buffers.held > 0, 'the memory is counted')
  const hash = createHash('sha256')
  for await (const part of response.pipe(createGunzip())) hash.update(part as Buffer)
  const expected = createHash('sha256')
  for (let i = 0; i < total / chunk.length; i++) expected.update(chunk)
  t.equal(hash.digest('hex'), expected.digest('hex'), 'all of it comes')
  t.equal(app.buffers.held, 0, 'and its memory is released')
})

t.test('a client that leaves ends the compression', async (t) => {
  const gone = Promise.withResolvers<void>()
  const origin = await upstream(t, (_request, response) => {
    response.setHeader('content-type', 'text/plain')
    response.write(randomBytes(100_000))
    response.on('close', gone.resolve)
  })
  const { port, app } = await listening(t, {
    compress: true,
    routes: [{ path: '/', proxy: { upstream: origin } }]
  })
  const response = await respond(port, '/', ALL)
  response.on('error', () => {})
  await once(response, 'data')
  t.ok(app.buffers.held > 0)
  response.destroy()
  await gone.promise
  t.equal(app.buffers.held, 0, 'its memory is released')
})

t.test('an upstream that breaks off cuts the response', async (t) => {
  let answer: ServerResponse | undefined
  const origin = await upstream(t, (_request, response) => {
    answer = response.setHeader('content-type', 'text/plain')
    response.write(randomBytes(100_000))
  })
  const { port, app } = await listening(t, {
    compress: true,
    routes: [{ path: '/', proxy: { upstream: origin } }]
  })
  const response = await respond(port, '/', ALL)
  await once(response, 'data')
  answer?.destroy()
  await t.rejects(buffer(response), 'the client sees that it is incomplete')
  t.equal(app.buffers.held, 0)
})

t.test('bodies stay as they are while the thread pool is busy or memory is short', async (t) => {
  const routes = [
    { path: '/large', respond: { body: textOf(100_000) } },
    { path: '/small', respond: { body: textOf(10_000) } }
  ]
  const app = await gateway(t, { compress: true, routes })
  const codingOf = async (url: string, accept = 'zstd', of = app): Promise<unknown> => {
    const response = await of.inject({ url, headers: { 'accept-encoding': accept } })
    t.equal(response.headers.vary, 'Accept-Encoding')
    return response.headers['content-encoding']
  }
  enterPool(() => {})
  t.equal(await codingOf('/large'), 'zstd', 'one at work')
  enterPool(() => {})
  t.equal(await codingOf('/large'), undefined, 'two at work')
  t.equal(await codingOf('/small'), 'zstd', 'a small body needs no thread')
  const queued = new Promise<void>((resolve) => enterPool(resolve))
  leavePool()
  await queued
  leavePool()
  leavePool()
  t.equal(await codingOf('/large'), 'zstd', 'none at work')

  const poor = await gateway(t, { overload: { buffers: '1mb' }, compress: true, routes })
  t.equal(await codingOf('/large', 'zstd', poor), undefined, 'more than the budget')
  t.equal(await codingOf('/large', 'gzip', poor), 'gzip', 'gzip needs less')
  t.equal(poor.buffers.held, 0)
})

t.test('bodies that are compressed at the same time all arrive', async (t) => {
  const body = textOf(3_000_000)
  const { port } = await listening(t, { compress: true, routes: [{ path: '/', respond: { body } }] })
  const codings = ['gzip', 'br', 'zstd', 'gzip', 'br', 'zstd', 'gzip', 'br']
  const all = await Promise.all(codings.map((coding) => decoded(port, '/', { 'accept-encoding': coding })))
  t.ok(all.every((each) => each.body === body))
  t.ok(all.some(({ bytes }) => bytes < 100_000))
})

t.test('trailers follow a compressed body', async (t) => {
  const origin = await upstream(t, ({ url }, response) => {
    response.setHeader('content-type', 'text/plain')
    response.setHeader('trailer', 'x-sum')
    response.write(textOf(Number(url?.slice(1))))
    response.addTrailers({ 'x-sum': '5' })
    response.end()
  })
  const { port } = await listening(t, {
    compress: true,
    routes: [{ path: '/*', proxy: { upstream: origin } }]
  })
  for (const length of [10, 4000, 100_000]) {
    const { response, body } = await decoded(port, `/${length}`, { ...ALL, te: 'trailers' })
    t.equal(response.headers['content-encoding'], length < 1024 ? undefined : 'zstd')
    t.equal(body, textOf(length), `${length} bytes`)
    t.same(response.trailers, { 'x-sum': '5' })
  }
})

t.test('over HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const tls = certificate(t)
  const dir = t.testdir({})
  writeFileSync(join(dir, 'c.pem'), tls.cert)
  writeFileSync(join(dir, 'k.pem'), tls.key)
  const up = http2.createServer()
  up.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200, 'content-type': 'text/plain', etag: '"a"' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '5' }))
    stream.end(textOf(Number(headers[':path']?.slice(1))))
  })
  up.listen(0, '127.0.0.1')
  await once(up, 'listening')
  t.teardown(() => up.close())
  const { port }: Listening = await listening(t, {
    compress: true,
    tls: { certificates: [{ cert: join(dir, 'c.pem'), key: join(dir, 'k.pem') }] },
    upstreams: { up: { url: `http://127.0.0.1:${(up.address() as { port: number }).port}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: tls.cert })
  for (const [length, coding, decode] of [
    [4000, 'br', brotliDecompressSync],
    [500_000, 'zstd', zstdDecompressSync]
  ] as const) {
    const stream = client.request({ ':path': `/${length}`, 'accept-encoding': coding, te: 'trailers' })
    const trailers = once(stream, 'trailers')
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    t.match(head, { ':status': 200, 'content-encoding': coding, etag: 'W/"a"', vary: 'Accept-Encoding' })
    t.equal(decode(await buffer(stream)).toString(), textOf(length))
    t.match((await trailers)[0], { 'x-sum': '5' })
  }
  client.close()
})

t.test('stages of extensions that name no place see bodies without a coding', async (t) => {
  const source = (key: string): string => `import { Transform } from 'node:stream'
import { fp, perRoute, Type } from ${JSON.stringify(kit)}
export const key = '${key}'
export const options = Type.Object({}, { additionalProperties: false })
const stage = (head) => {
  head.set('x-${key}', head.get('content-encoding') ?? 'none')
  return new Transform({
    transform: (chunk, _e, done) => done(null, chunk),
    flush(done) { head.set('content-type', 'text/x-changed'); done() }
  })
}
export default fp(async (app, root) => perRoute(app, key, root, () => ({ stages: [stage] })), { name: key, fastify: '5.x' })`
  const dir = t.testdir({ 'before.ts': source('before'), 'behind.ts': source('behind') })
  const app = await gateway(t, {
    extensions: [{ module: join(dir, 'behind.ts'), after: 'compress' }, { module: join(dir, 'before.ts') }],
    compress: true,
    before: {},
    routes: [
      { path: '/', respond: { headers: { 'content-type': 'application/x-own' }, body: textOf(4000) } },
      { path: '/text', respond: { body: textOf(4000) } }
    ]
  })
  const changed = await app.inject({ url: '/text', headers: { 'accept-encoding': 'br' } })
  t.match(changed.headers, { 'x-before': 'none', 'content-encoding': 'br' })
  t.equal(brotliDecompressSync(changed.rawPayload).toString(), textOf(4000))
  const own = await app.inject({ url: '/', headers: ALL })
  t.equal(own.headers['content-encoding'], undefined, 'the type counts as it is when the body comes')
  t.equal(own.body, textOf(4000))
})
