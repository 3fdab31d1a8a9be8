import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { get, type IncomingMessage, type RequestListener, request as send } from 'node:http'
import http2 from 'node:http2'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import {
  certificate,
  gateway,
  type Listening,
  listening,
  noOpenssl,
  readableLog,
  upstream
} from '../helpers.ts'

const digest = fileURLToPath(new URL('../../examples/extensions/content-digest.ts', import.meta.url))
const kit = new URL('../../src/kit/index.ts', import.meta.url).href

/** Writes an extension whose stages come from the source of a function `(head, request) => stream`. */
function extension(
  t: Pick<Test, 'testdir'>,
  sources: Readonly<Record<string, string>>
): { module: string }[] {
  const dir = t.testdir({})
  return Object.entries(sources).map(([key, source]) => {
    const module = join(dir, `${key}.ts`)
    writeFileSync(
      module,
      `import { Transform } from 'node:stream'
import { createError, fp, perRoute, Type } from ${JSON.stringify(kit)}
export const key = '${key}'
export const options = Type.Object({}, { additionalProperties: false })
const Failed = createError('SP_ERR_${key.toUpperCase()}_FAILED', 'Bad gateway: no such body', 502)
const events = globalThis.stageEvents
export default fp(async (app, root) => perRoute(app, key, root, () => ({ readsBodies: true, stages: [${source}] })), { name: key, fastify: '5.x' })`
    )
    return { module }
  })
}

const events: string[] = []
Object.assign(globalThis, { stageEvents: events })

const UPPER = `(head) => new Transform({ transform: (chunk, _e, done) => done(null, chunk.toString('latin1').toUpperCase()) })`
const BRACKETS = `(head) => {
  head.set('content-length', undefined)
  let first = true
  return new Transform({
    transform(chunk, _e, done) { if (first) this.push('['); first = false; done(null, chunk) },
    flush(done) { done(null, ']') }
  })
}`
const HOLD = `(head) => {
  const parts = []
  return new Transform({
    transform(chunk, _e, done) { parts.push(chunk); done() },
    flush(done) {
      const body = Buffer.concat(parts)
      head.status = 203
      head.set('content-length', String(body.length))
      head.set('x-bytes', String(body.length))
      done(null, body)
    }
  })
}`

const answerText: RequestListener = (request, response) => {
  response.setHeader('x-accept-encoding', request.headers['accept-encoding'] ?? 'none')
  response.setHeader('x-range', request.headers.range ?? 'none')
  response.end('hello')
}

t.test('stages run in the order of the concerns, whatever the target', async (t) => {
  const extensions = extension(t, { upper: UPPER, brackets: BRACKETS, hold: HOLD })
  const dir = dirname(extensions[0]?.module ?? '')
  writeFileSync(join(dir, 'a.txt'), 'hello')
  const app = await gateway(t, {
    extensions,
    upper: {},
    brackets: {},
    hold: {},
    routes: [
      { path: '/proxied', proxy: { upstream: await upstream(t, answerText) } },
      { path: '/respond', respond: { body: 'hello' } },
      { path: '/files/*', files: { root: dir } },
      { path: '/partly', respond: { body: 'hello' }, hold: false }
    ]
  })
  for (const [url, body, bytes] of [
    ['/proxied', '[HELLO]', '7'],
    ['/respond', '[HELLO]', '7'],
    ['/files/a.txt', '[HELLO]', '7'],
    ['/partly', '[HELLO]', undefined]
  ] as const) {
    const response = await app.inject({ url })
    t.equal(response.body, body, url)
    t.equal(response.statusCode, bytes === undefined ? 200 : 203, `the status of ${url}`)
    t.equal(response.headers['x-bytes'], bytes, `the header of ${url}`)
    const head = await app.inject({ url, method: 'HEAD' })
    t.match([head.statusCode, head.body], [200, ''], `HEAD ${url} has no body to change`)
  }
  const refused = await app.inject('/nothing')
  t.match(
    [refused.statusCode, refused.json()],
    [404, { code: 'SP_ERR_ROUTE_UNKNOWN' }],
    'an error passes no stage'
  )
})

