import { hash } from 'node:crypto'
import { resolve } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { createError } from '../../../src/kit/index.ts'
import { Account, directoryFolder } from './account.ts'
import { Challenges } from './challenges.ts'
import { ManagedCertificate } from './managed.ts'
import { type AcmeOptions, type ChallengeType, wantedCertificates } from './options.ts'
import { SharedStorage } from './shared-storage.ts'
import { DiskStorage, type Storage } from './storage.ts'

export type { KeyPair as Pair } from './key-pair.ts'
export { type AcmeOptions, acme, acmeFaults } from './options.ts'
export type { Challenges, ManagedCertificate as Managed }

/** Neither "domains" nor a route names a host to order a certificate for. */
export const DomainsMissing = createError(
  'SP_ERR_TLS_DOMAINS_MISSING',
  '"tls.acme" has no names to order certificates for: set "domains", or give routes a "host"'
)

/** A wildcard needs dns-01, and no extension provides it. */
export const DnsMissing = createError<[string]>(
  'SP_ERR_TLS_DNS_MISSING',
  'A certificate for "%s" needs the challenge dns-01, and no extension decorates "dnsChallenge"'
)

/** A leased account and its resource key. */
interface LeasedAccount {
  readonly options: AcmeOptions
  readonly account: Account
  readonly key: string
}

/** A certificate and the challenge types that this instance uses for it. */
interface CertificateWithChallenges {
  readonly managed: ManagedCertificate
  readonly challengeTypes: readonly ChallengeType[]
}

/** The ACME accounts and certificates of one gateway instance. Certificates are leased once the routes are known. */
export class Acme {
  readonly #app: FastifyInstance
  readonly #accounts: readonly LeasedAccount[]
  readonly #keys: string[] = []
  #certificates: readonly CertificateWithChallenges[] = []

  constructor(app: FastifyInstance, options: readonly AcmeOptions[]) {
    this.#app = app
    this.#accounts = options.map((account) => leaseAccount(app, account))
  }

  get managed(): readonly ManagedCertificate[] {
    return this.#certificates.map(({ managed }) => managed)
  }

  get challenges(): readonly Challenges[] {
    return this.#accounts.map(({ account }) => account.challenges)
  }

  /** Leases the certificates and loads stored ones; throws if one can never be issued. */
  async open({ hosts, redirects }: { hosts: readonly string[]; redirects: boolean }): Promise<void> {
    const app = this.#app
    const dns = app.dnsChallenge
    const wanted = this.#accounts.map(({ options, account, key }) => ({
      account,
      key,
      challengeTypes: options.challenges ?? defaultChallenges(dns !== undefined, redirects),
      certificates: wantedCertificates(options.domains ?? hosts)
    }))
    const names = wanted.flatMap(({ certificates }) => certificates.flat())
    if (names.length === 0) throw new DomainsMissing()
    const wildcard = names.find((name) => name.startsWith('*.'))
    if (wildcard !== undefined && dns === undefined) throw new DnsMissing(wildcard)
    this.#certificates = wanted.flatMap(({ account, key: of, challengeTypes, certificates }) =>
      certificates.map((each) => {
        const key = `${of} ${each.join()}`
        this.#keys.push(key)
        const managed = app.resources.lease(
          app,
          key,
          () => new ManagedCertificate(account, each, app.log),
          (managed) => managed.close()
        )
        return { managed, challengeTypes }
      })
    )
    // An unavailable storage is read again after the start.
    await Promise.allSettled(this.managed.map((managed) => managed.load()))
  }

  /** Starts to issue and renew; calls `onChange` whenever a certificate has changed. */
  start(onChange: () => void): void {
    for (const challenges of this.challenges) challenges.dns = this.#app.dnsChallenge
    for (const { managed, challengeTypes } of this.#certificates) managed.start(challengeTypes, onChange)
  }

  /** Releases the certificates before the storage closes, so that locks are released. */
  async close(): Promise<void> {
    for (const key of this.#keys) this.#app.resources.release(this.#app, key)
    await Promise.all(this.managed.map((managed) => managed.closed()))
  }
}

function leaseAccount(app: FastifyInstance, options: AcmeOptions): LeasedAccount {
  const { shared } = app.store
  const { email, directory, ca, externalAccount, profile, fallback, storage: folder } = options
  const onDisk = folder !== undefined || shared === null
  const disk = resolve(folder ?? '.acme')
  const place = [onDisk ? disk : shared.id, directory, email, ca, externalAccount, profile, fallback]
  // A hash, since the options may hold a secret.
  const key = `acme ${hash('sha256', JSON.stringify(place))}`
  const make = (): Account => {
    const storageOf = (place: string): Storage =>
      onDisk ? new DiskStorage(resolve(disk, place)) : new SharedStorage(shared, place)
    const storage = storageOf(directoryFolder(options))
    const challenges = new Challenges(storage)
    const second =
      fallback &&
      new Account({
        options: { ...(email === undefined ? {} : { email }), ...fallback },
        storage: storageOf(directoryFolder(fallback)),
        challenges
      })
    return new Account({ options, storage, challenges, fallback: second })
  }
  return { options, key, account: app.resources.lease(app, key, make, (account) => account.close()) }
}

function defaultChallenges(dns: boolean, redirects: boolean): ChallengeType[] {
  return [...(dns ? (['dns-01'] as const) : []), ...(redirects ? (['http-01'] as const) : []), 'tls-alpn-01']
}
