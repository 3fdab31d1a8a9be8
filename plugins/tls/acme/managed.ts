import { createHash } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { wall } from '../../../src/lib/clock.ts'
import { abortable } from './abort.ts'
import { type Account, LockedElsewhere } from './account.ts'
import { causeOf, describeFailure, type IssueFailure, nextFailure, parseFailure } from './issue-failure.ts'
import { type KeyPair, parseKeyPair } from './key-pair.ts'
import type { ChallengeType } from './options.ts'
import { orderCertificate } from './order.ts'
import type { Lock } from './storage.ts'
import { timings } from './timings.ts'
import { Problem } from './transport.ts'

/** One certificate from an authority: looked after for as long as somebody serves it. */
export class ManagedCertificate {
  readonly names: readonly string[]
  readonly account: Account
  readonly #log: FastifyBaseLogger
  readonly #file: string
  readonly #ending = new AbortController()
  #ways: readonly ChallengeType[] = []
  #pair: KeyPair | undefined
  #stored: string | undefined
  #trouble: IssueFailure | undefined
  #told = ''
  #changed: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(account: Account, names: readonly string[], log: FastifyBaseLogger) {
    this.account = account
    this.names = names
    this.#log = log
    this.#file = fileOf(names)
  }

  /** The certificate of now; undefined while there is none yet. */
  get pair(): KeyPair | undefined {
    return this.#pair
  }

  /** What is wrong, for people who may not know more; undefined where nothing is. */
  get trouble(): string | undefined {
    if (this.#trouble === undefined) return this.#told === '' ? undefined : 'its storage is not available'
    return describeFailure(this.#trouble)
  }

  /** Settles once all has ended, where it has begun to. */
  async closed(): Promise<void> {
    await this.#closing
  }

  /** Reads what the storage has. */
  async load(): Promise<void> {
    const { storage } = this.account
    const pem = await storage.read(`${this.#file}.pem`)
    this.#trouble = parseFailure(await storage.read(`${this.#file}.trouble`))
    if (pem === this.#stored) return
    this.#stored = pem
    if (pem === undefined || pem === this.#pair?.pem) return
    const pair = parseKeyPair(pem)
    if (pair !== undefined) this.#takeUp(pair)
    else
      this.#log.warn(
        { names: this.names },
        `the stored certificate can not be used: ${this.#pair === undefined ? 'it is ordered anew' : 'the one in use takes its place'}`
      )
  }

  /** Begins to look after it, its names proven by the first way that works, and calls back whenever there is another one; who began before is called no more. */
  start(ways: readonly ChallengeType[], changed: () => void): void {
    this.#ways = ways
    this.#changed = changed
    if (this.#looking === undefined && this.#timer === undefined) this.#look()
  }

  /** Ends all that is under way. */
  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#ending.abort()
    await this.#looking
  }

  #takeUp(pair: KeyPair): void {
    this.#serve(pair)
    // What was there before the first look is no event.
    if (this.#changed !== undefined) this.#log.info(this.#about(), 'a certificate was taken up')
  }

  #serve(pair: KeyPair): void {
    this.#pair = pair
    this.#changed?.()
  }

  #look(): void {
    this.#looking = this.#lookOnce().then(() => {
      if (this.#ending.signal.aborted) return
      this.#looking = undefined
      const pause =
        this.#pair === undefined && this.#trouble === undefined
          ? timings.firstPollInterval
          : timings.pollInterval
      this.#timer = setTimeout(() => this.#look(), pause).unref()
    })
  }

  async #lookOnce(): Promise<void> {
    try {
      await this.load()
      this.#told = ''
      if (this.#lost()) await this.#alone(() => this.#putBack())
      if (this.#due())
        await this.account.enqueue(() => this.#alone((lock) => this.#order(lock)), this.#ending.signal)
    } catch (error) {
      if (error instanceof LockedElsewhere || this.#ending.signal.aborted) return
      this.#tell(error)
    }
  }

  #due(): boolean {
    return wall() >= Math.max(this.#pair?.renewAt ?? 0, this.#trouble?.next ?? 0)
  }

  /** Tells whether the storage has lost what is served: an empty Redis is no reason to order hundreds of certificates. */
  #lost(): boolean {
    return this.#pair !== undefined && this.#stored !== this.#pair.pem
  }

  // Of all instances one does what there is to do; what another has done meanwhile need not be done.
  async #alone(job: (lock: Lock) => Promise<void>): Promise<void> {
    const lock = await this.account.storage.lock(this.#file)
    if (lock === undefined) return
    try {
      await this.load()
      await job(lock)
    } finally {
      await lock.release().catch(() => {})
    }
  }

  async #putBack(): Promise<void> {
    if (!this.#lost()) return
    await this.#write()
    this.#log.info(this.#about(), 'a certificate was put back into its storage')
  }

  async #write(): Promise<void> {
    if (this.#pair === undefined) return
    const { pem } = this.#pair
    await this.account.storage.write(`${this.#file}.pem`, pem)
    this.#stored = pem
  }

  async #order(lock: Lock): Promise<void> {
    if (!this.#due()) return
    const first = this.#pair === undefined
    const lost = new AbortController()
    const kept = setInterval(() => {
      lock.extend().then(
        (held) => held || lost.abort(),
        () => {}
      )
    }, timings.lockExtendInterval).unref()
    const signal = AbortSignal.any([
      this.#ending.signal,
      lost.signal,
      AbortSignal.timeout(timings.orderTimeout)
    ])
    try {
      const wanted = { names: this.names, challengeTypes: this.#waysNow() }
      const pem = await abortable(() => orderCertificate(this.account, wanted, signal), signal)
      const pair = parseKeyPair(pem)
      if (pair === undefined) throw new Problem('certificate', 'what the authority issued can not be served')
      this.#trouble = undefined
      this.#serve(pair)
    } catch (error) {
      if (error instanceof LockedElsewhere || this.#ending.signal.aborted || lost.signal.aborted)
        throw new LockedElsewhere()
      if (error instanceof Problem && error.kind === 'accountDoesNotExist') await this.account.forget()
      await this.#fail(error)
      return
    } finally {
      clearInterval(kept)
    }
    // A storage that is away just now loses nothing: what is served is put back once it is there.
    try {
      await this.#write()
      await this.account.storage.remove(`${this.#file}.trouble`)
    } finally {
      this.#log.info(this.#about(), first ? 'a certificate was issued' : 'a certificate was renewed')
    }
  }

  // What did not work is not tried first again where there is another way.
  #waysNow(): ChallengeType[] {
    const turn = (this.#trouble?.failures ?? 0) % Math.max(this.#ways.length, 1)
    return [...this.#ways.slice(turn), ...this.#ways.slice(0, turn)]
  }

  async #fail(error: unknown): Promise<void> {
    this.#trouble = nextFailure(this.#trouble, error)
    this.#log.error(
      {
        ...this.#about(),
        failures: this.#trouble.failures,
        cause: causeOf(error),
        next: new Date(this.#trouble.next).toISOString()
      },
      this.#pair === undefined
        ? 'a certificate could not be had'
        : 'a certificate could not be renewed; the one from before is served on'
    )
    await this.account.storage.write(`${this.#file}.trouble`, JSON.stringify(this.#trouble))
  }

  // A storage that is away is away at every look: it is told of once.
  #tell(error: unknown): void {
    const cause = causeOf(error)
    if (cause === this.#told) return
    this.#told = cause
    this.#log.error({ names: this.names, cause }, 'the storage of certificates is not available')
  }

  #about(): object {
    return {
      names: this.names,
      ...(this.#pair === undefined ? {} : { ends: new Date(this.#pair.expires).toISOString() })
    }
  }
}

/** Names the file of a certificate by its first name, and by all where there are several. */
function fileOf(names: readonly string[]): string {
  const first = `certificates/${(names[0] ?? '').replace('*', '_')}`
  if (names.length === 1) return first
  return `${first}-${createHash('sha256')
    .update([...names].sort().join())
    .digest('hex')
    .slice(0, 8)}`
}
