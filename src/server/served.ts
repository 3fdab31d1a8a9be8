import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { TracedRequests } from './traced-requests.ts'

/** Where a gateway listens, and how it stops. */
export interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly log: Logger
  /** Sockets that are open already, by file descriptor, instead of `host` and `port`. */
  readonly inherited?: { readonly main?: number; readonly redirect?: number }
  /** Time between "not ready" and the end of new connections, in ms; 0 by default. */
  readonly drainDelay?: number
  /** How long requests in flight may take after that, and WebSockets after a swap, in ms; 30,000 by default. */
  readonly drainTimeout?: number
  readonly tracedRequests?: TracedRequests
  /** Whether connections come without TLS, whatever the config says. */
  readonly isPlain?: boolean
}

/** The listening sockets of a gateway. */
export interface Served {
  readonly address: AddressInfo
  /** The plain port that redirects to https; undefined where there is none. */
  readonly redirects: number | undefined
  /** Returns the current load. */
  load(): Load
  /** Counts the open connections. */
  connections(): Promise<number>
  /** Replaces the current instance, which closes after its last response; throws a RestartNeeded. */
  swap(next: FastifyInstance): void
  /** Stops gracefully: not ready, then no new connections, then waits for requests in flight. Resolves to false where some were cut. */
  drain(): Promise<boolean>
  /** Stops at once. */
  close(): Promise<void>
}

/** The load of a listening socket at a moment. */
export interface Load {
  /** The requests without a response, including WebSockets. */
  readonly inFlight: number
  readonly webSockets: number
  /** The requests so far. */
  readonly requests: number
  /** The number of instances that have been swapped in, including the first. */
  readonly generation: number
  readonly draining: boolean
}

/** The config change needs a restart; the new instance is not used. */
export class RestartNeeded extends Error {}
