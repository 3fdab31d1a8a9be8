import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Returns the HTTP/1.1 response that Node.js writes to a connection now; undefined between two responses. */
export function currentResponse(
  socket: Socket
): (ServerResponse & { readonly req: IncomingMessage }) | undefined {
  return socket._httpMessage ?? undefined
}
