import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { Readable } from 'node:stream'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import session from '@fastify/session'
import { Client } from 'acme-client'
import fastify from 'fastify'
import t from 'tap'
import { captureHooks } from '../../src/lib/capture-hooks.ts'
import { currentResponse } from '../../src/lib/http/current-response.ts'

// docs/decisions/private-parts.md lists what these tests hold. Where one fails after an update, read its row there first.

const WITH_BODY = 'POST /a HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello'

/** Sends bytes to a server of Node.js, and calls `look` with the request and its response. */
async function serving(
  bytes: string,
  look: (request: IncomingMessage, response: ServerResponse) => void
): Promise<{ received: string; socket: Socket }> {
  let socket: Socket | undefined
  const server = createServer((request, response) => {
    socket = request.socket
    look(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.write(bytes)
  let received = ''
  for await (const chunk of client) received += String(chunk)
  server.close()
  return { received, socket: socket as Socket }
}

t.test('Node.js', async (t) => {
  t.test('a socket has a reference to its response until that is finished', async (t) => {
    let during: unknown
    let after: unknown = 'not finished'
    await serving(WITH_BODY, (request, response) => {
      during =
        currentResponse(request.socket) === response && currentResponse(request.socket)?.req === request
      response.once('finish', () => setImmediate(() => (after = currentResponse(request.socket))))
      response.end('ok')
    })
    t.equal(during, true)
    t.equal(after, undefined)
  })

  t.test('the server closes a connection by its destroySoon after the last response', async (t) => {
    let called = 0
    await serving(WITH_BODY, ({ socket }, response) => {
      socket.destroySoon = function counted(this: Socket) {
        called++
        Socket.prototype.destroySoon.call(this)
      }
      response.end('ok')
    })
    t.equal(called, 1)
  })

  t.test('a request is filled by its push, and the parser has its bytes', async (t) => {
    let pushed = ''
    let bytes: Buffer | undefined
    await serving(WITH_BODY, (request, response) => {
      bytes = request.socket.parser?.getCurrentBuffer?.()
      request.push = function noted(chunk: Buffer | null, encoding?: BufferEncoding) {
        pushed += String(chunk ?? '')
        return Readable.prototype.push.call(this, chunk, encoding)
      }
      request.resume().on('end', () => response.end('ok'))
    })
    t.equal(pushed, 'hello')
    t.match(bytes?.toString('latin1'), /^POST \/a HTTP\/1\.0/)
  })

  t.test(
    'an accepted connection has a file descriptor',
    { skip: process.platform === 'win32' },
    async (t) => {
      let descriptor: unknown
      await serving(WITH_BODY, ({ socket }, response) => {
        descriptor = socket._handle?.fd
        response.end('ok')
      })
      t.type(descriptor, 'number')
    }
  )

  t.test('a response notes in _hasBody that its status has no content', async (t) => {
    const response = new ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 } as never)
    const { _hasBody: before } = response
    response.writeHead(204)
    t.strictSame([before, response._hasBody], [true, false])
  })

  t.test('a response can be attached to a socket and detached from it', async (t) => {
    const { prototype } = ServerResponse
    t.type(prototype.assignSocket, 'function')
    t.type(prototype.detachSocket, 'function')
  })
})

t.test('Fastify', async (t) => {
  t.test('its boot sequence listens to "preReady" by once while an instance is made', async (t) => {
    const { once: original } = EventEmitter.prototype
    let boots = 0
    EventEmitter.prototype.once = function noticed(this: EventEmitter, event, listener) {
      if (event === 'preReady') boots++
      return original.call(this, event, listener)
    }
    try {
      fastify()
    } finally {
      EventEmitter.prototype.once = original
    }
    t.ok(boots > 0)
  })

  t.test('each route calls after with a callback of two parameters, behind its onRoute hooks', async (t) => {
    const app = fastify()
    const calls: string[] = []
    const host = app as unknown as { after(callback?: (...args: never[]) => void): unknown }
    const { after } = host
    app.addHook('onRoute', () => void calls.push('onRoute'))
    host.after = function noted(callback) {
      calls.push(`after ${callback?.length}`)
      return after.call(this, callback)
    }
    app.route({ method: 'POST', url: '/', handler: async () => '' })
    t.strictSame(calls, ['onRoute', 'after 2'])
    await app.close()
  })

  t.test('an onRoute hook may replace the hooks and the handler of a route', async (t) => {
    const app = fastify()
    app.addHook('onRoute', (route) => {
      route.onRequest = [async (_request, reply) => void reply.header('x-hook', 'ran')]
      route.handler = async () => 'replaced'
    })
    app.get('/', async () => 'original')
    const { body, headers } = await app.inject('/')
    t.strictSame([body, headers['x-hook']], ['replaced', 'ran'])
    await app.close()
  })
})

t.test('plugins of Fastify', async (t) => {
  t.test('@fastify/cors adds one onRequest hook, and no other', async (t) => {
    const hooks = await captureHooks(fastify(), cors, { origin: '*', preflight: false })
    t.strictSame(
      Object.entries(hooks).map(([name, { length }]) => [name, length]),
      [['onRequest', 1]]
    )
  })

  t.test('@fastify/session loads in onRequest and saves in onSend', async (t) => {
    const app = fastify()
    await app.register(cookie, { hook: false })
    const hooks = await captureHooks(app, session, { secret: 'x'.repeat(32) })
    t.strictSame(
      Object.entries(hooks).map(([name, { length }]) => [name, length]),
      [
        ['onRequest', 1],
        ['onSend', 1]
      ]
    )
    await app.close()
  })
})

t.test('acme-client sends by http.request, with a number of attempts for a bad nonce', async (t) => {
  const client = new Client({ directoryUrl: 'https://ca.invalid', accountKey: '' })
  const { http } = client as unknown as { http: { request: unknown; maxBadNonceRetries: unknown } }
  t.type(http.request, 'function')
  t.type(http.maxBadNonceRetries, 'number')
})
