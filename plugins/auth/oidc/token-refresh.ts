import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { ResponseBodyError } from 'openid-client'
import type { Provided } from '../../../src/lib/caller.ts'
import { monotonic, startTimer } from '../../../src/lib/clock.ts'
import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { Store } from '../../../src/lib/contracts/store.ts'

/** The stored session whose tokens are refreshed. */
export interface StoredSession {
  /** Reads the stored provider data; undefined if the session has ended. */
  read(): Promise<Provided | undefined>
  /** Stores refreshed tokens; resolves to false if the session has ended. */
  write(refreshed: Provided): Promise<boolean>
}

/** The refreshed tokens; "ended" if the provider has ended the session, "gone" if it has ended here, undefined if the provider is unavailable. */
export type RefreshResult = Provided | 'ended' | 'gone' | undefined

interface Parts {
  readonly store: Store
  readonly peers: Peers | null
  /** Requests new tokens from the provider. */
  readonly request: (before: Provided) => Promise<Provided>
  readonly onFailure: (error: unknown) => void
}

// The pause after a refresh that the provider did not answer.
const RETRY_DELAY_MS = 60_000
const LOCK_TTL_MS = 30_000
const MAX_LOCK_WAIT_MS = 8000

// The OAuth errors after which the user has to log in again (OpenID Connect Core 1.0 section 3.1.2.6).
const SESSION_ENDED: ReadonlySet<string> = new Set([
  'invalid_grant',
  'interaction_required',
  'login_required',
  'consent_required',
  'account_selection_required'
])

/** Refreshes tokens, once for all requests, workers and gateways: many providers end a session when a refresh token is used twice. */
export class TokenRefresh {
  readonly #parts: Parts
  readonly #running = new Map<string, Promise<RefreshResult>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Refreshes the tokens of a session, or returns those that another request has just stored. */
  run(provided: Provided, session: StoredSession): Promise<RefreshResult> {
    const { refreshToken = '' } = provided
    const running = this.#running.get(refreshToken)
    if (running !== undefined) return running
    const refresh = this.#lockAndRefresh(provided, session)
    this.#running.set(refreshToken, refresh)
    const forget = (): void => void this.#running.delete(refreshToken)
    void refresh.then((result) => {
      // An unavailable provider is not asked again with every request.
      if (result === undefined) startTimer(forget, RETRY_DELAY_MS).unref()
      else forget()
    })
    return refresh
  }

  async #lockAndRefresh(provided: Provided, session: StoredSession): Promise<RefreshResult> {
    try {
      const { refreshToken = '' } = provided
      const lock = `renewal:${createHash('sha256').update(refreshToken).digest('base64url')}`
      const holder = randomUUID()
      const deadline = monotonic() + MAX_LOCK_WAIT_MS
      for (let pause = 25; !(await this.#lock(lock, holder)); pause = Math.min(pause * 2, 250)) {
        if (monotonic() > deadline) return undefined
        await wait(pause, undefined, { ref: false })
        const stored = await session.read()
        if (stored === undefined) return 'gone'
        if (isNewer(stored, provided)) return stored
      }
      try {
        return await this.#refresh(provided, session)
      } finally {
        await this.#unlock(lock, holder)
      }
    } catch (error) {
      this.#parts.onFailure(error)
      return undefined
    }
  }

  async #refresh(provided: Provided, session: StoredSession): Promise<RefreshResult> {
    const before = await session.read()
    if (before === undefined) return 'gone'
    if (isNewer(before, provided)) return before
    try {
      const refreshed = await this.#parts.request(provided)
      return (await session.write(refreshed)) ? refreshed : 'gone'
    } catch (error) {
      this.#parts.onFailure(error)
      if (!(error instanceof ResponseBodyError) || !SESSION_ENDED.has(error.error)) return undefined
      // Another gateway may have used the token first, if the lock expired.
      const stored = await session.read()
      if (stored === undefined) return 'gone'
      return isNewer(stored, provided) ? stored : 'ended'
    }
  }

  async #lock(name: string, holder: string): Promise<boolean> {
    const { store, peers } = this.#parts
    const { shared } = store
    if (shared !== null)
      return (await shared.call('SET', shared.prefix + name, holder, 'NX', 'PX', LOCK_TTL_MS)) !== null
    return peers === null || peers.lock(name, LOCK_TTL_MS)
  }

  async #unlock(name: string, holder: string): Promise<void> {
    const { store, peers } = this.#parts
    const { shared } = store
    if (shared === null) peers?.unlock(name)
    // Without the store the lock expires by itself.
    else
      await shared
        .script(
          'unlock',
          1,
          UNLOCK
        )([shared.prefix + name], [holder])
        .catch(() => {})
  }
}

// An expired lock may have another holder.
const UNLOCK = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** Returns whether tokens are from a later refresh than others. */
const isNewer = (one: Provided, other: Provided): boolean =>
  one.refreshToken !== other.refreshToken || (one.renewAt ?? 0) > (other.renewAt ?? 0)
