import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Provided } from '../../src/lib/caller.ts'
import type { ReturnAddresses } from './return-addresses.ts'
import type { Seal } from './seal.ts'
import type { ListedSession, SessionData } from './store.ts'

/** Loads, starts and ends sessions. */
export interface Sessions {
  /** Loads the session of a request's cookie; null without a valid one, and while the store is unavailable. */
  load(request: FastifyRequest, reply: FastifyReply): Promise<SessionData | null>
  /** Reads the session of a request's cookie into `request.session`; throws SP_ERR_STORE_UNAVAILABLE. */
  read(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Starts a session under a new id, replacing the request's session, and sets its cookie; throws SP_ERR_STORE_UNAVAILABLE. */
  start(request: FastifyRequest, reply: FastifyReply, data: Omit<SessionData, 'created'>): Promise<void>
  /** Reads the stored provider data of a request's session; undefined if the session has ended. */
  readProvided(request: FastifyRequest): Promise<Provided | undefined>
  /** Stores the provider data of a request's session; resolves to false if the session has ended. */
  updateProvided(request: FastifyRequest, provided: Provided): Promise<boolean>
  /** Ends the session of a request and clears its cookie. */
  end(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Clears the cookie and ends the request's session, or with `everywhere` all of its user, once the store is available. Resolves to false if the request has no signed session cookie. */
  endLater(
    request: FastifyRequest,
    reply: FastifyReply,
    options: { readonly everywhere: boolean }
  ): Promise<boolean>
  /** Calls `end` when the request's session ends; returns a function that unsubscribes. */
  onEnd(request: FastifyRequest, end: () => void): () => void
  /** Sets the check whether a session's user still exists, for open streams. */
  setUserCheck(isKnownUser: (session: SessionData) => boolean): void
  /** Lists the sessions of the request's user. */
  listOwn(request: FastifyRequest): Promise<(ListedSession & { readonly current: boolean })[]>
  /** Ends the sessions of the request's user, or only the one of a public id; resolves to their number. */
  endOwn(request: FastifyRequest, only?: string): Promise<number>
  /** Ends sessions for their provider, by its session id or its user, and resolves to their number. Throws SP_ERR_STORE_UNAVAILABLE, and then ends them once the store is available. */
  endProvided(issuer: string, by: { readonly sid: string } | { readonly sub: string }): Promise<number>
  readonly routes: {
    readonly login: string
    readonly logout: string
    readonly who: string
    readonly callback: string
  }
  /** Encrypts the state that a browser carries during a log-in. */
  readonly seal: Seal
  /** Stores return addresses that are too long for that state. */
  readonly addresses: Pick<ReturnAddresses, 'save' | 'find'>
  /** The attributes of the cookies that belong to a log-in. */
  readonly cookie: {
    readonly httpOnly: true
    readonly secure: boolean | 'auto'
    readonly sameSite: 'lax' | 'strict'
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The sessions of this gateway; null if no secret is configured. */
    sessions: Sessions | null
    /** The name of the session cookie, which is never forwarded; null if there are no sessions. */
    sessionCookie: string | null
  }
  interface Session {
    user?: string
    created?: number
    provided?: Provided
    begun?: readonly string[]
  }
}
