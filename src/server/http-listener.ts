import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Server } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { safeResponses } from '../lib/http/response.ts'
import type { Connections } from './connections.ts'

/** The listening socket, over HTTP or TLS. */
export interface Listener {
  readonly server: Server
  /** Makes the response to an upgrade request, for which Node.js makes none. */
  responseTo(request: IncomingMessage): ServerResponse
  /** Applies an instance's connection settings without a restart. */
  apply(app: FastifyInstance): void
  /** Closes idle connections, and sends GOAWAY to HTTP/2 sessions. */
  closeIdle(): void
  /** Tells clients to send no further request on their connections: "Connection: close" on responses in flight, GOAWAY over HTTP/2. */
  closeAfterResponses(): void
  closeAll(): void
}

/** What both kinds of listener are made of. */
export interface ListenerParts {
  /** Options of every Node.js server that parses HTTP/1.1. */
  readonly httpOptions: object
  readonly connections: Connections
  readonly responses: ReturnType<typeof safeResponses>
  readonly currentApp: () => FastifyInstance
}

/** Makes the server for plain HTTP. */
export function makeHttpListener({ httpOptions, connections, responses }: ListenerParts): Listener {
  const server = createServer(httpOptions as never)
  server.on('connection', (socket) => connections.add(socket))
  return {
    server,
    responseTo: (request) => new responses.Http1Response(request),
    apply: (next) => applyHttpSettings(server, next),
    closeIdle: () => server.closeIdleConnections(),
    closeAfterResponses: () => connections.closeAfterResponses(),
    closeAll: () => server.closeAllConnections()
  }
}

/** Applies the settings of HTTP/1 connections; Node.js reads these at each use, so that they change without a restart. */
export function applyHttpSettings(
  server: HttpServer,
  { socketLimits, maxConnections }: FastifyInstance
): void {
  server.maxHeaderSize = socketLimits.headers
  server.headersTimeout = socketLimits.headerTime
  server.keepAliveTimeout = socketLimits.idle
  server.maxConnections = maxConnections
}
