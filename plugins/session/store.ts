import { createHash } from 'node:crypto'
import { settleCallback } from '../../src/lib/callback.ts'
import type { Provided } from '../../src/lib/caller.ts'
import { monotonic, startInterval, stopTimer, type Timer, wall } from '../../src/lib/clock.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import type { SharedStore } from '../../src/lib/contracts/store.ts'
import { OpenStreams } from '../../src/lib/open-streams.ts'
import { type LateEnd, LateEnds, lateEnd } from './late-ends.ts'

/** What a session remembers. */
export interface SessionData {
  /** The name of a local user, or what the provider calls the user. */
  readonly user: string
  /** When it began, in milliseconds since 1970. */
  readonly created: number
  readonly provided?: Provided
  /** Log-ins that the same browser had begun elsewhere, by their secrets. */
  readonly begun?: readonly string[]
}

/** A session as its owner sees it. */
export interface Listed {
  /** What it is called here; no cookie can be made of it. */
  readonly id: string
  readonly created: number
}

type Done = (error?: Error | null) => void

/** Finds what a session is stored under: who reads the store can't pretend to be anybody. */
const keyOf = (id: string): string => createHash('sha256').update(id).digest('base64url')

/** What a session can be found by, beside its id. */
export const ownedBy = (user: string): string => `user ${user}`
export const startedAt = (issuer: string, sid: string): string => `sid ${issuer} ${sid}`

const namesOf = ({ user, provided }: SessionData): string[] => [
  ownedBy(provided === undefined ? user : `${provided.issuer} ${provided.sub}`),
  ...(provided?.sid === undefined ? [] : [startedAt(provided.issuer, provided.sid)])
]

// How often the sessions of open streams are looked at, in milliseconds: another gateway may have ended them, or time has.
const LOOK_EVERY = 20_000
// How many of them are asked for at a time.
const LOOKED_AT = 100

/** Sessions with idle and absolute ends; a store as @fastify/session wants one. */
export abstract class SessionStore {
  protected idle = 0
  protected absolute = 0
  protected readonly streams = new OpenStreams()
  #looking: Timer | undefined
  #isKnown: (kept: SessionData) => boolean = () => true

  /** Sets how long sessions last, in milliseconds; a reload may change it. */
  last(idle: number, absolute: number): void {
    this.idle = idle
    this.absolute = absolute
  }

  set(id: string, session: object, done: Done): void {
    const kept = session as Partial<SessionData>
    // A session without a user is that of a visitor: nobody who never logs in is remembered.
    if (kept.user === undefined) {
      done(null)
      return
    }
    const text = JSON.stringify({ ...kept, created: kept.created ?? wall() })
    answer(this.write(keyOf(id), JSON.parse(text) as SessionData, text), done)
  }

  /** Changes what a session remembers; one that was ended meanwhile stays ended, which is told by a no. */
  async change(id: string, session: object): Promise<boolean> {
    const text = JSON.stringify(session)
    return this.rewrite(keyOf(id), JSON.parse(text) as SessionData, text)
  }

  get(id: string, done: (error: Error | null, session?: never) => void): void {
    const found = this.read(keyOf(id))
    const parsed = (error: unknown, text?: string): void =>
      done(error as Error | null, text === undefined ? undefined : (JSON.parse(text) as never))
    if (found instanceof Promise) settleCallback<string | undefined>(found, parsed)
    else parsed(null, found)
  }

  destroy(id: string, done: Done): void {
    answer(this.remove(keyOf(id)), done)
  }

  /** Reads a session without making it last longer; undefined once it is over. */
  async peek(id: string): Promise<SessionData | undefined> {
    const text = await this.look(keyOf(id))
    return text === undefined ? undefined : (JSON.parse(text) as SessionData)
  }

  /** Ends a stream when its session ends: at once where this gateway ends it, within half a minute otherwise; returns what takes it out again. */
  watch(id: string, end: () => void): () => void {
    this.#looking ??= startInterval(() => void this.#look(), LOOK_EVERY).unref()
    return this.streams.add(keyOf(id), end)
  }

  /** Sets the check whether a user may still have a session; the latest one counts. */
  judgeBy(isKnown: (kept: SessionData) => boolean): void {
    this.#isKnown = isKnown
  }

