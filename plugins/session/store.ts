import { createHash } from 'node:crypto'
import { settleCallback } from '../../src/lib/callback.ts'
import type { Provided } from '../../src/lib/caller.ts'
import { startInterval, stopTimer, type Timer, wall } from '../../src/lib/clock.ts'
import { OpenStreams } from '../../src/lib/open-streams.ts'
import { type PendingEnd, pendingEnd } from './pending-ends.ts'

/** The data of a session. */
export interface SessionData {
  /** The name of a local user, or the provider's name of the user. */
  readonly user: string
  /** When it was created, in milliseconds since 1970. */
  readonly created: number
  readonly provided?: Provided
  /** The secrets of other log-ins that the same browser has started. */
  readonly begun?: readonly string[]
}

/** A session in a list for its user. */
export interface ListedSession {
  /** A public id, from which no cookie can be made. */
  readonly id: string
  readonly created: number
}

/** The index entry under which all sessions of a user are found. */
export const userIndex = (user: string): string => `user ${user}`
/** The index entry under which the sessions of one session at the provider are found. */
export const providerSessionIndex = (issuer: string, sid: string): string => `sid ${issuer} ${sid}`

/** Lists the index entries of a session. */
export const indexesOf = ({ user, provided }: SessionData): string[] => [
  userIndex(provided === undefined ? user : `${provided.issuer} ${provided.sub}`),
  ...(provided?.sid === undefined ? [] : [providerSessionIndex(provided.issuer, provided.sid)])
]

/** Returns the key of a session in the store: a hash, so that a reader of the store cannot make cookies. */
export const keyOf = (id: string): string => createHash('sha256').update(id).digest('base64url')

// Another gateway, or time, may have ended the sessions of open streams.
const STREAM_CHECK_INTERVAL_MS = 20_000
const STREAM_CHECKS_AT_A_TIME = 100

type Done = (error?: Error | null) => void

/** Sessions with an idle and an absolute timeout, in the interface that @fastify/session expects. */
export abstract class SessionStore {
  protected idle = 0
  protected absolute = 0
  protected readonly streams = new OpenStreams()
  #streamCheck: Timer | undefined
  #isKnownUser: (session: SessionData) => boolean = () => true

  /** Sets the idle and the absolute timeout, in milliseconds; a reload may change them. */
  setTimeouts(idle: number, absolute: number): void {
    this.idle = idle
    this.absolute = absolute
  }

  /** Stores a session; for @fastify/session. */
  set(id: string, session: object, done: Done): void {
    const data = session as Partial<SessionData>
    // An anonymous visitor's session is not stored.
    if (data.user === undefined) {
      done(null)
      return
    }
    const text = JSON.stringify({ ...data, created: data.created ?? wall() })
    callDone(this.write(keyOf(id), JSON.parse(text) as SessionData, text), done)
  }

  /** Reads a session and extends its idle timeout; for @fastify/session. */
  get(id: string, done: (error: Error | null, session?: never) => void): void {
    const text = this.readAndTouch(keyOf(id))
    const parsed = (error: unknown, found?: string): void =>
      done(error as Error | null, found === undefined ? undefined : (JSON.parse(found) as never))
    if (text instanceof Promise) settleCallback<string | undefined>(text, parsed)
    else parsed(null, text)
  }

  /** Removes a session; for @fastify/session. */
  destroy(id: string, done: Done): void {
    callDone(this.remove(keyOf(id)), done)
  }

  /** Replaces the data of a session; resolves to false, without storing it, if the session has ended. */
  async update(id: string, session: object): Promise<boolean> {
    const text = JSON.stringify(session)
    return this.replace(keyOf(id), JSON.parse(text) as SessionData, text)
  }

  /** Reads a session without extending its idle timeout; undefined if it has ended. */
  async peek(id: string): Promise<SessionData | undefined> {
    const text = await this.read(keyOf(id))
    return text === undefined ? undefined : (JSON.parse(text) as SessionData)
  }

