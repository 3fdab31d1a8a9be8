import type { IncomingMessage, ServerResponse } from 'node:http'

// Members of Node.js that its types lack. docs/decisions/private-parts.md has the reason and the test for each.

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

/** A number as it was written (ECMA-262, JSON.rawJSON); JSON.stringify writes the text as it is. */
interface RawJson {
  readonly rawJSON: string
}

declare global {
  interface JSON {
    rawJSON(text: string): RawJson
    isRawJSON(value: unknown): value is RawJson
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown
    ): unknown
  }
}