t.test('stages that read bodies get whole ones without a content coding', async (t) => {
  const app = await gateway(t, {
    extensions: extension(t, { upper: UPPER }),
    routes: [
      { path: '/staged', proxy: { upstream: await upstream(t, answerText) }, upper: {} },
      { path: '/plain', proxy: { upstream: await upstream(t, answerText) } }
    ]
  })
  const headers = { 'accept-encoding': 'gzip', range: 'bytes=0-1' }
  t.match((await app.inject({ url: '/staged', headers })).headers, {
    'x-accept-encoding': 'identity',
    'x-range': 'none'
  })
  t.match((await app.inject({ url: '/plain', headers })).headers, {
    'x-accept-encoding': 'gzip',
    'x-range': 'bytes=0-1'
  })
})

t.test(
  'a stage that fails before the first byte answers with its error, and later cuts the response',
  async (t) => {
    const { log, lines } = readableLog('error')
    const cases: [name: string, stage: string, status: number | 'cut', code?: string][] = [
      ['thrown', `() => { throw new Failed() }`, 502, 'SP_ERR_THROWN_FAILED'],
      ['bug', `() => { throw new TypeError('a bug') }`, 500, 'SP_ERR_INTERNAL'],
      [
        'destroyed',
        `() => new Transform({ transform: (c, _e, done) => done(new Failed()) })`,
        502,
        'SP_ERR_DESTROYED_FAILED'
      ],
      [
        'flushed',
        `() => new Transform({ transform: (c, _e, done) => done(), flush: (done) => done(new Failed()) })`,
        502,
        'SP_ERR_FLUSHED_FAILED'
      ],
      ['silent', `() => new Transform({ transform() { this.destroy() } })`, 500, 'SP_ERR_INTERNAL'],
      [
        'late',
        `(head) => {
          head.set('content-length', undefined)
          return new Transform({ transform: (c, _e, done) => done(null, c), flush: (done) => done(new Failed()) })
        }`,
        'cut'
      ],
      [
        'longer',
        `() => new Transform({
          transform(c, _e, done) { this.push(c.subarray(0, 1)); setImmediate(done, null, Buffer.alloc(10)) }
        })`,
        'cut'
      ],
      ['shorter', `() => new Transform({ transform: (c, _e, done) => done(null, c.subarray(1)) })`, 'cut']
    ]
    const up = await upstream(
      t,
      (_request, response) => void response.setHeader('content-length', 5).end('hello')
    )
    const { url } = await listening(
      t,
      {
        extensions: extension(t, Object.fromEntries(cases.map(([name, stage]) => [name, stage]))),
        routes: cases.map(([name]) => ({ path: `/${name}`, proxy: { upstream: up }, [name]: {} }))
      },
      { log }
    )
    for (const [name, , status, code] of cases) {
      const response = await fetch(`${url}/${name}`).catch(() => undefined)
      const body = await response?.text().catch(() => undefined)
      if (status === 'cut')
        t.equal(body, undefined, `${name}: the client sees that the response is incomplete`)
      else {
        t.equal(response?.status, status, name)
        t.match(JSON.parse(body ?? '{}'), { code }, `${name}: the code`)
      }
    }
    t.ok(
      lines.some(({ msg }) => msg === 'response stage failed'),
      'what is a bug of the extension is logged'
    )
  }
)

t.test('a stage that takes too long is ended by the deadline of the request', async (t) => {
  const app = await gateway(t, {
    extensions: extension(t, { forever: `() => new Transform({ transform() {} })` }),
    limits: { time: '50ms' },
    routes: [{ path: '/', proxy: { upstream: await upstream(t, answerText) }, forever: {} }]
  })
  t.match(await app.inject('/'), { statusCode: 504 })
})

t.test('the head of an event stream is not held back', async (t) => {
  const { url } = await listening(t, {
    extensions: extension(t, { upper: UPPER }),
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.setHeader('content-type', 'text/event-stream')
            response.flushHeaders()
          })
        },
        upper: {}
      }
    ]
  })
  const request = get(url)
  request.on('error', () => {})
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  t.equal(response.statusCode, 200, 'it comes before any event')
  request.destroy()
})

