import { createHash } from 'node:crypto'
import type { Client } from 'acme-client'
import { isObject } from '../../../src/lib/schema.ts'
import { abortable } from './abort.ts'
import type { Challenges } from './challenges.ts'
import { type AuthorityOptions, directoryUrl } from './options.ts'
import type { Storage } from './storage.ts'
import { type Transport, useOwnTransport } from './transport.ts'

/** Another instance holds the lock: not a failure, retried at the next poll. */
export class LockedElsewhere extends Error {}

/** A client with a registered account, and its connections. */
export interface Session {
  readonly client: Client
  readonly transport: Transport
}

/** What an account is created from. */
export interface AccountOptions {
  readonly options: AuthorityOptions
  readonly storage: Storage
  readonly challenges: Challenges
  /** The account with a second CA; undefined for none. */
  readonly fallback?: Account | undefined
}

interface StoredAccount {
  readonly key: string
  readonly url: string
  readonly email: string
}

/** An account with a CA: registered at the first order and stored for later ones. */
export class Account implements AccountOptions {
  readonly options: AuthorityOptions
  readonly storage: Storage
  readonly challenges: Challenges
  readonly fallback: Account | undefined
  readonly #file: string
  readonly #abort = new AbortController()
  #session: Promise<Session> | undefined
  #queue: Promise<void> = Promise.resolve()

  constructor({ options, storage, challenges, fallback }: AccountOptions) {
    this.options = options
    this.fallback = fallback
    this.storage = storage
    this.challenges = challenges
    this.#file = `account-${createHash('sha256')
      .update([options.email ?? '', options.externalAccount?.keyId ?? []].flat().join(' '))
      .digest('hex')
      .slice(0, 8)}`
  }

  /** Aborts when the account is closed. */
  get ended(): AbortSignal {
    return this.#abort.signal
  }

  /** Registers the account, or loads it from the storage; throws LockedElsewhere while another instance registers it. */
  session(): Promise<Session> {
    this.#session ??= this.#open().catch((error: unknown) => {
      this.#session = undefined
      throw error
    })
    return this.#session
  }

  /** Runs one job at a time, because a CA limits concurrent orders. */
  async enqueue(job: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const previous = this.#queue
    const { promise: done, resolve: leave } = Promise.withResolvers<void>()
    this.#queue = previous.then(() => done)
    try {
      await abortable(() => previous, signal)
      await job()
    } finally {
      leave()
    }
  }

  /** Deletes an account that the CA does not know; the next order registers a new one. */
  async forget(): Promise<void> {
    await this.#closeSession()
    await this.storage.remove(`${this.#file}.json`)
  }

  /** Aborts all requests to the CA. */
  async close(): Promise<void> {
    this.#abort.abort()
    await Promise.all([this.#closeSession(), this.fallback?.close()])
  }

  async #closeSession(): Promise<void> {
    const session = await this.#session?.catch(() => undefined)
    this.#session = undefined
    await session?.transport.close()
  }

  async #open(): Promise<Session> {
    const stored = await this.#readStored()
    if (stored !== undefined) return this.#createSession(stored)
    const lock = await this.storage.lock(this.#file)
    if (lock === undefined) throw new LockedElsewhere()
    try {
      return await this.#createSession(
        (await this.#readStored()) ?? { key: await generateAccountKey(), url: '', email: '' }
      )
    } finally {
      await lock.release()
    }
  }

  async #createSession({ key, url, email: storedEmail }: StoredAccount): Promise<Session> {
    const { Client } = await import('acme-client')
    const { email = '', ca, externalAccount: bound } = this.options
    const client = new Client({
      directoryUrl: directoryUrl(this.options),
      accountKey: key,
      ...(url === '' ? {} : { accountUrl: url }),
      ...(bound === undefined ? {} : { externalAccountBinding: { kid: bound.keyId, hmacKey: bound.hmacKey } })
    })
    const transport = useOwnTransport(client, ca, this.ended)
    const contact = email === '' ? [] : [`mailto:${email}`]
    try {
      if (url === '') await client.createAccount({ termsOfServiceAgreed: true, contact })
      else if (storedEmail !== email) await client.updateAccount({ contact })
    } catch (error) {
      await transport.close()
      throw error
    }
    if (url === '' || storedEmail !== email)
      await this.storage.write(
        `${this.#file}.json`,
        JSON.stringify({ key, url: client.getAccountUrl(), email } satisfies StoredAccount)
      )
    return { client, transport }
  }

  async #readStored(): Promise<StoredAccount | undefined> {
    const text = await this.storage.read(`${this.#file}.json`)
    try {
      const found: unknown = JSON.parse(text ?? '')
      return isObject(found) && ['key', 'url', 'email'].every((name) => typeof found[name] === 'string')
        ? (found as unknown as StoredAccount)
        : undefined
    } catch {
      return undefined
    }
  }
}

async function generateAccountKey(): Promise<string> {
  const { crypto } = await import('acme-client')
  return (await crypto.createPrivateEcdsaKey('P-256')).toString()
}

/** Returns the folder of a directory, which keeps staging and production apart. */
export const directoryFolder = (options: Pick<AuthorityOptions, 'directory'>): string =>
  directoryUrl(options)
    .replace(/^https:\/\//, '')
    .replaceAll(/[^\w.-]+/g, '-')
