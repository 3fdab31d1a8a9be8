import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { certificate, listening, noOpenssl, type Scope } from '../../helpers.ts'

/** Starts an upstream that speaks HTTP/2 alone: its response has what came, and a secret. */
async function echoHttp2(t: Scope): Promise<string> {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    void text(stream).then((body) => {
      const response = JSON.stringify({ body, length: headers['content-length'], secret: 1 })
      if (headers[':path'] === '/half') {
        stream.respond({ ':status': 200, 'content-type': 'application/json' })
        stream.write(response.slice(0, 5), () => setImmediate(() => stream.session?.destroy()))
        return
      }
      stream.respond({
        ':status': 200,
        'content-type': 'application/json',
        ...(headers[':path'] === '/gzip' ? { 'content-encoding': 'gzip' } : {})
      })
      stream.end(headers[':path'] === '/gzip' ? gzipSync(response) : response)
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

t.test('bodies change over HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const { cert, key, ca } = certificate(t)
  const file = (name: string, content: Buffer): string => {
    writeFileSync(join(dirname(ca), name), content)
    return join(dirname(ca), name)
  }
  const { port, app } = await listening(t, {
    tls: { certificates: [{ cert: file('c.pem', cert), key: file('k.pem', key) }] },
    upstreams: { up: { url: await echoHttp2(t), http2: true } },
    routes: [
      {
        path: '/*',
        proxy: { upstream: 'up' },
        transform: { request: { omit: ['b'], otherwise: 'reject' }, response: { omit: ['secret'] } }
      }
    ]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: cert })
  t.teardown(() => client.close())
  const post = async (
    path: string,
    headers: http2.OutgoingHttpHeaders,
    body: string | undefined
  ): Promise<{ status: number | undefined; text: string; length: string | undefined }> => {
    const stream = client.request({
      ':path': path,
      ':method': body === undefined ? 'GET' : 'POST',
      ...headers
    })
    stream.end(body)
    const [head] = (await once(stream, 'response')) as [
      http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader
    ]
    return { status: head[':status'], text: await text(stream), length: head['content-length'] }
  }
  const json = { 'content-type': 'application/json' }
  for (const headers of [json, { ...json, 'content-length': '13' }])
    for (const path of ['/', '/gzip']) {
      const response = await post(path, headers, '{"a":1,"b":2}')
      t.strictSame(JSON.parse(response.text), { body: '{"a":1}', length: '7' }, path)
      t.equal(response.length, String(response.text.length))
    }
  t.match(await post('/', {}, undefined), { status: 200, text: '{"body":""}' }, 'no body')
  t.match(await post('/', json, ''), { status: 200, text: /"body":""/ }, 'a body without bytes')
  t.match(await post('/', json, '{'), { status: 400, text: /SP_ERR_TRANSFORM_BODY/ })
  t.match(await post('/', { 'content-type': 'text/plain' }, '{'), {
    status: 415,
    text: /SP_ERR_TRANSFORM_MEDIA/
  })
  t.match(await post('/half', json, '{}'), { status: 502, text: /SP_ERR_UPSTREAM_FAILED/ })

  const cancelled = client.request({ ':path': '/', ':method': 'POST', ...json })
  cancelled.on('error', () => {})
  cancelled.write('{"a":')
  while (app.buffers.held === 0) await new Promise(setImmediate)
  cancelled.close(http2.constants.NGHTTP2_CANCEL)
  while (app.buffers.held > 0) await new Promise(setImmediate)
  t.equal(app.buffers.held, 0, 'a client that leaves gives its memory back')
})
