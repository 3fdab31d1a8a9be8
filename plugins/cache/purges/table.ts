import { wall } from '../../../src/lib/clock.ts'
import { hash32 } from '../../../src/lib/hash.ts'
import type { Entry } from '../entry.ts'

// A purge writes one number into the slot of each name, so that the memory for any number of names is the same. Names
// that share a slot are purged together, which is safe.
const SLOTS = 65_536

// Prefixes can have as many lengths; beyond them, what is older than the oldest one counts as purged.
const MAX_PREFIX_LENGTHS = 64

/** What is purged: names that have a slot each, the lengths of prefixes among them, or everything. */
export interface Purge {
  readonly slots: readonly number[]
  /** The lengths of those slots that stand for the first characters of URLs. */
  readonly lengths: readonly number[]
  readonly all: boolean
  /** Whether entries become stale instead of invalid. */
  readonly soft: boolean
}

/** A request to purge, as the admin listener and responses of upstreams make it. */
export interface PurgeNames {
  readonly tags?: readonly string[]
  /** Groups of one host (RFC 9875). */
  readonly groups?: readonly { readonly host: string; readonly name: string }[]
  /** URLs as `//host/path?query`, or as `/path?query` for all hosts. */
  readonly urls?: readonly string[]
  readonly prefixes?: readonly string[]
  readonly all?: boolean
  readonly soft?: boolean
}

/** Returns the slot of a tag. */
export const tagSlot = (tag: string): number => slotOf('tag', tag)

/** Returns the slot of a group of a host. */
export const groupSlot = (host: string, name: string): number => slotOf('group', `${host} ${name}`)

/** Returns the slot of a URL. */
export const urlSlot = (url: string): number => slotOf('url', url)

const prefixSlot = (prefix: string): number => slotOf('prefix', prefix)

const slotOf = (kind: string, name: string): number => hash32(`${kind} ${name}`) % SLOTS

/** Returns a URL without its host. */
export const pathOfUrl = (url: string): string => url.slice(url.indexOf('/', 2))

/** Compiles what is to be purged. */
export function compilePurge(names: PurgeNames): Purge {
  const { tags = [], groups = [], urls = [], prefixes = [], all = false, soft = false } = names
  return {
    slots: [
      ...tags.map(tagSlot),
      ...groups.map(({ host, name }) => groupSlot(host, name)),
      ...urls.map(urlSlot),
      ...prefixes.map(prefixSlot)
    ],
    lengths: [...new Set(prefixes.map((prefix) => prefix.length))],
    all,
    soft
  }
}

/** How an entry fares: valid, purged, or stale since so many ms. */
export type PurgeState = 'valid' | 'purged' | { readonly staleFor: number }

/** The newest purge of each slot. Stamps rise with each purge and are about ms since 1970. */
export class PurgeTable {
  /** The newest purge that is known. */
  last = 0
  #hard: Float64Array | undefined
  #soft: Float64Array | undefined
  #hardAll = 0
  #softAll = 0
  // The lengths of prefixes, each with its newest purge.
  readonly #lengths = new Map<number, number>()

  /** Applies a purge with its stamp. */
  apply({ slots, lengths, all, soft }: Purge, stamp: number): void {
    this.last = Math.max(this.last, stamp)
    for (const length of lengths) this.#addLength(length, stamp)
    if (all && soft) this.#softAll = Math.max(this.#softAll, stamp)
    if (all && !soft) this.#hardAll = Math.max(this.#hardAll, stamp)
    const table = this.#tableOf({ soft })
    for (const slot of slots) if (slot < SLOTS) table[slot] = Math.max(table[slot] as number, stamp)
  }

  /** Returns a stamp for a purge of this process alone. */
  nextStamp(): number {
    return Math.max(this.last + 1, Math.floor(wall()))
  }

  /** Tells how an entry fares after the purges that are newer than its request. */
  stateOf(entry: Entry): PurgeState {
    if (this.last <= entry.stamp) return 'valid'
    const slots = [...entry.slots, ...this.#prefixSlots(entry)]
    if (newest(this.#hard, slots, this.#hardAll) > entry.stamp) return 'purged'
    const soft = newest(this.#soft, slots, this.#softAll)
    return soft > entry.stamp ? { staleFor: Math.max(0, wall() - soft) } : 'valid'
  }

  #tableOf({ soft }: Pick<Purge, 'soft'>): Float64Array {
    if (soft) this.#soft ??= new Float64Array(SLOTS)
    else this.#hard ??= new Float64Array(SLOTS)
    return (soft ? this.#soft : this.#hard) as Float64Array
  }

  #addLength(length: number, stamp: number): void {
    // The one that was purged last comes last.
    const newest = Math.max(stamp, this.#lengths.get(length) ?? 0)
    this.#lengths.delete(length)
    this.#lengths.set(length, newest)
    if (this.#lengths.size <= MAX_PREFIX_LENGTHS) return
    const [oldest, forgotten] = this.#lengths.entries().next().value as [number, number]
    this.#lengths.delete(oldest)
    this.#hardAll = Math.max(this.#hardAll, forgotten)
  }

  #prefixSlots({ url, stamp }: Entry): number[] {
    const slots: number[] = []
    const path = pathOfUrl(url)
    for (const [length, purged] of this.#lengths)
      if (purged > stamp) slots.push(prefixSlot(url.slice(0, length)), prefixSlot(path.slice(0, length)))
    return slots
  }
}

function newest(table: Float64Array | undefined, slots: readonly number[], all: number): number {
  let stamp = all
  if (table !== undefined) for (const slot of slots) stamp = Math.max(stamp, table[slot] ?? 0)
  return stamp
}
