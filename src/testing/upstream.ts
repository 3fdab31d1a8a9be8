import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { atEnd, type TestScope } from './scope.ts'

/** A request as an upstream received it. */
export interface ReceivedRequest {
  readonly method: string
  /** The path and the query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** The body as text. */
  readonly body: string
  /** The body as bytes. */
  readonly bytes: Buffer
}

/** Answers a request of an upstream, of which the body has been read. */
export type UpstreamHandler = (request: ReceivedRequest, response: ServerResponse) => unknown

/** A running upstream. */
export interface TestUpstream {
  /** Its origin, such as http://127.0.0.1:40123. */
  readonly url: string
  /** The requests that it has received, in their order. */
  readonly requests: ReceivedRequest[]
  /** Stops it, as if it had crashed. */
  close(): void
}

/** Starts an upstream on a free port until the end of a test. By default it answers each request with what it received, as JSON. */
export async function upstream(t: TestScope, handler: UpstreamHandler = echo): Promise<TestUpstream> {
  const requests: ReceivedRequest[] = []
  const server = createServer((request, response) => {
    receive(request)
      .then((received) => {
        requests.push(received)
        return handler(received, response)
      })
      .catch((error: unknown) => {
        // A handler that throws is a fault of the test, which has to see it.
        if (!response.headersSent) response.statusCode = 500
        response.end(`The handler of the upstream failed: ${String(error)}`)
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  atEnd(t, close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, close }
}

async function receive(request: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  const { method = '', url = '', headers } = request
  return { method, url, headers, body: bytes.toString(), bytes }
}

const echo: UpstreamHandler = ({ method, url, headers, body }, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ method, url, headers, body }))
}