  /** Ends a session, or all of its user, as soon as the store answers. */
  async endLater(id: string, { everywhere }: { readonly everywhere: boolean }): Promise<void> {
    await this.late(lateEnd({ key: keyOf(id), everywhere }))
  }

  /** Ends the sessions of a name as soon as the store answers. */
  async endNameLater(name: string): Promise<void> {
    await this.late(lateEnd({ name }))
  }

  protected async late(late: LateEnd): Promise<void> {
    await this.endNow(late, late.key === undefined ? undefined : await this.look(late.key))
  }

  /** Ends what could not be ended when it was asked for; `text` is the session of the key, where there is one. */
  protected async endNow({ key, everywhere, name, at }: LateEnd, text: string | undefined): Promise<void> {
    const names = name === undefined ? [] : [name]
    if (everywhere === true && text !== undefined)
      names.push(...namesOf(JSON.parse(text) as SessionData).slice(0, 1))
    if (key !== undefined) await this.remove(key)
    for (const each of names)
      for (const { id, created } of await this.of(each)) if (created <= at) await this.remove(id)
  }

  async #look(): Promise<void> {
    const keys = this.streams.keys()
    if (keys.length === 0) {
      stopTimer(this.#looking)
      this.#looking = undefined
    }
    for (let i = 0; i < keys.length; i += LOOKED_AT)
      await Promise.all(
        keys.slice(i, i + LOOKED_AT).map(async (key) => {
          try {
            const text = await this.look(key)
            if (text === undefined || !this.#isKnown(JSON.parse(text) as SessionData)) this.streams.end(key)
          } catch {
            // While the store is away, what is open stays open.
          }
        })
      )
  }

  /** Lists the sessions of a name that still live. */
  abstract of(name: string): Promise<Listed[]>

  /** Ends sessions of a name, all of them or one; tells how many. */
  async end(name: string, only?: string): Promise<number> {
    const found = (await this.of(name)).filter(({ id }) => only === undefined || id === only)
    for (const { id } of found) await this.remove(id)
    return found.length
  }

  /** Ends what it does beside remembering. */
  close(): void {
    stopTimer(this.#looking)
  }

  /** Tells what a session is called in lists. */
  nameOf(id: string): string {
    return keyOf(id)
  }

  protected abstract write(key: string, kept: SessionData, text: string): void | Promise<void>
  protected abstract rewrite(key: string, kept: SessionData, text: string): boolean | Promise<boolean>
  /** Reads a session and moves its idle end, once that is by a tenth of the idle time. */
  protected abstract read(key: string): string | undefined | Promise<string | undefined>
  /** Reads a session and leaves its idle end where it is. */
  protected abstract look(key: string): string | undefined | Promise<string | undefined>
  protected abstract remove(key: string): void | Promise<void>

  /** Tells how much longer a session lasts, in milliseconds; a date that was set back since it began adds nothing. */
  protected leftOf(created: number): number {
    return Math.min(this.idle, this.absolute - Math.max(0, wall() - created))
  }
}

function answer(result: void | Promise<void>, done: Done): void {
  if (result instanceof Promise) settleCallback(result, (error) => done(error as Error | null))
  else done(null)
}

interface Entry {
  readonly text: string
  readonly created: number
  readonly names: readonly string[]
  ends: number
}

// How many sessions one process remembers; beyond that the one longest not used ends.
const MOST = 100_000

/** Sessions in the memory of this process, bounded. */
export class MemorySessions extends SessionStore {
  readonly #entries = new Map<string, Entry>()
  readonly #names = new Map<string, Set<string>>()

  /** Counts the sessions that are stored, ended ones that nobody came for included. */
  get size(): number {
    return this.#entries.size
  }

  async of(name: string): Promise<Listed[]> {
    const now = monotonic()
    return [...(this.#names.get(name) ?? [])].flatMap((id) => {
      const entry = this.#entries.get(id)
      return entry === undefined || entry.ends <= now ? [] : [{ id, created: entry.created }]
    })
  }

  protected write(key: string, kept: SessionData, text: string): void | Promise<void> {
    this.put(key, kept, text, this.endOf(kept.created))
  }

  /** Tells when a session ends, by the monotonic clock of the machine. */
  protected endOf(created: number): number {
    return monotonic() + this.leftOf(created)
  }

  /** Remembers a session. */
  protected put(key: string, kept: SessionData, text: string, ends: number): void {
    this.#drop(key)
    const names = namesOf(kept)
    this.#entries.set(key, { text, created: kept.created, names, ends })
    for (const name of names) {
      const keys = this.#names.get(name)
      if (keys === undefined) this.#names.set(name, new Set([key]))
      else keys.add(key)
    }
    if (this.#entries.size > MOST) this.#forget()
  }

  protected async rewrite(key: string, kept: SessionData, text: string): Promise<boolean> {
    if (this.read(key) === undefined) return false
    await this.write(key, kept, text)
    return this.look(key) !== undefined
  }

  protected read(key: string): string | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.ends <= monotonic()) {
      this.forget(key)
      return undefined
    }
    const ends = this.endOf(entry.created)
    if (Math.abs(ends - entry.ends) >= this.idle / 10) this.extend(key, ends)
    return entry.text
  }

  /** Moves the idle end of a session. */
  protected extend(key: string, ends: number): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.ends = ends
    this.#entries.delete(key)
    this.#entries.set(key, entry)
  }

