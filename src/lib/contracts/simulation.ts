import type { FastifyRequest } from 'fastify'
import type { Caller } from '../caller.ts'

/** Sees the requests of a gateway, and what it sends to upstreams for them. */
export interface RequestObserver {
  /** Called with each request, before any gate has run. */
  onRequest(request: FastifyRequest): void
  /** Called with each request to an upstream that is sent for a client. */
  onUpstreamRequest?(sent: UpstreamRequest, source: FastifyRequest): void
}

/** A target by its upstream. */
export interface NamedTarget {
  /** The name of the upstream, or the URL that stands in its place. */
  readonly upstream: string
  /** The URL of the target. */
  readonly target: string
}

/** A request to an upstream, as it is sent. */
export interface UpstreamRequest extends NamedTarget {
  readonly method: string
  /** The path and query. */
  readonly path: string
  /** Lower-case names and values in turn. */
  readonly headers: readonly string[]
  /** Milliseconds from the last byte of the request to the response headers; 0 for no limit. */
  readonly headersTimeout: number
  /** The body, without what exceeds 1 MiB; undefined where it is streamed. */
  readonly body?: Buffer
  /** The gate of a traced request that sends it; undefined for the target. */
  readonly gate?: string | undefined
}

/** Stands in for everything outside of a gateway that is only simulated: it opens no connection and calls no service. */
export interface Simulation extends RequestObserver {
  /** Returns what an upstream, or a provider, sends for a request. */
  respond(call: UpstreamCall): SimulatedResponse
  /** Returns what stands in for the result of an authentication strategy: a caller, null for no credential, or undefined where the strategy itself runs. */
  callerFor(request: FastifyRequest, strategy: string): Caller | null | undefined
  /** Returns whether a concern's gates are left out, because they might call a service that is not simulated. */
  leavesOut(key: string): boolean
  /** Returns the JSON Web Key Set that stands in for that of every issuer, and is added to those in files; undefined where there is none. */
  readonly keySet: (() => Promise<string>) | undefined
  /** Called at boot with what forgets the state that requests leave in a concern, so that the next test finds the gateway as new. */
  onRenew(forget: () => void): void
  /** Called at boot with each issuer whose tokens are accepted. */
  onIssuer(issuer: AcceptedIssuer): void
}

/** What a token needs to be accepted. */
export interface AcceptedIssuer {
  readonly issuer: string | undefined
  readonly audience: string | undefined
  readonly algorithms: readonly string[]
  readonly rolesClaim: string
  readonly scopesClaim: string
  /** Where a token is read from: "header:NAME" or "query:NAME". */
  readonly from: readonly string[]
  /** What verifies it: the keys of `keySet`, or a secret. */
  readonly keys: 'keySet' | { readonly secret: string }
}

/** A request as an upstream would get it, with its body. */
export interface UpstreamCall extends UpstreamRequest {
  readonly body: Buffer
  /** Whether it serves a request of a client; others are requests of the gateway itself. */
  readonly isForwarded: boolean
}

/** What comes back: a response, or "hang" for none, "refuse" for a refused connection, "cut" for a connection that closes first. */
export type SimulatedResponse =
  | 'hang'
  | 'refuse'
  | 'cut'
  | {
      readonly status: number
      /** Lower-case names and values in turn. */
      readonly headers: readonly string[]
      readonly body: Buffer
      /** Milliseconds until it comes. */
      readonly delay?: number
    }

declare module 'fastify' {
  interface FastifyInstance {
    /** What stands in for the services around the gateway; null where it serves requests. */
    simulation: Simulation | null
    /** What sees the requests of this instance; null for most. */
    observer: RequestObserver | null
  }
}
