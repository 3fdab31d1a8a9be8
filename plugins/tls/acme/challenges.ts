import { createSecureContext, type SecureContext } from 'node:tls'
import type { Authorization } from 'acme-client'
import type { DnsChallenge } from '../../../src/lib/contracts/dns.ts'
import { type ChallengeType, isDnsName } from './options.ts'
import type { Storage } from './storage.ts'
import { timings } from './timings.ts'

/** One challenge and its proof. */
export interface Proof {
  readonly type: ChallengeType
  readonly authorization: Authorization
  readonly token: string
  /** The key authorization; for dns-01 the value of the record. */
  readonly value: string
}

const TOKEN = /^[\w-]{20,128}$/

// Bounds the storage reads that unauthenticated requests cause.
const MAX_LOOKUPS = 16

const tokenFile = (token: string): string => `challenges/${token}`
const nameFile = (name: string): string => `challenges/${name}.pem`

/** The responses to challenges, which every instance with the same storage can give. */
export class Challenges {
  /** The DNS extension; undefined without one. */
  dns: DnsChallenge | undefined
  readonly #storage: Storage
  // The challenges that this instance presents itself need no storage read.
  readonly #tokens = new Map<string, string>()
  readonly #contexts = new Map<string, SecureContext>()
  #lookups = 0

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** Makes a proof available to the CA; returns the function that removes it. */
  async present(proof: Proof): Promise<() => Promise<void>> {
    const { type, authorization, token, value } = proof
    const name = authorization.identifier.value
    if (type === 'dns-01') {
      const { dns } = this
      const record = `_acme-challenge.${name}`
      await dns?.present(record, value)
      return async () => dns?.cleanup(record, value)
    }
    if (type === 'http-01') {
      this.#tokens.set(token, value)
      await this.#storage.write(tokenFile(token), value, timings.challengeLifetime)
      return async () => {
        this.#tokens.delete(token)
        await this.#storage.remove(tokenFile(token))
      }
    }
    const pem = await createAlpnPem(authorization, value)
    this.#contexts.set(name, createSecureContext({ key: pem, cert: pem }))
    await this.#storage.write(nameFile(name), pem, timings.challengeLifetime)
    return async () => {
      this.#contexts.delete(name)
      await this.#storage.remove(nameFile(name))
    }
  }

  /** Returns the response to an http-01 challenge; undefined if there is none. */
  async httpResponse(token: string): Promise<string | undefined> {
    return this.#tokens.get(token) ?? (TOKEN.test(token) ? this.#readStored(tokenFile(token)) : undefined)
  }

  /** Returns the tls-alpn-01 certificate that this instance presents itself. */
  ownContext(name: string): SecureContext | undefined {
    return this.#contexts.get(name)
  }

  /** Returns the tls-alpn-01 certificate that any instance presents; undefined if there is none. */
  async alpnContext(name: string): Promise<SecureContext | undefined> {
    const own = this.#contexts.get(name)
    if (own !== undefined || !isDnsName(name)) return own
    const pem = await this.#readStored(nameFile(name))
    return pem === undefined ? undefined : createSecureContext({ key: pem, cert: pem })
  }

  async #readStored(file: string): Promise<string | undefined> {
    if (this.#lookups >= MAX_LOOKUPS) return undefined
    this.#lookups++
    try {
      return await this.#storage.read(file)
    } catch {
      // While the storage is unavailable there is no response; the CA retries.
      return undefined
    } finally {
      this.#lookups--
    }
  }
}

async function createAlpnPem(authorization: Authorization, value: string): Promise<string> {
  const { crypto } = await import('acme-client')
  const [key, cert] = await crypto.createAlpnCertificate(
    authorization,
    value,
    await crypto.createPrivateEcdsaKey('P-256')
  )
  return `${key.toString().trimEnd()}\n${cert.toString()}`
}
