import { monotonic, startInterval, stopTimer, type Timer } from '../../../src/lib/clock.ts'
import type { Script, SharedStore } from '../../../src/lib/contracts/store.ts'
import type { Entry } from '../entry.ts'
import type { Purges } from './purges.ts'
import { compilePurge, type Purge, type PurgeNames, type PurgeState, PurgeTable } from './table.ts'

// How often other gateways' purges are asked for, in ms.
const POLL_INTERVAL_MS = 400

// A lookup asks by itself if the last answer is older than this, in ms.
const MAX_UNKNOWN_MS = 900

// Longer than any entry is stored (entry.ts), in ms.
const PURGES_TTL_MS = 400 * 86_400_000

// Purges that wait for the store; beyond these, everything is purged.
const MAX_PENDING = 1000

// Makes a purge newer than all that are known, and older than any that the store will give a stamp to.
const UNSENT_STEP = 0.0009765625

// A sorted set of what was purged, by stamps that rise even where the clock of the store is set back: "h" or "s" (hard or
// soft), then "all", "l" and a length of prefixes, or a slot.
const PURGE = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local stamp = math.max(now, tonumber(newest[2] or 0) + 1)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], string.format('%.0f', stamp), ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return string.format('%.0f', stamp)`

/** Purges that gateways share through Redis: each of them knows of one within a second. */
export class SharedPurges implements Purges {
  readonly #store: SharedStore
  readonly #key: string
  readonly #script: Script
  readonly #table = new PurgeTable()
  readonly #timer: Timer
  #pending: Purge[] = []
  // The newest purge that a poll has returned; a purge of this gateway may be newer than one that is not known yet.
  #polledTo = 0
  #polledAt = Number.NEGATIVE_INFINITY
  #polling: Promise<boolean> | undefined

  constructor(store: SharedStore) {
    this.#store = store
    this.#key = `${store.prefix}cache:purges`
    this.#script = store.script('cachepurge', 1, PURGE)
    this.#timer = startInterval(() => void this.#poll(), POLL_INTERVAL_MS).unref()
    void this.#poll()
  }

  get stamp(): number {
    return this.#table.last
  }

  stateOf(entry: Entry): PurgeState {
    return this.#table.stateOf(entry)
  }

  async purge(names: PurgeNames): Promise<void> {
    const purge = compilePurge(names)
    try {
      await this.#write(purge)
    } catch (error) {
      // It counts here at once, and elsewhere as soon as the store is back. The store's next stamp is greater.
      this.#table.apply(purge, this.#table.last + UNSENT_STEP)
      this.#pending = this.#pending.length < MAX_PENDING ? [...this.#pending, purge] : [EVERYTHING]
      throw error
    }
  }

  refresh(): Promise<boolean> | undefined {
    return monotonic() - this.#polledAt < MAX_UNKNOWN_MS ? undefined : this.#poll()
  }

  close(): void {
    stopTimer(this.#timer)
  }

  async #write(purge: Purge): Promise<void> {
    const stamp = await this.#script([this.#key], [PURGES_TTL_MS, ...membersOf(purge)])
    this.#table.apply(purge, Number(stamp))
  }

  /** Learns of new purges, one request at a time; resolves to whether all are known now. */
  #poll(): Promise<boolean> {
    this.#polling ??= this.#pollOnce().finally(() => {
      this.#polling = undefined
    })
    return this.#polling
  }

  async #pollOnce(): Promise<boolean> {
    const askedAt = monotonic()
    try {
      for (let purge = this.#pending[0]; purge !== undefined; purge = this.#pending[0]) {
        await this.#write(purge)
        this.#pending = this.#pending.filter((each) => each !== purge)
      }
      const since = `(${this.#polledTo}`
      const members = await this.#store.call('ZRANGEBYSCORE', this.#key, since, '+inf', 'WITHSCORES')
      // RESP3 has pairs, RESP2 members and scores in turn.
      for (const [purge, stamp] of purgesIn((members as unknown[]).flat().map(String))) {
        this.#table.apply(purge, stamp)
        this.#polledTo = Math.max(this.#polledTo, stamp)
      }
      this.#polledAt = askedAt
      return true
    } catch {
      return false
    }
  }
}

const EVERYTHING: Purge = { slots: [], lengths: [], all: true, soft: false }

function membersOf({ slots, lengths, all, soft }: Purge): string[] {
  const kind = soft ? 's' : 'h'
  return [
    ...(all ? [`${kind}all`] : []),
    ...lengths.map((length) => `${kind}l${length}`),
    ...slots.map((slot) => `${kind}${slot}`)
  ]
}

/** Reads members and stamps in turn. */
function purgesIn(members: readonly string[]): [Purge, number][] {
  const purges: [Purge, number][] = []
  for (let i = 0; i < members.length; i += 2) {
    const [, kind, what = ''] = /^([hs])(all|l?\d+)$/.exec(members[i] as string) ?? []
    if (kind === undefined) continue
    const soft = kind === 's'
    const number = Number(what.replace('l', ''))
    const purge =
      what === 'all'
        ? { slots: [], lengths: [], all: true, soft }
        : what.startsWith('l')
          ? { slots: [], lengths: [number], all: false, soft }
          : { slots: [number], lengths: [], all: false, soft }
    purges.push([purge, Number(members[i + 1])])
  }
  return purges
}
