// The part of Express that a test uses; its own types would be another dependency.
declare module 'express' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  interface Response extends ServerResponse {
    send(body: string): Response
  }
  type Handler = (request: IncomingMessage, response: Response) => void

  interface Application extends RequestListener {
    get(paths: readonly string[], handler: Handler): void
    use(handler: Handler): void
  }

  export default function express(): Application
}
