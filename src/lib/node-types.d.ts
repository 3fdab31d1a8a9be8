import type { IncomingMessage, ServerResponse } from 'node:http'

// What Node.js has and its types lack. docs/decisions/private-parts.md gives the reason and the test for each.

declare module 'net' {
  interface Socket {
    /** The response that is written to the connection now. */
    readonly _httpMessage?: (ServerResponse & { readonly req: IncomingMessage }) | null
    readonly _handle?: { readonly fd?: number } | null
    /** The socket below TLS. */
    readonly _parent?: Socket | null
    /** The HTTP/1 parser of the connection. */
    readonly parser?: { getCurrentBuffer?(): Buffer } | null
  }
}

declare module 'http' {
  interface Server {
    maxHeaderSize?: number
  }

  interface ServerResponse {
    /** Whether the status allows content. */
    _hasBody: boolean
  }
}
