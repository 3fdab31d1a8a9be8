import { createSecureContext, type SecureContext } from 'node:tls'
import type { Authorization } from 'acme-client'
import type { DnsChallenge } from '../../../src/lib/contracts/dns.ts'
import { type ChallengeType, isDnsName } from './options.ts'
import type { Storage } from './storage.ts'
import { timings } from './timings.ts'

/** The one name of a challenge and what proves that it is ours. */
export interface Proof {
  readonly type: ChallengeType
  readonly authorization: Authorization
  readonly token: string
  /** What acme-client calls the key authorization; for dns-01 it is the value of the record. */
  readonly value: string
}

const TOKEN = /^[\w-]{20,128}$/

// An authority asks within moments; what others ask for by the thousand is not looked up each time.
const MAX_LOOKUPS = 16

const tokenFile = (token: string): string => `challenges/${token}`
const nameFile = (name: string): string => `challenges/${name}.pem`

/** The answers to challenges, which every instance of a storage can give, whoever ordered. */
export class Challenges {
  /** How records get into the DNS; undefined where no extension can. */
  dns: DnsChallenge | undefined
  readonly #storage: Storage
  // What this instance presents itself it has at hand, however many ask.
  readonly #tokens = new Map<string, string>()
  readonly #contexts = new Map<string, SecureContext>()
  #lookups = 0

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** Lets a proof be found by the authority; what comes back takes it away. */
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

  /** Finds the answer to http-01; undefined where there is none. */
  async httpResponse(token: string): Promise<string | undefined> {
    return this.#tokens.get(token) ?? (TOKEN.test(token) ? this.#look(tokenFile(token)) : undefined)
  }

  /** Finds the certificate of tls-alpn-01 that this instance presents itself. */
  ownContext(name: string): SecureContext | undefined {
    return this.#contexts.get(name)
  }

  /** Finds the certificate of tls-alpn-01, whoever presents it; undefined where there is none. */
  async alpnContext(name: string): Promise<SecureContext | undefined> {
    const own = this.#contexts.get(name)
    if (own !== undefined || !isDnsName(name)) return own
    const pem = await this.#look(nameFile(name))
    return pem === undefined ? undefined : createSecureContext({ key: pem, cert: pem })
  }

  async #look(file: string): Promise<string | undefined> {
    if (this.#lookups >= MAX_LOOKUPS) return undefined
    this.#lookups++
    try {
      return await this.#storage.read(file)
    } catch {
      // A storage that is away has no answer; the authority asks again.
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