const WATCHED = `() => new Transform({
  transform: (chunk, _e, done) => done(null, chunk),
  destroy(error, done) { events.push('destroyed'); stageClosed?.(); done(error) }
})`.replace('stageClosed', 'globalThis.stageClosed')

t.test('a client that leaves ends the stages', async (t) => {
  const done = new Promise<void>((resolve) => Object.assign(globalThis, { stageClosed: resolve }))
  const { url } = await listening(t, {
    extensions: extension(t, { watched: WATCHED }),
    routes: [
      {
        path: '/',
        proxy: { upstream: await upstream(t, (_request, response) => void response.write('some')) },
        watched: {}
      }
    ]
  })
  const request = get(url)
  request.on('error', () => {})
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  await once(response, 'data')
  request.destroy()
  await done
  t.same(events, ['destroyed'])
})

t.test('the body goes on only as fast as the client reads', async (t) => {
  let written = 0
  const stalled = Promise.withResolvers<void>()
  const total = 64 * 1024 * 1024
  const { port } = await listening(t, {
    extensions: extension(t, {
      watched: `() => new Transform({ transform: (chunk, _e, done) => done(null, chunk) })`
    }),
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            const chunk = Buffer.alloc(65_536)
            const more = (): void => {
              while (written < total) {
                written += chunk.length
                if (!response.write(chunk)) {
                  // Nothing is taken for a while once all buffers are full.
                  const timer = setTimeout(stalled.resolve, 300)
                  response.once('drain', () => {
                    clearTimeout(timer)
                    more()
                  })
                  return
                }
              }
              response.end()
            }
            more()
          })
        },
        watched: {}
      }
    ]
  })
  const request = send({ port, path: '/' }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.pause()
  await stalled.promise
  t.ok(written < total, 'the upstream has to wait')
  let read = 0
  for await (const chunk of response) read += (chunk as Buffer).length
  t.equal(read, total, 'and all of it comes')
})

t.test('trailers follow the staged body', async (t) => {
  const { port } = await listening(t, {
    extensions: extension(t, { brackets: BRACKETS }),
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.setHeader('trailer', 'x-sum')
            response.write('hello')
            response.addTrailers({ 'x-sum': '5' })
            response.end()
          })
        },
        brackets: {}
      }
    ]
  })
  const request = send({ port, path: '/', headers: { te: 'trailers' } }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  t.equal(await text(response), '[hello]')
  t.same(response.trailers, { 'x-sum': '5' })
})

t.test('stages over HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const tls = certificate(t)
  const extensions = extension(t, { hold: HOLD })
  const dir = dirname(extensions[0]?.module ?? '')
  writeFileSync(join(dir, 'c.pem'), tls.cert)
  writeFileSync(join(dir, 'k.pem'), tls.key)
  const up = http2.createServer()
  up.on('stream', (stream) => {
    stream.respond({ ':status': 200, 'content-length': '5' })
    stream.end('hello')
  })
  up.listen(0, '127.0.0.1')
  await once(up, 'listening')
  t.teardown(() => up.close())
  const { port }: Listening = await listening(t, {
    tls: { certificates: [{ cert: join(dir, 'c.pem'), key: join(dir, 'k.pem') }] },
    extensions,
    upstreams: { up: { url: `http://127.0.0.1:${(up.address() as { port: number }).port}`, http2: true } },
    routes: [{ path: '/', proxy: { upstream: 'up' }, hold: {} }]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: tls.cert })
  const stream = client.request({ ':path': '/' })
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  t.match(head, { ':status': 203, 'x-bytes': '5' })
  t.equal(await text(stream), 'hello')
  client.close()
})

t.test('the example of the docs adds a digest', async (t) => {
  const app = await gateway(t, {
    extensions: [{ module: digest }],
    contentDigest: {},
    routes: [{ path: '/*', proxy: { upstream: await upstream(t, answerText) } }]
  })
  const expected = createHash('sha256').update('hello').digest('base64')
  const response = await app.inject('/')
  t.match(response, { statusCode: 200, body: 'hello' })
  t.equal(response.headers['content-digest'], `sha-256=:${expected}:`)
})