  /** Calls `end` when a session ends: at once if this gateway ends it, else within half a minute. Returns a function that unsubscribes. */
  onEnd(id: string, end: () => void): () => void {
    this.#streamCheck ??= startInterval(() => void this.#checkStreams(), STREAM_CHECK_INTERVAL_MS).unref()
    return this.streams.add(keyOf(id), end)
  }

  /** Sets the check whether a session's user still exists, replacing the previous one. */
  setUserCheck(isKnownUser: (session: SessionData) => boolean): void {
    this.#isKnownUser = isKnownUser
  }

  /** Ends a session, or with `everywhere` all of its user, as soon as the store is available. */
  async endLater(id: string, { everywhere }: { readonly everywhere: boolean }): Promise<void> {
    await this.endWhenAvailable(pendingEnd({ key: keyOf(id), everywhere }))
  }

  /** Ends the sessions of an index entry as soon as the store is available. */
  async endIndexLater(index: string): Promise<void> {
    await this.endWhenAvailable(pendingEnd({ index }))
  }

  /** Ends the sessions of an index entry, or only the one of a public id; resolves to their number. */
  async end(index: string, only?: string): Promise<number> {
    const found = (await this.list(index)).filter(({ id }) => only === undefined || id === only)
    for (const { id } of found) await this.remove(id)
    return found.length
  }

  /** Returns the public id of a session. */
  publicId(id: string): string {
    return keyOf(id)
  }

  /** Stops the timers. */
  close(): void {
    stopTimer(this.#streamCheck)
  }

  /** Lists the live sessions of an index entry. */
  abstract list(index: string): Promise<ListedSession[]>

  protected abstract write(key: string, data: SessionData, text: string): void | Promise<void>
  /** Replaces an existing session; returns false if there is none. */
  protected abstract replace(key: string, data: SessionData, text: string): boolean | Promise<boolean>
  protected abstract read(key: string): string | undefined | Promise<string | undefined>
  /** Reads a session and extends its idle timeout, once that changes it by a tenth. */
  protected abstract readAndTouch(key: string): string | undefined | Promise<string | undefined>
  protected abstract remove(key: string): void | Promise<void>

  protected async endWhenAvailable(end: PendingEnd): Promise<void> {
    await this.endNow(end, end.key === undefined ? undefined : await this.read(end.key))
  }

  /** Carries out a pending end; `text` is the session of its key, if there is one. */
  protected async endNow(
    { key, everywhere, index, at }: PendingEnd,
    text: string | undefined
  ): Promise<void> {
    const indexes = index === undefined ? [] : [index]
    if (everywhere === true && text !== undefined)
      indexes.push(...indexesOf(JSON.parse(text) as SessionData).slice(0, 1))
    if (key !== undefined) await this.remove(key)
    for (const each of indexes)
      for (const { id, created } of await this.list(each)) if (created <= at) await this.remove(id)
  }

  /** Returns the remaining lifetime in milliseconds; a clock that was set back does not extend it. */
  protected remainingMs(created: number): number {
    return Math.min(this.idle, this.absolute - Math.max(0, wall() - created))
  }

  async #checkStreams(): Promise<void> {
    const keys = this.streams.keys()
    if (keys.length === 0) {
      stopTimer(this.#streamCheck)
      this.#streamCheck = undefined
    }
    for (let i = 0; i < keys.length; i += STREAM_CHECKS_AT_A_TIME)
      await Promise.all(
        keys.slice(i, i + STREAM_CHECKS_AT_A_TIME).map(async (key) => {
          try {
            const text = await this.read(key)
            if (text === undefined || !this.#isKnownUser(JSON.parse(text) as SessionData))
              this.streams.end(key)
          } catch {
            // Streams stay open while the store is unavailable.
          }
        })
      )
  }
}

function callDone(result: void | Promise<void>, done: Done): void {
  if (result instanceof Promise) settleCallback(result, (error) => done(error as Error | null))
  else done(null)
}
