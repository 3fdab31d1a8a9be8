import { createHash } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { wall } from '../../../src/lib/clock.ts'
import { abortable } from './abort.ts'
import { type Account, LockedElsewhere } from './account.ts'
import {
  causeOf,
  describeFailure,
  type IssueFailure,
  nextAuthority,
  nextFailure,
  parseFailure,
  type TriedAuthority
} from './issue-failure.ts'
import { type KeyPair, parseKeyPair } from './key-pair.ts'
import { type ChallengeType, directoryUrl } from './options.ts'
import { orderCertificate } from './order.ts'
import { RenewalSchedule } from './renewal-schedule.ts'
import type { Lock } from './storage.ts'
import { timings } from './timings.ts'
import { Problem } from './transport.ts'

/** One certificate from a CA, issued and renewed while a gateway instance uses it. */
export class ManagedCertificate {
  readonly names: readonly string[]
  readonly account: Account
  readonly #log: FastifyBaseLogger
  readonly #file: string
  readonly #schedule: RenewalSchedule
  readonly #abort = new AbortController()
  #challengeTypes: readonly ChallengeType[] = []
  #keyPair: KeyPair | undefined
  #stored: string | undefined
  #failure: IssueFailure | undefined
  #storageError = ''
  #onChange: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #maintaining: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(account: Account, names: readonly string[], log: FastifyBaseLogger) {
    this.account = account
    this.names = names
    this.#log = log
    this.#file = storageName(names)
    this.#schedule = new RenewalSchedule(account, names, this.#file, log)
  }

  /** The current certificate; undefined before the first one is issued. */
  get pair(): KeyPair | undefined {
    return this.#keyPair
  }

  /** The failure as shown in /status, without names or addresses; undefined without one. */
  get failure(): string | undefined {
    if (this.#failure === undefined)
      return this.#storageError === '' ? undefined : 'its storage is not available'
    return describeFailure(this.#failure)
  }

  /** Resolves when a started `close` has finished. */
  async closed(): Promise<void> {
    await this.#closing
  }

  /** Loads the certificate and the last failure from the storage. */
  async load(): Promise<void> {
    const { storage } = this.account
    const pem = await storage.read(`${this.#file}.pem`)
    this.#failure = parseFailure(await storage.read(`${this.#file}.trouble`))
    await this.#schedule.load()
    if (pem === this.#stored) return
    this.#stored = pem
    if (pem === undefined || pem === this.#keyPair?.pem) return
    const pair = parseKeyPair(pem)
    if (pair !== undefined) this.#adopt(pair)
    else
      this.#log.warn(
        { names: this.names },
        this.#keyPair === undefined
          ? 'stored certificate invalid, ordering a new one'
          : 'stored certificate invalid, keeping the one in use'
      )
  }

  /** Starts to issue and renew. Only the `onChange` of the last call is used. */
  start(challengeTypes: readonly ChallengeType[], onChange: () => void): void {
    this.#challengeTypes = challengeTypes
    this.#onChange = onChange
    if (this.#maintaining === undefined && this.#timer === undefined) this.#maintain()
  }

  /** Aborts an order and stops renewing. */
  close(): Promise<void> {
    this.#closing ??= this.#stop()
    return this.#closing
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#abort.abort()
    await this.#maintaining
  }

  #adopt(pair: KeyPair): void {
    this.#serve(pair)
    // A certificate loaded before the start is no event.
    if (this.#onChange !== undefined) this.#log.info(this.#logFields(), 'certificate loaded')
  }

  #serve(pair: KeyPair): void {
    this.#keyPair = pair
    this.#onChange?.()
  }

  #maintain(): void {
    this.#maintaining = this.#maintainOnce().then(() => {
      if (this.#abort.signal.aborted) return
      this.#maintaining = undefined
      const pause =
        this.#keyPair === undefined && this.#failure === undefined
          ? timings.firstPollInterval
          : timings.pollInterval
      this.#timer = setTimeout(() => this.#maintain(), pause).unref()
    })
  }

  async #maintainOnce(): Promise<void> {
    try {
      await this.load()
      this.#storageError = ''
      if (this.#isMissingInStorage()) await this.#withLock(() => this.#restore())
      if (this.#keyPair !== undefined && this.#schedule.isCheckDue(this.#keyPair))
        await this.#withLock(() => this.#checkSchedule())
      if (this.isDue)
        await this.account.enqueue(() => this.#withLock((lock) => this.#issue(lock)), this.#abort.signal)
    } catch (error) {
      if (error instanceof LockedElsewhere || this.#abort.signal.aborted) return
      this.#logStorageError(error)
    }
  }

  /** Whether it is time to order the certificate. */
  get isDue(): boolean {
    const renewAt = this.#keyPair === undefined ? 0 : this.#schedule.renewAt(this.#keyPair)
    return wall() >= Math.max(renewAt, this.#failure?.next ?? 0)
  }

  async #checkSchedule(): Promise<void> {
    if (this.#keyPair !== undefined) await this.#schedule.check(this.#keyPair, this.#abort.signal)
  }

  /** Returns whether the storage lacks the served certificate: an emptied Redis must not cause hundreds of orders. */
  #isMissingInStorage(): boolean {
    return this.#keyPair !== undefined && this.#stored !== this.#keyPair.pem
  }

  // Reloads under the lock, since another instance may have finished the job.
  async #withLock(job: (lock: Lock) => Promise<void>): Promise<void> {
    const lock = await this.account.storage.lock(this.#file)
    if (lock === undefined) return
    try {
      await this.load()
      await job(lock)
    } finally {
      await lock.release().catch(() => {})
    }
  }

  async #restore(): Promise<void> {
    if (!this.#isMissingInStorage()) return
    await this.#write()
    this.#log.info(this.#logFields(), 'certificate restored to storage')
  }

  async #write(): Promise<void> {
    if (this.#keyPair === undefined) return
    const { pem } = this.#keyPair
    await this.account.storage.write(`${this.#file}.pem`, pem)
    this.#stored = pem
  }

  async #issue(lock: Lock): Promise<void> {
    if (!this.isDue) return
    const first = this.#keyPair === undefined
    const lost = new AbortController()
    const extending = setInterval(() => {
      lock.extend().then(
        (extended) => extended || lost.abort(),
        () => {}
      )
    }, timings.lockExtendInterval).unref()
    const signal = AbortSignal.any([
      this.#abort.signal,
      lost.signal,
      AbortSignal.timeout(timings.orderTimeout)
    ])
    const accounts = [this.account, ...(this.account.fallback === undefined ? [] : [this.account.fallback])]
    const index = nextAuthority(this.#failure, accounts.length)
    const account = accounts[index] ?? this.account
    try {
      const wanted = {
        names: this.names,
        challengeTypes: this.#rotatedChallengeTypes(accounts.length),
        replaces: index === 0 ? await this.#schedule.replaces(this.#keyPair) : undefined
      }
      const pem = await abortable(() => orderCertificate(account, wanted, signal), signal)
      const pair = parseKeyPair(pem)
      if (pair === undefined) throw new Problem('certificate', 'the issued certificate can not be used')
      this.#failure = undefined
      this.#serve(pair)
    } catch (error) {
      if (error instanceof LockedElsewhere || this.#abort.signal.aborted || lost.signal.aborted)
        throw new LockedElsewhere()
      if (error instanceof Problem && error.kind === 'accountDoesNotExist') await account.forget()
      await this.#recordFailure(error, { index, of: accounts.length })
      return
    } finally {
      clearInterval(extending)
    }
    // If the storage is unavailable, the certificate is written once it recovers.
    try {
      await this.#write()
      await this.account.storage.remove(`${this.#file}.trouble`)
    } finally {
      const from = index === 0 ? {} : { directory: directoryUrl(account.options) }
      this.#log.info({ ...this.#logFields(), ...from }, first ? 'certificate issued' : 'certificate renewed')
    }
  }

  // After a failure at each CA the next challenge type is tried first.
  #rotatedChallengeTypes(authorities: number): ChallengeType[] {
    const rounds = Math.floor((this.#failure?.failures ?? 0) / authorities)
    const turn = rounds % Math.max(this.#challengeTypes.length, 1)
    return [...this.#challengeTypes.slice(turn), ...this.#challengeTypes.slice(0, turn)]
  }

  async #recordFailure(error: unknown, tried: TriedAuthority): Promise<void> {
    this.#failure = nextFailure(this.#failure, error, tried)
    this.#log.error(
      {
        ...this.#logFields(),
        failures: this.#failure.failures,
        cause: causeOf(error),
        next: new Date(this.#failure.next).toISOString()
      },
      this.#keyPair === undefined ? 'certificate issuance failed' : 'certificate renewal failed'
    )
    await this.account.storage.write(`${this.#file}.trouble`, JSON.stringify(this.#failure))
  }

  // Logged once, although every poll fails.
  #logStorageError(error: unknown): void {
    const cause = causeOf(error)
    if (cause === this.#storageError) return
    this.#storageError = cause
    this.#log.error({ names: this.names, cause }, 'certificate storage unavailable')
  }

  #logFields(): object {
    return {
      names: this.names,
      ...(this.#keyPair === undefined ? {} : { ends: new Date(this.#keyPair.expires).toISOString() })
    }
  }
}

/** Names the file by the first name, plus a hash of all if there are several. */
function storageName(names: readonly string[]): string {
  const first = `certificates/${(names[0] ?? '').replace('*', '_')}`
  if (names.length === 1) return first
  return `${first}-${createHash('sha256')
    .update([...names].sort().join())
    .digest('hex')
    .slice(0, 8)}`
}
