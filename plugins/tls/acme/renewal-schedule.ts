import type { FastifyBaseLogger } from 'fastify'
import { wall } from '../../../src/lib/clock.ts'
import { abortable } from './abort.ts'
import { type Account, LockedElsewhere } from './account.ts'
import { causeOf } from './issue-failure.ts'
import type { KeyPair } from './key-pair.ts'
import {
  certificateId,
  fetchRenewalInfo,
  keptRenewalInfo,
  parseRenewalInfo,
  type RenewalInfo
} from './renewal-info.ts'

/** When a certificate is renewed: by its lifetime, and by what the CA says (ARI, RFC 9773). */
export class RenewalSchedule {
  readonly #account: Account
  readonly #names: readonly string[]
  readonly #file: string
  readonly #log: FastifyBaseLogger
  #info: RenewalInfo | undefined

  constructor(account: Account, names: readonly string[], file: string, log: FastifyBaseLogger) {
    this.#account = account
    this.#names = names
    this.#file = `${file}.renewal`
    this.#log = log
  }

  /** Loads what another instance has learned of the CA. */
  async load(): Promise<void> {
    this.#info = parseRenewalInfo(await this.#account.storage.read(this.#file)) ?? this.#info
  }

  /** Returns when to renew, in milliseconds since 1970: at the moment that the CA suggests, if it is early enough. */
  renewAt(pair: KeyPair): number {
    const suggested = this.#infoOf(pair)?.renewAt
    return suggested === undefined ? pair.renewAt : Math.min(suggested, pair.renewBy)
  }

  /** Returns whether it is time to ask the CA. */
  isCheckDue(pair: KeyPair): boolean {
    return wall() >= (this.#infoOf(pair)?.checkAt ?? 0)
  }

  /** Asks the CA when to renew. After a failure the certificate is renewed by what is known. */
  async check(pair: KeyPair, signal: AbortSignal): Promise<void> {
    if (!this.isCheckDue(pair)) return
    const previous = this.#infoOf(pair)
    const info = await this.#fetch(pair, previous, signal)
    this.#info = info
    const { renewAt, explanation } = info
    // A CA that suggests nothing leaves nothing to share.
    if (renewAt === undefined && previous?.renewAt === undefined) return
    if (previous?.renewAt !== undefined && renewAt !== undefined && renewAt < previous.renewAt)
      this.#log.info(
        { names: this.#names, renewal: new Date(renewAt).toISOString(), explanation },
        'certificate renewal moved forward by the CA'
      )
    await this.#account.storage.write(this.#file, JSON.stringify(info))
  }

  /** Returns the identifier of a certificate that the CA knows, for the order that replaces it. */
  async replaces(pair: KeyPair | undefined): Promise<string | undefined> {
    return pair === undefined || this.#infoOf(pair)?.window === undefined
      ? undefined
      : certificateId(pair.pem)
  }

  async #fetch(pair: KeyPair, previous: RenewalInfo | undefined, signal: AbortSignal): Promise<RenewalInfo> {
    try {
      return await abortable(
        async () => fetchRenewalInfo(await this.#account.session(), pair.pem, previous),
        signal
      )
    } catch (error) {
      if (error instanceof LockedElsewhere || signal.aborted) throw error
      this.#log.debug({ names: this.#names, cause: causeOf(error) }, 'certificate renewal info unavailable')
      return keptRenewalInfo(pair.fingerprint, previous)
    }
  }

  #infoOf({ fingerprint }: KeyPair): RenewalInfo | undefined {
    return this.#info?.certificate === fingerprint ? this.#info : undefined
  }
}
