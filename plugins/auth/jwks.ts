import type { FastifyBaseLogger } from 'fastify'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { request } from 'undici'

// Milliseconds: how long the provider may take, how long keys count as fresh, and how soon they are asked for again for a key that is not among them, or after a failure.
const TIMEOUT = 5000
const FRESH = 600_000
const COOL_DOWN = 30_000
const LARGEST = 1024 * 1024

/** The keys could not be had, and none are known from before. */
export class KeysAway extends Error {}

/** The keys of a provider: fetched when they are first needed, once for all who wait; renewed in the background; kept while the provider is away; asked for anew when a token names one that is not known (RFC 7517). */
export class RemoteKeys {
  /** Changes whenever the keys do: what was verified before has to be verified anew. */
  generation = 0
  readonly #url: string
  readonly #log: FastifyBaseLogger
  #keys: JWTVerifyGetKey | undefined
  #text = ''
  #fetchedAt = 0
  #askedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined
  #told = false

  constructor(url: string, log: FastifyBaseLogger) {
    this.#url = url
    this.#log = log
  }

  /** Finds the key that a token names; throws KeysAway, or what jose says of a key that is not there. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (this.#keys === undefined) await this.#fetch(false)
    // Those that wait for fresh ones wait for nothing that matters.
    else if (Date.now() - this.#fetchedAt > FRESH) void this.#fetch(true).catch(() => {})
    if (this.#keys === undefined) throw new KeysAway()
    try {
      return await this.#keys(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      const before = this.generation
      await this.#fetch(true).catch(() => {})
      if (before === this.generation) throw error
      return this.#keys(header, token)
    }
  }

  /** Fetches the keys, once for all who ask at a time and not again before it has cooled down. */
  #fetch(known: boolean): Promise<void> {
    if (this.#fetching !== undefined) return this.#fetching
    // With no key at all nobody gets in, so it is tried more often.
    if (Date.now() - this.#askedAt < (known ? COOL_DOWN : 1000)) return Promise.reject(new KeysAway())
    this.#askedAt = Date.now()
    this.#fetching = this.#load().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #load(): Promise<void> {
    try {
      const text = await read(this.#url)
      if (text !== this.#text) {
        const set = JSON.parse(text) as JSONWebKeySet
        this.#keys = createLocalJWKSet(set)
        this.#text = text
        this.generation++
      }
      this.#fetchedAt = Date.now()
      if (this.#told) this.#log.info('the keys for tokens can be had again')
      this.#told = false
    } catch (error) {
      if (!this.#told)
        this.#log.warn(
          { cause: (error as { code?: string }).code ?? (error as Error).name },
          "the keys for tokens can't be had; those that are known go on"
        )
      this.#told = true
      throw new KeysAway()
    }
  }
}

async function read(url: string): Promise<string> {
  const { statusCode, body } = await request(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    headersTimeout: TIMEOUT,
    bodyTimeout: TIMEOUT,
    signal: AbortSignal.timeout(TIMEOUT)
  })
  if (statusCode !== 200) {
    await body.dump()
    throw Object.assign(new Error('no keys'), { code: `status ${statusCode}` })
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LARGEST) throw Object.assign(new Error('too many keys'), { code: 'too large' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
