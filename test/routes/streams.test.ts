import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { bodyOf, listening, raw, type Scope, upstream } from '../helpers.ts'

/** An upstream that speaks by hand on each connection, once it has read something. */
async function byHand(t: Scope, speak: (socket: Socket, data: Buffer) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (data) => speak(socket, data))
    t.teardown(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const to = (url: string, more: object = {}): object => ({
  routes: [{ path: '/*', proxy: { upstream: url, ...more } }]
})
const closing = 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

t.test('passes early hints before the response, except to HTTP/1.0 clients', async (t) => {
  const up = await upstream(t, (_request, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload', 'x-more': 'yes' }, () => response.end('ok'))
  })
  const { port } = await listening(t, to(up))
  const answer = await raw(port, closing)
  t.match(answer, /^HTTP\/1\.1 103 Early Hints\r\n/i)
  t.match(answer, /link: <\/a\.css>; rel=preload\r\n/i)
  t.match(answer, /\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
  t.match(await raw(port, 'GET /x HTTP/1.0\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200/, 'HTTP/1.0 has none')
})

t.test('drops framing and hop-by-hop fields from early hints', async (t) => {
  const up = await byHand(t, (socket) => {
    socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nX-Own: a\r\n')
    socket.write('Transfer-Encoding: chunked\r\nConnection: x-own\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  const { port } = await listening(t, to(up))
  const answer = await raw(port, closing)
  t.match(answer, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK\r\n/i)
})

t.test('drops trailers that are only allowed as headers', async (t) => {
  const up = await byHand(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n')
    socket.write('Authorization: Bearer x\r\nset-cookie: sid=1\r\nLocation: /evil\r\nX-Custom: value\r\n\r\n')
  })
  const { port } = await listening(t, to(up))
  t.match(await raw(port, closing), /\r\n2\r\nok\r\n0\r\nx-custom: value\r\n\r\n$/i)
})

t.test('keeps header bytes when headers are flushed without a body', async (t) => {
  const value = 'caf\xc3\xa9 \xf0\x9f\x98\x80 \xe9'
  let goOn: () => void = () => {}
  const up = await byHand(t, (socket, data) => {
    const switches = data.includes('websocket')
    const head = switches
      ? '101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket'
      : '200 OK\r\nContent-Length: 2'
    const hint = `HTTP/1.1 103 Early Hints\r\nX-Name: ${value}\r\n\r\n`
    socket.write(`${switches ? '' : hint}HTTP/1.1 ${head}\r\nX-Name: ${value}\r\n\r\n`, 'latin1')
    goOn = () => socket.write('ok')
  })
  const { port } = await listening(t, to(up))
  const head = async (more: string): Promise<string> => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.write(`GET /x HTTP/1.1\r\nHost: a\r\n${more}\r\n`)
    let seen = ''
    socket.on('data', (data) => {
      seen += data.toString('latin1')
    })
    while (!/HTTP\/1\.1 (101|200)[\s\S]*\r\n\r\n/.test(seen)) await once(socket, 'data')
    return seen
  }
  const ofSwitch = await head('Connection: Upgrade\r\nUpgrade: websocket\r\n')
  t.ok(ofSwitch.includes(`x-name: ${value}\r\n`), 'of a switch of protocols')
  const ofAnswer = await head('')
  t.equal(
    ofAnswer.replaceAll('X-Name', 'x-name').split(`x-name: ${value}\r\n`).length,
    3,
    'of a hint, and of an answer'
  )
  goOn()
})

t.test('skips an unrequested "100 Continue" in any chunks, and leaves bodies unchanged', async (t) => {
  const interim = 'HTTP/1.1 100 Continue\r\nx-a: b\r\n\r\n'
  const final = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
  const cases: Record<string, readonly string[]> = {
    once: [interim, final],
    'in one piece': [interim + final],
    twice: [interim + interim, final],
    'byte by byte': (interim + final).split(''),
    'before early hints': [`${interim}HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${final}`],
    'as a body': [`HTTP/1.1 200 OK\r\nContent-Length: ${interim.length}\r\n\r\n`, interim],
    'as a chunk': [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      `${interim.length.toString(16)}\r\n`,
      interim,
      '\r\n0\r\n\r\n'
    ]
  }
  for (const [name, parts] of Object.entries(cases)) {
    const up = await byHand(t, (socket) => {
      const left = [...parts]
      const next = (): void => {
        const part = left.shift()
        if (part !== undefined) socket.write(part, () => setImmediate(next))
      }
      next()
    })
    const { url } = await listening(t, to(up, { timeouts: { headers: '2s' } }))
    for (const turn of ['first', 'second']) {
      const answer = await fetch(`${url}/x`)
      t.equal(answer.status, 200, `${name}, ${turn}`)
      t.equal(await answer.text(), name.startsWith('as a') ? interim : 'ok')
    }
  }
})

t.test('does not look for "100 Continue" in the body of an early response', async (t) => {
  const part = 'HTTP/1.1 100 Continue\r\n\r\n'
  const up = await byHand(t, (socket, data) => {
    if (data.includes('POST')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n')
    if (data.includes('AAAA') || data.includes('BBBB')) socket.write(part)
  })
  const { port } = await listening(t, to(up))
  const request = http.request({ port, method: 'POST', path: '/x' })
  request.on('error', () => {})
  request.write('one')
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  for (const each of ['AAAA', 'BBBB']) {
    request.write(each)
    const [data] = (await once(response, 'data')) as [Buffer]
    t.equal(data.toString(), part)
  }
  request.destroy()
})

t.test('has no idle timeout for an event stream, and ends it when the client disconnects', async (t) => {
  const left = Promise.withResolvers<void>()
  let goOn: () => void = () => {}
  const up = await upstream(t, (request, response) => {
    response.writeHead(200, {
      'content-type': request.url === '/events' ? 'text/event-stream; charset=utf-8' : 'text/plain'
    })
    response.write('data: 1\n\n')
    response.on('close', () => request.url === '/events' && left.resolve())
    goOn = () => response.write('data: 2\n\n')
  })
  const { url } = await listening(t, to(up, { timeouts: { body: '60ms' } }))
  const cut = await fetch(`${url}/plain`)
  const stream = await fetch(`${url}/events`)
  const reader = stream.body?.getReader()
  t.equal(new TextDecoder().decode((await reader?.read())?.value), 'data: 1\n\n')
  await t.rejects(cut.text(), 'a body of another kind is cut when it stands still')
  const later = await fetch(`${url}/plain`)
  await t.rejects(later.text())
  const events = await fetch(`${url}/events`)
  const second = events.body?.getReader()
  await second?.read()
  goOn()
  t.equal(new TextDecoder().decode((await second?.read())?.value), 'data: 2\n\n', 'and goes on')
  await reader?.cancel()
  await left.promise
  await second?.cancel()
})

t.test('streams text that is not UTF-8 unchanged', async (t) => {
  const bytes = Buffer.from([0xff, 0xfe, 0x00, 0xe9, 0x80])
  const up = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => response.end(body))
  })
  const { url } = await listening(t, to(up))
  for (const type of [
    'text/plain',
    'text/plain; charset=latin1',
    'application/json',
    'application/x-www-form-urlencoded',
    'x/y'
  ]) {
    const answer = await fetch(`${url}/x`, { method: 'POST', body: bytes, headers: { 'content-type': type } })
    t.same(Buffer.from(await answer.arrayBuffer()), bytes, type)
  }
})

t.test('responds to a client whose upload the upstream rejected or lost', async (t) => {
  const cases = [
    {
      name: 'an early 413',
      status: 413,
      speak: (s: Socket) => s.end('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno')
    },
    {
      name: 'an early 401 that stays open',
      status: 401,
      speak: (s: Socket) => s.write('HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno')
    },
    { name: 'a reset', status: 502, speak: (s: Socket) => s.resetAndDestroy() }
  ]
  for (const { name, status, speak } of cases) {
    const up = await byHand(t, (socket) => void (socket.destroyed || speak(socket)))
    const { port } = await listening(t, to(up))
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n')
    const sending = setInterval(() => socket.write('x'.repeat(1000)), 5)
    t.teardown(() => clearInterval(sending))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    clearInterval(sending)
    t.match(answer.toString(), new RegExp(`^HTTP/1\\.1 ${status} `), name)
  }
})

t.test('lets the client of an event stream be idle, and ends the upstream stream with it', async (t) => {
  const left = Promise.withResolvers<void>()
  const timer = Promise.withResolvers<void>()
  let response: http.ServerResponse | undefined
  const up = await upstream(t, (request, answer) => {
    if (request.url === '/plain') {
      answer.writeHead(200, { 'content-type': 'text/plain' }).write('one')
      // It is cut by the same limit that the event stream outlives.
      return void answer.on('close', timer.resolve)
    }
    response = answer
    answer.on('close', left.resolve)
    answer.writeHead(200, { 'content-type': 'Text/Event-Stream' }).write('data: 1\n\n')
  })
  const { url } = await listening(t, {
    limits: { idle: '1s', time: '1s' },
    ...to(up, { timeouts: { body: '1500ms' } })
  })
  const events = await fetch(`${url}/events`)
  const reader = events.body?.getReader()
  await reader?.read()
  const plain = await fetch(`${url}/plain`)
  await t.rejects(plain.text())
  await timer.promise
  response?.write('data: 2\n\n')
  t.equal(new TextDecoder().decode((await reader?.read())?.value), 'data: 2\n\n')
  await reader?.cancel()
  await left.promise
})

t.test('streams text in both directions chunk by chunk', async (t) => {
  const up = await upstream(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).flushHeaders()
    request.on('data', (part: Buffer) => response.write(part)).on('end', () => response.end())
  })
  const { port } = await listening(t, to(up))
  const request = http.request({
    port,
    method: 'POST',
    path: '/x',
    headers: { 'content-type': 'text/plain' }
  })
  // The head does not wait for its body, so the upstream may answer before there is any.
  request.flushHeaders()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  request.write('first')
  t.equal(String((await once(response, 'data'))[0]), 'first')
  for (const part of [Buffer.from([0xff, 0xfe]), Buffer.from([0xc3]), Buffer.from([0x28, 0x00])]) {
    request.write(part)
    t.same((await once(response, 'data'))[0], part)
  }
  request.end()
  await once(response.resume(), 'end')
})

t.test('reuses a connection whose upload ended after an early response', async (t) => {
  const open = new Set<Socket>()
  const none = new EventEmitter()
  const up = await byHand(t, (socket, data) => {
    if (!open.has(socket)) {
      open.add(socket)
      socket.on('close', () => {
        open.delete(socket)
        none.emit('close')
      })
    }
    if (/^(POST|GET)/.test(data.toString('latin1')))
      socket.write('HTTP/1.1 401 Who\r\nContent-Length: 2\r\n\r\nno')
  })
  const { port } = await listening(t, to(up))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n')
  socket.write('x'.repeat(50_000))
  t.match((await once(socket, 'data'))[0].toString(), /^HTTP\/1\.1 401 /)
  while (open.size > 0) await once(none, 'close')
  t.pass('the connection to the upstream, which waits for the rest, is not kept')
  socket.write(`${'x'.repeat(50_000)}GET /x HTTP/1.1\r\nHost: a\r\n\r\n`)
  t.match((await once(socket, 'data'))[0].toString(), /^HTTP\/1\.1 401 /, 'the next request has its answer')
})

t.test('closes the connection of a client that keeps sending after an early response', async (t) => {
  const up = await byHand(t, (socket) => socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'))
  const { port, app } = await listening(t, {
    upstreams: { up: { url: up } },
    routes: [{ path: '/*', proxy: { upstream: 'up' }, limits: { body: false } }]
  })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  socket.write('POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
  const closed = Promise.withResolvers<unknown>()
  socket.on('close', closed.resolve)
  const send = (): void => void (socket.destroyed || socket.write('5\r\nhello\r\n', () => setImmediate(send)))
  send()
  t.match((await once(socket, 'data'))[0].toString(), /^HTTP\/1\.1 413 /)
  await closed.promise
  t.match(app.upstream('up').traffic, { active: 0, activeRetries: 0 })
  t.equal(app.upstream('up').targets[0]?.load.requests, 0)
})

t.test('does not mix up concurrent bodies when read buffers are reused', async (t) => {
  const up = await upstream(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    request.pipe(response)
  })
  for (const proxy of [{ upstream: up }, { upstream: up, retry: { maxBody: '100mb' } }]) {
    const { url } = await listening(t, { limits: { body: '100mb' }, routes: [{ path: '/*', proxy }] })
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const body = Buffer.alloc(2_500_000 + i * 70_001, `${i} is nobody else's. `)
        const response = await fetch(`${url}/${i}`, { method: i % 2 === 0 ? 'PUT' : 'POST', body })
        const came = Buffer.from(await response.arrayBuffer())
        t.ok(came.equals(body), `body ${i} is what was sent`)
      })
    )
  }
})

t.test('does not cache header names that clients make up', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const { port } = await listening(t, to(await upstream(t, (_request, response) => response.end())))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const ask = async (name: string): Promise<void> => {
    socket.write(`GET /x HTTP/1.1\r\nHost: a\r\n${name}: 1\r\n\r\n`)
    await once(socket, 'data')
  }
  await ask('x')
  gc()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 600; i++) await ask(`x${i}-${'A'.repeat(15_000)}`)
  gc()
  t.ok(process.memoryUsage().heapUsed - before < 8_000_000)
})
