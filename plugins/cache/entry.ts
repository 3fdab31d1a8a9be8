import { monotonic, wall } from '../../src/lib/clock.ts'
import type { CacheHead } from '../../src/lib/contracts/cache.ts'
import type { Encodings } from './stores/encodings.ts'

/** A stored response; times are in ms. */
export interface Entry extends CacheHead {
  readonly body: Buffer
  /** When it came, by the monotonic clock of this machine. */
  readonly storedAt: number
  /** How old it was then. */
  readonly age: number
  readonly freshFor: number
  readonly staleWhileRevalidate: number
  readonly staleIfError: number
  /** Whether its only validator is an ETag of ours, which the upstream does not know. */
  readonly ownEtag: boolean
  /** The newest purge that was known when the request for it was sent. */
  readonly stamp: number
  /** The URL that it can be purged by, without its scheme: `//host/path?query`. */
  readonly url: string
  /** The slots of its names in the table of purges. */
  readonly slots: readonly number[]
  /** Its bodies with a content coding; undefined where they are not kept. */
  readonly encodings?: Encodings | undefined
}

/** The request headers that the entries of a primary key vary by, in lower case and in order. */
export interface VaryRecord {
  readonly vary: readonly string[]
}

/** What a store has under a key. */
export type Stored = Entry | VaryRecord

/** Where entries are stored. A store in memory answers at once. */
export interface CacheStore {
  get(key: string): Stored | undefined | Promise<Stored | undefined>
  /** Stores a value for at most `ttl` ms. */
  set(key: string, value: Stored, ttl: number): void
  delete(key: string): void
}

/** Tells an entry from the list of headers that entries vary by. */
export const isVaryRecord = (stored: Stored): stored is VaryRecord => 'vary' in stored

/** Returns how long ago an entry was stored, in ms. */
export const storedFor = (entry: Entry): number => Math.max(0, monotonic() - entry.storedAt)

/** Returns how old an entry is now, in ms (RFC 9111 section 4.2.3). */
export const ageOf = (entry: Entry): number => entry.age + storedFor(entry)

/** Returns how long an entry is still fresh, in ms; negative where it is stale. */
export const freshness = (entry: Entry): number => entry.freshFor - storedFor(entry)

// An entry that the upstream can revalidate is kept for so long after it was fresh.
const REVALIDATION_MS = 3_600_000

// The records of purges in Redis outlive this (purges.ts).
const MAX_TTL_MS = 365 * 86_400_000

/** Returns how long an entry can be of any use, in ms. */
export const usefulFor = (entry: Omit<Entry, 'body'>): number =>
  Math.min(
    MAX_TTL_MS,
    entry.freshFor +
      Math.max(entry.staleWhileRevalidate, entry.staleIfError, entry.ownEtag ? 0 : REVALIDATION_MS)
  )

// What an entry takes beside its body and its fields, about.
const OVERHEAD_BYTES = 512

/** Returns how many bytes of memory a value takes, about. */
export function bytesOf(key: string, stored: Stored): number {
  const text = isVaryRecord(stored) ? stored.vary.join() : stored.fields.join() + stored.url
  return (
    OVERHEAD_BYTES +
    key.length +
    text.length +
    (isVaryRecord(stored) ? 0 : stored.body.length + (stored.encodings?.bytes ?? 0))
  )
}

// Changes with the format, so that gateways of different versions don't read each other's values.
const VERSION = 1

/** Encodes a value for other processes: the length of a JSON head, the head, and the body. */
export function encode(stored: Stored): Buffer {
  const { body, head } = isVaryRecord(stored) ? { body: EMPTY, head: stored } : partsOf(stored)
  const json = Buffer.from(JSON.stringify({ version: VERSION, ...head }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  return Buffer.concat([length, json, body])
}

const EMPTY = Buffer.alloc(0)

const partsOf = ({
  body,
  storedAt,
  encodings: _encodings,
  ...head
}: Entry): { body: Buffer; head: object } => ({
  body,
  // Other machines have monotonic clocks of their own.
  head: { ...head, storedDate: wall() - Math.max(0, monotonic() - storedAt) }
})

/** Decodes what another process has stored; undefined for anything else. */
export function decode(bytes: Buffer): Stored | undefined {
  if (bytes.length < 4) return undefined
  const bodyAt = 4 + bytes.readUInt32BE(0)
  if (bodyAt > bytes.length) return undefined
  try {
    const { version, storedDate, ...head } = JSON.parse(bytes.toString('utf8', 4, bodyAt))
    if (version !== VERSION) return undefined
    if (isTexts(head.vary)) return head as VaryRecord
    if (!isTexts(head.fields) || !Array.isArray(head.slots)) return undefined
    const storedAt = monotonic() - Math.max(0, wall() - storedDate)
    // A copy, because the client's buffer has more in it than this value.
    return { ...head, storedAt, body: Buffer.from(bytes.subarray(bodyAt)) } as Entry
  } catch {
    return undefined
  }
}

const isTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')
