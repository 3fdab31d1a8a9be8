import { createHash } from 'node:crypto'
import type { Client } from 'acme-client'
import { isObject } from '../../../src/lib/schema.ts'
import { abortable } from './abort.ts'
import type { Challenges } from './challenges.ts'
import { type AcmeOptions, directoryUrl } from './options.ts'
import type { Storage } from './storage.ts'
import { type Transport, useOwnTransport } from './transport.ts'

/** Another instance is at it: nothing failed, it is looked at again soon. */
export class LockedElsewhere extends Error {}

/** A client that the authority knows, and the connections it speaks by. */
export interface Session {
  readonly client: Client
  readonly transport: Transport
}

/** What an account is, and where its things are. */
export interface AccountOptions {
  readonly options: AcmeOptions
  readonly storage: Storage
  readonly challenges: Challenges
}

interface StoredAccount {
  readonly key: string
  readonly url: string
  readonly email: string
}

/** An account with an authority: opened at the first order, and kept in the storage for all that come after. */
export class Account implements AccountOptions {
  readonly options: AcmeOptions
  readonly storage: Storage
  readonly challenges: Challenges
  readonly #file: string
  readonly #ending = new AbortController()
  #session: Promise<Session> | undefined
  #line: Promise<void> = Promise.resolve()

  constructor({ options, storage, challenges }: AccountOptions) {
    this.options = options
    this.storage = storage
    this.challenges = challenges
    this.#file = `account-${createHash('sha256')
      .update(options.email ?? '')
      .digest('hex')
      .slice(0, 8)}`
  }

  /** Aborts when the account is no longer needed. */
  get ended(): AbortSignal {
    return this.#ending.signal
  }

  /** Opens the account, or finds it in the storage; throws Busy where another instance opens it. */
  session(): Promise<Session> {
    this.#session ??= this.#open().catch((error: unknown) => {
      this.#session = undefined
      throw error
    })
    return this.#session
  }

  /** Runs one job at a time: an authority counts how many orders come at once. */
  async enqueue(job: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#line
    const { promise: done, resolve: leave } = Promise.withResolvers<void>()
    this.#line = before.then(() => done)
    try {
      await abortable(() => before, signal)
      await job()
    } finally {
      leave()
    }
  }

  /** Forgets what the authority does not know; the next order opens the account anew. */
  async forget(): Promise<void> {
    await this.#letGo()
    await this.storage.remove(`${this.#file}.json`)
  }

  /** Ends what is under way with the authority. */
  async close(): Promise<void> {
    this.#ending.abort()
    await this.#letGo()
  }

  async #letGo(): Promise<void> {
    const session = await this.#session?.catch(() => undefined)
    this.#session = undefined
    await session?.transport.close()
  }

  async #open(): Promise<Session> {
    const stored = await this.#stored()
    if (stored !== undefined) return this.#speak(stored)
    const lock = await this.storage.lock(this.#file)
    if (lock === undefined) throw new LockedElsewhere()
    try {
      return await this.#speak((await this.#stored()) ?? { key: await newKey(), url: '', email: '' })
    } finally {
      await lock.release()
    }
  }

  async #speak({ key, url, email: told }: StoredAccount): Promise<Session> {
    const { Client } = await import('acme-client')
    const { email = '', ca } = this.options
    const client = new Client({
      directoryUrl: directoryUrl(this.options),
      accountKey: key,
      ...(url === '' ? {} : { accountUrl: url })
    })
    const transport = useOwnTransport(client, ca, this.ended)
    const contact = email === '' ? [] : [`mailto:${email}`]
    try {
      if (url === '') await client.createAccount({ termsOfServiceAgreed: true, contact })
      else if (told !== email) await client.updateAccount({ contact })
    } catch (error) {
      await transport.close()
      throw error
    }
    if (url === '' || told !== email)
      await this.storage.write(
        `${this.#file}.json`,
        JSON.stringify({ key, url: client.getAccountUrl(), email } satisfies StoredAccount)
      )
    return { client, transport }
  }

  async #stored(): Promise<StoredAccount | undefined> {
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

async function newKey(): Promise<string> {
  const { crypto } = await import('acme-client')
  return (await crypto.createPrivateEcdsaKey('P-256')).toString()
}

/** Makes the folder name of a directory, so that those of staging and production never meet. */
export const directoryFolder = (options: Pick<AcmeOptions, 'directory'>): string =>
  directoryUrl(options)
    .replace(/^https:\/\//, '')
    .replaceAll(/[^\w.-]+/g, '-')
