import { type IncomingMessage, ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http'
import { constants, Http2ServerResponse, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { fieldsByName } from './headers.ts'
import { CONNECTION_FIELDS } from './hop-by-hop.ts'

// Every call here can throw inside a callback of the upstream's connection, outside of any try of the request. This file
// catches all of these errors.

/** A response to a client over either version of HTTP. */
export type ClientResponse = ServerResponse & { readonly stream?: ServerHttp2Stream }

/** A final response head. */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** Names in lower case and values in turn; HTTP/2 adds its own fields to the list. */
  readonly fields: string[]
  /** Whether nothing follows the head. */
  readonly endStream: boolean
}

/** Writes a final response head. Returns the error where that fails; nothing was sent then, and another head may be written. */
export function writeHead(response: ClientResponse, head: ResponseHead): Error | undefined {
  const { stream } = response
  try {
    if (stream === undefined) writeHttp1Head(response, head)
    else writeHttp2Head(response, stream, head)
    return undefined
  } catch (error) {
    return error as Error
  }
}

function writeHttp1Head(response: ServerResponse, { status, reason, fields }: ResponseHead): void {
  const { _hasBody: hasBody } = response
  try {
    writeNodeHead.call(response, status, reason, fields)
  } catch (error) {
    // Node.js has set these before it threw, and would use them for the next head.
    response.statusMessage = ''
    response._hasBody = hasBody
    throw error
  }
}

// The method of `safeResponses` would omit invalid headers instead of throwing.
const { writeHead: writeNodeHead } = ServerResponse.prototype as unknown as {
  writeHead(this: ServerResponse, status: number, reason: string, fields: readonly string[]): void
}

function writeHttp2Head(
  response: ServerResponse,
  stream: ServerHttp2Stream,
  { status, fields, endStream }: ResponseHead
): void {
  // The client has disconnected.
  if (stream.destroyed || stream.closed) return
  // Node.js resets the stream where content follows (RFC 9110 section 15.3.6 allows none).
  if (status === 205 && hasContent(fields)) throw new Error('a 205 with content')
  fields.unshift(':status', String(status))
  stream.respond(fields as never, endStream ? { endStream } : { waitForTrailers: true })
  response.statusCode = status
}

function hasContent(fields: readonly string[]): boolean {
  const at = fields.indexOf('content-length')
  return at !== -1 && fields[at + 1] !== '0'
}

/** Returns whether Node.js has ended an HTTP/2 response with its head, as it does for a 205. */
export const endedWithHead = ({ stream }: ClientResponse): boolean => stream?.writableEnded === true

/** Writes an interim response (RFC 9110 section 15.2); omits one that can't be written. HTTP/1.0 has none. */
export function writeInterim(response: ClientResponse, status: number, fields: readonly string[]): void {
  const { stream, req } = response
  try {
    if (stream !== undefined) {
      const headers: OutgoingHttpHeaders = fieldsByName(fields)
      headers[':status'] = status
      stream.additionalHeaders(headers)
    } else if (req.httpVersionMinor > 0) response.writeInformation?.(status, fields as never)
  } catch {
    // An invalid interim response must not affect the final one.
  }
}

/** Adds the trailers of a response before its end; returns false where they can't be written. */
export function addTrailers(response: ClientResponse, trailers: readonly [string, string][]): boolean {
  try {
    if (response.stream === undefined) response.addTrailers(trailers as [string, string][])
    else response.addTrailers(fieldsByName(trailers.flat()) as never)
    return true
  } catch {
    return false
  }
}

/** Returns whether the client's connection or stream is closed. */
export const isClosed = (response: ClientResponse): boolean =>
  // An HTTP/2 response is never destroyed itself, its stream is.
  response.destroyed === true || response.stream?.destroyed === true

/** Aborts a response, so that the client sees that it is incomplete. */
export function cut(response: ClientResponse): void {
  if (response.stream === undefined) response.destroy()
  else response.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
}

/** Sends a response head before there is content. */
export function flushHead(response: ClientResponse): void {
  // Node.js writes a head without content as UTF-8; Latin-1, which it uses with content, preserves every byte (RFC 9110 section 5.5).
  const socket = response.stream === undefined ? response.socket : null
  socket?.setDefaultEncoding('latin1')
  response.flushHeaders()
  socket?.setDefaultEncoding('utf8')
}

/** Makes the response classes of a server. Their `writeHead` and trailers never throw, since nothing would catch that in a stream's callback: invalid headers are omitted and reported. */
export function safeResponses(report: (error: unknown, request: IncomingMessage) => void): SafeResponses {
  class Http1Response extends ServerResponse {
    override writeHead(status: number, reason?: unknown, headers?: unknown): this {
      try {
        return super.writeHead(status, reason as never, headers as never)
      } catch (error) {
        report(error, this.req)
        this.statusMessage = ''
        this.#writeRest(status, headers ?? reason)
      }
      return this
    }

    #writeRest(status: number, headers: unknown): void {
      if (this.headersSent) return
      try {
        super.writeHead(status >= 100 && status <= 999 ? status : 500, sendable(this, headers))
      } catch {
        this.destroy()
      }
    }
  }

  class Http2Response extends Http2ServerResponse {
    constructor(stream: ServerHttp2Stream) {
      super(stream)
      if (sendTrailers === undefined)
        sendTrailers = stream.listeners('wantTrailers')[0] as typeof sendTrailers
      stream.removeAllListeners('wantTrailers')
      stream.on('wantTrailers', sendTrailersSafely)
    }

    override writeHead(status: number, reason?: unknown, headers: unknown = reason): this {
      try {
        // Node.js destroys the stream if a name is invalid.
        if (typeof headers === 'object') for (const name in headers) validateHeaderName(name)
        if (status === 205) return this.#resetContent(headers)
        return super.writeHead(status, headers as never)
      } catch (error) {
        report(error, this.req as unknown as IncomingMessage)
        this.#writeRest(status, headers)
      }
      return this
    }

    // Node.js ends a 205 with its head, and resets the stream if content follows.
    #resetContent(headers: unknown): this {
      this.removeHeader('content-length')
      const kept = Object.entries(headers ?? {}).filter(([name]) => name.toLowerCase() !== 'content-length')
      super.writeHead(205, Object.fromEntries(kept) as never)
      this.write = () => true
      this.end = () => super.end()
      return this
    }

    #writeRest(status: number, headers: unknown): void {
      if (this.headersSent) return
      try {
        super.writeHead(status >= 200 && status <= 599 ? status : 500, sendable(this, headers))
      } catch {
        this.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
      }
    }
  }

  return { Http1Response, Http2Response }
}

