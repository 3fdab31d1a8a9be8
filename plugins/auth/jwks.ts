import type { FastifyBaseLogger } from 'fastify'
import { errors, type JWTVerifyGetKey } from 'jose'
import { request } from 'undici'
import { monotonic } from '../../src/lib/clock.ts'
import { type KeySet, readKeySet } from './key-set.ts'
import { readWhole } from './read-whole.ts'

// Milliseconds: how long the provider may take, when keys are renewed behind the back of who asks, and when who asks waits for it.
const TIMEOUT = 5000
const FRESH = 600_000
const STALE = 2 * FRESH
// How soon it is asked again for a key that is not among them or after a failure, and after one where none are known.
const COOL_DOWN = 30_000
const SOON = 1000
const LARGEST = 1024 * 1024

/** The keys could not be had, and none are known from before. */
export class KeysAway extends Error {}

/** The keys of a provider: fetched when they are first needed, once for all who wait; renewed in the background; kept while the provider is away; asked for anew when a token names one that is not known (RFC 7517). */
export class RemoteKeys {
  readonly #url: string
  readonly #log: FastifyBaseLogger
  #keys: KeySet | undefined
  #text = ''
  #generation = 0
  #fetching: Promise<void> | undefined
  // From when on they are renewed, from when on somebody has to wait for it, and from when on a stranger is worth a question.
  #renewAt = 0
  #waitAt = 0
  #strangerAt = 0
  #told = false

  constructor(url: string, log: FastifyBaseLogger) {
    this.#url = url
    this.#log = log
  }

  /** Numbers the keys: what was verified by others has to be verified anew; undefined where `find` has to look first whether they still hold. */
  generation(): number | undefined {
    const now = monotonic()
    // Asked with every request, so that a key which was taken back is missed even where nobody comes with a new token.
    if (this.#keys !== undefined && now >= this.#renewAt) void this.#fetch()
    return now >= this.#waitAt ? undefined : this.#generation
  }

  /** Finds the key that a token names; throws KeysAway, or what jose says of a key that is not there. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const unknown = this.#keys === undefined
    const due = unknown ? this.#renewAt : this.#waitAt
    if (monotonic() >= due || (unknown && this.#fetching !== undefined)) await this.#fetch()
    if (this.#keys === undefined) throw new KeysAway()
    const before = this.#generation
    try {
      return await this.#keys.find(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayCome(header.kid)) throw error
      await this.#fetchForStranger()
      if (before === this.#generation) throw error
      return this.#keys.find(header, token)
    }
  }

  /** Looks for other keys, since a signature is by none of these: a provider without ids, or with one for ever, may have changed its key. Tells whether there are any. */
  async renew(): Promise<boolean> {
    const before = this.#generation
    await this.#fetchForStranger()
    return before !== this.#generation
  }

  /** Tells whether asking anew may bring a key: not one that is there already and has another use. */
  #mayCome(kid: unknown): boolean {
    return kid === undefined || (typeof kid === 'string' && this.#keys?.has(kid) !== true)
  }

  /** Asks for keys because of one that is not known; the first may come at any time, so that a key counts as soon as it is used. */
  async #fetchForStranger(): Promise<void> {
    if (this.#fetching === undefined) {
      if (monotonic() < this.#strangerAt) return
      this.#strangerAt = monotonic() + COOL_DOWN
    }
    await this.#fetch()
  }

  /** Fetches the keys, once for all who ask at a time; a failure is told to the log. */
  #fetch(): Promise<void> {
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #load(): Promise<void> {
    try {
      this.#take(await read(this.#url))
      this.#renewAt = monotonic() + FRESH
      if (this.#told) this.#log.info('the keys for tokens can be had again')
      this.#told = false
    } catch (error) {
      this.#renewAt = monotonic() + (this.#keys === undefined ? SOON : COOL_DOWN)
      if (!this.#told)
        this.#log.warn(
          { cause: (error as { code?: string }).code ?? (error as Error).name },
          "the keys for tokens can't be had; those that are known go on"
        )
      this.#told = true
    }
    this.#waitAt = monotonic() + STALE
  }

  #take(text: string): void {
    if (text === this.#text) return
    const keys = readKeySet(text)
    // A provider without keys is one that is ill: it would shut everybody out.
    if (keys.usable === 0) throw failure('no keys')
    if (keys.leftOut > 0)
      this.#log.warn(
        { url: this.#url, keys: keys.leftOut },
        'some keys for tokens are weak or unreadable and left out'
      )
    this.#keys = keys
    this.#text = text
    this.#generation++
  }
}

const failure = (code: string): Error => Object.assign(new Error('no keys'), { code })

async function read(url: string): Promise<string> {
  const { statusCode, body } = await request(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    headersTimeout: TIMEOUT,
    bodyTimeout: TIMEOUT,
    signal: AbortSignal.timeout(TIMEOUT)
  })
  if (statusCode !== 200) {
    await body.dump()
    throw failure(`status ${statusCode}`)
  }
  const whole = await readWhole(body as AsyncIterable<Buffer>, LARGEST)
  if (whole === undefined) throw failure('too large')
  return whole.toString('utf8')
}
