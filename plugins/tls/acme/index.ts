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

/** No name is said to have a certificate for, and no route names one. */
export const DomainsMissing = createError(
  'SP_ERR_TLS_DOMAINS_MISSING',
  '"tls.acme" has no names to order certificates for: say "domains", or give routes a "host"'
)

/** A wildcard is proven by the DNS alone, and nobody puts records into it. */
export const DnsMissing = createError<[string]>(
  'SP_ERR_TLS_DNS_MISSING',
  'A certificate for "%s" takes the challenge dns-01, and no extension decorates "dnsChallenge"'
)

/** An account that an instance has taken, and the key it was taken by. */
interface LeasedAccount {
  readonly options: AcmeOptions
  readonly account: Account
  readonly key: string
}

/** A certificate, and how an instance wants its names proven. */
interface WantedManaged {
  readonly managed: ManagedCertificate
  readonly ways: readonly ChallengeType[]
}

/** What an instance asks of authorities: its accounts from the start, its certificates once its routes are known. */
export class Acme {
  readonly #app: FastifyInstance
  readonly #leased: readonly LeasedAccount[]
  readonly #keys: string[] = []
  #managed: readonly WantedManaged[] = []

  constructor(app: FastifyInstance, said: readonly AcmeOptions[]) {
    this.#app = app
    this.#leased = said.map((options) => leaseAccount(app, options))
  }

  get managed(): readonly ManagedCertificate[] {
    return this.#managed.map(({ managed }) => managed)
  }

  get challenges(): readonly Challenges[] {
    return this.#leased.map(({ account }) => account.challenges)
  }

  /** Takes the certificates, and reads those that were issued before; throws where one can never be had. */
  async open({ hosts, redirects }: { hosts: readonly string[]; redirects: boolean }): Promise<void> {
    const app = this.#app
    const dns = app.dnsChallenge
    const wanted = this.#leased.map(({ options, account, key }) => ({
      account,
      key,
      ways: options.challenges ?? defaultChallenges(dns !== undefined, redirects),
      certificates: wantedCertificates(options.domains ?? hosts)
    }))
    const names = wanted.flatMap(({ certificates }) => certificates.flat())
    if (names.length === 0) throw new DomainsMissing()
    const wild = names.find((name) => name.startsWith('*.'))
    if (wild !== undefined && dns === undefined) throw new DnsMissing(wild)
    this.#managed = wanted.flatMap(({ account, key: of, ways, certificates }) =>
      certificates.map((each) => {
        const key = `${of} ${each.join()}`
        this.#keys.push(key)
        const managed = app.resources.lease(
          app,
          key,
          () => new ManagedCertificate(account, each, app.log),
          (kept) => kept.close()
        )
        return { managed, ways }
      })
    )
    // A storage that is away is asked again once there is a socket.
    await Promise.allSettled(this.managed.map((managed) => managed.load()))
  }

  /** Begins to look after the certificates, the way this instance wants it, and calls back whenever one has changed. */
  start(changed: () => void): void {
    for (const challenges of this.challenges) challenges.dns = this.#app.dnsChallenge
    for (const { managed, ways } of this.#managed) managed.start(ways, changed)
  }

  /** Gives the certificates back before the storage goes, so that locks are let go. */
  async close(): Promise<void> {
    for (const key of this.#keys) this.#app.resources.release(this.#app, key)
    await Promise.all(this.managed.map((managed) => managed.closed()))
  }
}

function leaseAccount(app: FastifyInstance, options: AcmeOptions): LeasedAccount {
  const { shared } = app.store
  const { email, directory, ca, storage: folder } = options
  const onDisk = folder !== undefined || shared === null
  const disk = resolve(folder ?? '.acme')
  const key = `acme ${JSON.stringify([onDisk ? disk : shared.id, directory, email, ca])}`
  const make = (): Account => {
    const storage: Storage = onDisk
      ? new DiskStorage(resolve(disk, directoryFolder(options)))
      : new SharedStorage(shared, directoryFolder(options))
    return new Account({ options, storage, challenges: new Challenges(storage) })
  }
  return { options, key, account: app.resources.lease(app, key, make, (account) => account.close()) }
}

function defaultChallenges(dns: boolean, redirects: boolean): ChallengeType[] {
  return [...(dns ? (['dns-01'] as const) : []), ...(redirects ? (['http-01'] as const) : []), 'tls-alpn-01']
}
