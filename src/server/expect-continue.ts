import type { IncomingMessage, ServerResponse } from 'node:http'

/** Sends "100 Continue" when the body of a request is first read; Node.js sends it before any gate has run. */
export function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  const read = request._read
  request._read = function readOn(size) {
    request._read = read
    if (!response.headersSent) response.writeContinue()
    read.call(request, size)
  }
}