  /** Lists the sessions with their ends. */
  protected all(): [key: string, text: string, ends: number][] {
    return [...this.#entries].map(([key, { text, ends }]) => [key, text, ends])
  }

  protected remove(key: string): void | Promise<void> {
    this.forget(key)
  }

  protected look(key: string): string | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined || entry.ends <= monotonic() ? undefined : entry.text
  }

  /** Remembers a session no longer, and ends its streams. */
  protected forget(key: string): void {
    this.#drop(key)
    this.streams.end(key)
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    for (const name of entry.names) {
      const keys = this.#names.get(name)
      keys?.delete(key)
      if (keys?.size === 0) this.#names.delete(name)
    }
  }

  #forget(): void {
    const now = monotonic()
    for (const [key, { ends }] of this.#entries) if (ends <= now) this.forget(key)
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= MOST) return
      this.forget(key)
    }
  }
}

/** What one worker tells the others of a session: that it has begun, has changed (where it is not over meanwhile), lasts longer, or is over. */
type SessionNews =
  | { key: string; text: string; ends: number; changed?: boolean }
  | { key: string; ends: number }
  | { key: string }

/** Sessions in the memory of each worker: who logs in at one is known to all before the answer goes out. */
export class PeerSessions extends MemorySessions {
  readonly #peers: Peers
  readonly #leave: () => void

  constructor(peers: Peers) {
    super()
    this.#peers = peers
    this.#leave = peers.join<SessionNews>(TOPIC, {
      take: (news) => this.#take(news),
      all: () => this.all().map(([key, text, ends]) => ({ key, text, ends }))
    })
  }

  override close(): void {
    super.close()
    this.#leave()
  }

  protected override async rewrite(key: string, kept: SessionData, text: string): Promise<boolean> {
    if (this.read(key) === undefined) return false
    const ends = this.endOf(kept.created)
    this.put(key, kept, text, ends)
    await this.#tell({ key, text, ends, changed: true })
    return this.look(key) !== undefined
  }

  protected override async write(key: string, kept: SessionData, text: string): Promise<void> {
    const ends = this.endOf(kept.created)
    this.put(key, kept, text, ends)
    await this.#tell({ key, text, ends })
  }

  protected override extend(key: string, ends: number): void {
    super.extend(key, ends)
    void this.#tell({ key, ends })
  }

  protected override async remove(key: string): Promise<void> {
    this.forget(key)
    await this.#tell({ key })
  }

  #tell(news: SessionNews): Promise<void> {
    return this.#peers.tell(TOPIC, news)
  }

  #take(news: SessionNews): void {
    const { key } = news
    if ('text' in news) {
      if (news.changed !== true || this.look(key) !== undefined)
        this.put(key, JSON.parse(news.text) as SessionData, news.text, news.ends)
    } else if ('ends' in news) super.extend(key, news.ends)
    else this.forget(key)
  }
}

