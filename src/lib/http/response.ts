import { type IncomingMessage, ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http'
import { constants, Http2ServerResponse, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { fieldsByName } from './headers.ts'
import { OF_THE_CONNECTION } from './hop-by-hop.ts'

// Every call here can throw or destroy a stream in the middle of a callback of the upstream's connection, where no
// request's own try is: this file is the one place where that is caught.

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

/** Writes a final response head; returns the error where that fails: then nothing was sent, and another head may follow. */
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
    // Node.js keeps what it took over before it threw, and would use it for the next head.
    response.statusMessage = ''
    response._hasBody = hasBody
    throw error
  }
}

// The response's own method would leave out what it can't send.
const { writeHead: writeNodeHead } = ServerResponse.prototype as unknown as {
  writeHead(this: ServerResponse, status: number, reason: string, fields: readonly string[]): void
}

function writeHttp2Head(
  response: ServerResponse,
  stream: ServerHttp2Stream,
  { status, fields, endStream }: ResponseHead
): void {
  // The client has left.
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

/** Tells whether Node.js has ended an HTTP/2 response with its head, as it does for a 205. */
export const endedWithHead = ({ stream }: ClientResponse): boolean => stream?.writableEnded === true

/** Writes an interim response (RFC 9110 section 15.2); one that can't be written is left out. HTTP/1.0 has none. */
export function writeInterim(response: ClientResponse, status: number, fields: readonly string[]): void {
  const { stream, req } = response
  try {
    if (stream !== undefined) {
      const headers: OutgoingHttpHeaders = fieldsByName(fields)
      headers[':status'] = status
      stream.additionalHeaders(headers)
    } else if (req.httpVersionMinor > 0) response.writeInformation?.(status, fields as never)
  } catch {
    // The final response matters more than a hint.
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

/** Cuts a response, so that no client takes what it has for the whole. */
export function cut(response: ClientResponse): void {
  if (response.stream === undefined) response.destroy()
  else response.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
}

/** Sends a response head that no content follows at once. */
export function flushHead(response: ClientResponse): void {
  // Node.js writes a head with content as Latin-1, which keeps every byte (RFC 9110 section 5.5), and one by itself as UTF-8.
  const socket = response.stream === undefined ? response.socket : null
  socket?.setDefaultEncoding('latin1')
  response.flushHeaders()
  socket?.setDefaultEncoding('utf8')
}

/** Makes the response classes of a server, whose `writeHead` and trailers never throw: what can't be sent is left out and reported. Fastify writes heads from callbacks of streams, and Node.js trailers from one of the session, where nothing catches an error. */
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
        // Node.js destroys the stream where a name is invalid.
        if (typeof headers === 'object') for (const name in headers) validateHeaderName(name)
        if (status === 205) return this.#resetContent(headers)
        return super.writeHead(status, headers as never)
      } catch (error) {
        report(error, this.req as unknown as IncomingMessage)
        this.#writeRest(status, headers)
      }
      return this
    }

    // Node.js ends a 205 with its head, and resets the stream where content follows.
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

// Each of them frames the message or belongs to one connection, and Node.js throws where it does not fit.
const NOT_SENDABLE = new Set([...OF_THE_CONNECTION, 'trailer'])

/** Removes from a response the headers that can't be sent, and returns those of a list or an object that can. */
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

// Node.js's own listener; it is the same for all streams.
let sendTrailers: ((this: ServerHttp2Stream) => void) | undefined

function sendTrailersSafely(this: ServerHttp2Stream): void {
  try {
    sendTrailers?.call(this)
  } catch {
    this.close(constants.NGHTTP2_INTERNAL_ERROR)
  }
}
