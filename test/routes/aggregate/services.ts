import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import { createServer } from 'node:net'
import type { LightMyRequestResponse } from 'fastify'
import { type Scope, upstream } from '../../helpers.ts'

/** What a service answers: a listener, a body, or a status. */
export type Answer = RequestListener | string | number | object

/** Starts an upstream that answers each path as the table says; the path may have its query. */
export async function service(t: Scope, answers: Readonly<Record<string, Answer>>): Promise<string> {
  return await upstream(t, (request, response) => {
    const url = request.url ?? ''
    const answer = answers[url] ?? answers[url.split('?')[0] ?? '']
    if (answer === undefined) response.writeHead(404).end()
    else if (typeof answer === 'function') (answer as RequestListener)(request, response)
    else if (typeof answer === 'number') response.writeHead(answer).end()
    else response.end(typeof answer === 'string' ? answer : JSON.stringify(answer))
  })
}

/** Makes a listener that answers JSON with a status and headers. */
export const answering =
  (body: unknown, headers: Record<string, string | string[]> = {}, status = 200): RequestListener =>
  (_request, response) =>
    void response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))

/** Returns a port of this machine that refuses connections. */
export async function refusingPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** What tests of aggregates look at in a response. */
interface SeenResponse {
  readonly status: number | undefined
  readonly partial: unknown
  readonly caching: unknown
  readonly body: string | undefined
}

/** Reads it. */
export const seenOf = (response: LightMyRequestResponse | undefined): SeenResponse => ({
  status: response?.statusCode,
  partial: response?.headers['sallyport-partial'],
  caching: response?.headers['cache-control'],
  body: response?.body
})

/** Starts an upstream that speaks HTTP/2 only; it closes with the test. */
export async function http2Service(t: Scope, listener: RequestListener): Promise<string> {
  const server = createHttp2Server(listener as never)
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}