const TOPIC = 'session'

const READ = `
local text = redis.call('GET', KEYS[1])
if not text then return false end
local idle, absolute = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local left = math.min(idle, cjson.decode(text).created + absolute - ms)
if left <= 0 then
  redis.call('DEL', KEYS[1])
  return false
end
if math.abs(left - redis.call('PTTL', KEYS[1])) >= idle / 10 then redis.call('PEXPIRE', KEYS[1], math.ceil(left)) end
return text`

/** What one worker tells the others where the store has the sessions: the key of one that is over, or what is to end once the store is back. */
type SharedNews = string | LateEnd

const SHARED_TOPIC = 'session over'

/** Sessions in the store that gateways share. */
export class SharedSessions extends SessionStore {
  readonly #store: SharedStore
  readonly #read: ReturnType<SharedStore['script']>
  readonly #peers: Peers | null
  readonly #leave: () => void
  readonly #late: LateEnds

  constructor(store: SharedStore, peers: Peers | null) {
    super()
    this.#store = store
    this.#read = store.script('session', 1, READ)
    this.#late = new LateEnds(
      () => store.up,
      async (late) => {
        const text = late.key === undefined ? null : await store.call('GET', this.#at(late.key))
        await this.endNow(late, (text as string | null) ?? undefined)
      }
    )
    this.#peers = peers
    this.#leave =
      peers?.join<SharedNews>(SHARED_TOPIC, {
        take: (news) => (typeof news === 'string' ? this.streams.end(news) : this.#late.add(news)),
        all: () => []
      }) ?? (() => {})
  }

  override close(): void {
    super.close()
    this.#late.close()
    this.#leave()
  }

  protected override async late(late: LateEnd): Promise<void> {
    this.#late.add(late)
    if (late.key !== undefined) this.streams.end(late.key)
    await this.#peers?.tell(SHARED_TOPIC, late satisfies SharedNews)
  }

  async of(name: string): Promise<Listed[]> {
    const index = this.#index(name)
    await this.#store.call('ZREMRANGEBYSCORE', index, '-inf', wall())
    const keys = (await this.#store.call('ZRANGE', index, 0, -1)) as string[]
    const texts = await Promise.all(keys.map((key) => this.#store.call('GET', this.#at(key))))
    return keys.flatMap((id, i) => {
      const text = texts[i] as string | null
      return text === null ? [] : [{ id, created: (JSON.parse(text) as SessionData).created }]
    })
  }

  protected async write(key: string, kept: SessionData, text: string): Promise<void> {
    const last = kept.created + this.absolute
    for (const name of namesOf(kept)) {
      const index = this.#index(name)
      await this.#store.call('ZADD', index, last, key)
      await this.#store.call('PEXPIREAT', index, last)
    }
    const left = Math.max(1, this.leftOf(kept.created))
    await this.#store.call('SET', this.#at(key), text, 'PX', left)
  }

  protected async rewrite(key: string, kept: SessionData, text: string): Promise<boolean> {
    const left = Math.max(1, this.leftOf(kept.created))
    return (await this.#store.call('SET', this.#at(key), text, 'XX', 'PX', left)) !== null
  }

  protected async read(key: string): Promise<string | undefined> {
    return this.#unlessOver(
      key,
      (await this.#read([this.#at(key)], [this.idle, this.absolute])) as string | null
    )
  }

  protected async look(key: string): Promise<string | undefined> {
    return this.#unlessOver(key, (await this.#store.call('GET', this.#at(key))) as string | null)
  }

  protected async remove(key: string): Promise<void> {
    await this.#store.call('DEL', this.#at(key))
    this.streams.end(key)
    await this.#peers?.tell(SHARED_TOPIC, key satisfies SharedNews)
  }

  #unlessOver(key: string, text: string | null): string | undefined {
    if (text === null) return undefined
    if (this.#late.isEmpty) return text
    const kept = JSON.parse(text) as SessionData
    return this.#late.covers(key, namesOf(kept), kept.created) ? undefined : text
  }

  #at(key: string): string {
    return `${this.#store.prefix}session:${key}`
  }

  #index(name: string): string {
    return `${this.#store.prefix}sessions:${keyOf(name)}`
  }
}
