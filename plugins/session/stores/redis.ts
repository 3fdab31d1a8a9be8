import { wall } from '../../../src/lib/clock.ts'
import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { SharedStore } from '../../../src/lib/contracts/store.ts'
import { type PendingEnd, PendingEnds } from '../pending-ends.ts'
import { indexesOf, keyOf, type ListedSession, type SessionData, SessionStore } from '../store.ts'

const TOPIC = 'session over'

/** A message between workers: the key of a session that has ended, or an end that waits for the store. */
type EndMessage = string | PendingEnd

/** Sessions in the Redis that gateways share. */
export class RedisSessions extends SessionStore {
  readonly #store: SharedStore
  readonly #readAndTouch: ReturnType<SharedStore['script']>
  readonly #peers: Peers | null
  readonly #leave: () => void
  readonly #pending: PendingEnds

  constructor(store: SharedStore, peers: Peers | null) {
    super()
    this.#store = store
    this.#readAndTouch = store.script('session', 1, READ_AND_TOUCH)
    this.#pending = new PendingEnds(
      () => store.up,
      async (end) => {
        const text = end.key === undefined ? null : await store.call('GET', this.#redisKey(end.key))
        await this.endNow(end, (text as string | null) ?? undefined)
      }
    )
    this.#peers = peers
    this.#leave =
      peers?.join<EndMessage>(TOPIC, {
        receive: (message) =>
          typeof message === 'string' ? this.streams.end(message) : this.#pending.add(message),
        snapshot: () => []
      }) ?? (() => {})
  }

  override close(): void {
    super.close()
    this.#pending.close()
    this.#leave()
  }

  async list(index: string): Promise<ListedSession[]> {
    const redisIndex = this.#redisIndex(index)
    await this.#store.call('ZREMRANGEBYSCORE', redisIndex, '-inf', wall())
    const keys = (await this.#store.call('ZRANGE', redisIndex, 0, -1)) as string[]
    const texts = await Promise.all(keys.map((key) => this.#store.call('GET', this.#redisKey(key))))
    return keys.flatMap((id, i) => {
      const text = texts[i] as string | null
      return text === null ? [] : [{ id, created: (JSON.parse(text) as SessionData).created }]
    })
  }

  protected async write(key: string, data: SessionData, text: string): Promise<void> {
    const expiresAt = data.created + this.absolute
    for (const index of indexesOf(data)) {
      const redisIndex = this.#redisIndex(index)
      await this.#store.call('ZADD', redisIndex, expiresAt, key)
      await this.#store.call('PEXPIREAT', redisIndex, expiresAt)
    }
    const ttl = Math.max(1, this.remainingMs(data.created))
    await this.#store.call('SET', this.#redisKey(key), text, 'PX', ttl)
  }

  protected async replace(key: string, data: SessionData, text: string): Promise<boolean> {
    const ttl = Math.max(1, this.remainingMs(data.created))
    return (await this.#store.call('SET', this.#redisKey(key), text, 'XX', 'PX', ttl)) !== null
  }

  protected async read(key: string): Promise<string | undefined> {
    return this.#unlessEnded(key, (await this.#store.call('GET', this.#redisKey(key))) as string | null)
  }

  protected async readAndTouch(key: string): Promise<string | undefined> {
    const text = await this.#readAndTouch([this.#redisKey(key)], [this.idle, this.absolute])
    return this.#unlessEnded(key, text as string | null)
  }

  protected async remove(key: string): Promise<void> {
    await this.#store.call('DEL', this.#redisKey(key))
    this.streams.end(key)
    await this.#peers?.broadcast(TOPIC, key satisfies EndMessage)
  }

  protected override async endWhenAvailable(end: PendingEnd): Promise<void> {
    this.#pending.add(end)
    if (end.key !== undefined) this.streams.end(end.key)
    await this.#peers?.broadcast(TOPIC, end satisfies EndMessage)
  }

  #unlessEnded(key: string, text: string | null): string | undefined {
    if (text === null) return undefined
    if (this.#pending.isEmpty) return text
    const data = JSON.parse(text) as SessionData
    return this.#pending.covers(key, indexesOf(data), data.created) ? undefined : text
  }

  #redisKey(key: string): string {
    return `${this.#store.prefix}session:${key}`
  }

  #redisIndex(index: string): string {
    return `${this.#store.prefix}sessions:${keyOf(index)}`
  }
}

const READ_AND_TOUCH = `
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