/** The response classes of a server. */
export interface SafeResponses {
  readonly Http1Response: new (request: IncomingMessage) => ServerResponse
  readonly Http2Response: new (stream: ServerHttp2Stream) => Http2ServerResponse
}

interface HeaderStore {
  getHeaders(): OutgoingHttpHeaders
  removeHeader(name: string): void
}

// Node.js throws where one of these does not fit the message or the connection.
const NOT_SENDABLE = new Set([...CONNECTION_FIELDS, 'trailer'])

/** Removes invalid headers from a response, and returns the valid ones of an object. */
function sendable(response: HeaderStore, headers: unknown): OutgoingHttpHeaders {
  for (const [name, value] of Object.entries(response.getHeaders()))
    if (!isSendable(name, value)) response.removeHeader(name)
  const kept: OutgoingHttpHeaders = Object.create(null)
  if (Array.isArray(headers) || typeof headers !== 'object' || headers === null) return kept
  for (const [name, value] of Object.entries(headers)) if (isSendable(name, value)) kept[name] = value
  return kept
}

function isSendable(name: string, value: unknown): boolean {
  if (NOT_SENDABLE.has(name.toLowerCase())) return false
  try {
    validateHeaderName(name)
    for (const each of [value].flat()) validateHeaderValue(name, each as string)
    return true
  } catch {
    return false
  }
}

// Node's own listener, which all streams share.
let sendTrailers: ((this: ServerHttp2Stream) => void) | undefined

function sendTrailersSafely(this: ServerHttp2Stream): void {
  try {
    sendTrailers?.call(this)
  } catch {
    this.close(constants.NGHTTP2_INTERNAL_ERROR)
  }
}
