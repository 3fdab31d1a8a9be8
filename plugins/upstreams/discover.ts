import type { RecordWithTtl } from 'node:dns'
import { lookup, Resolver } from 'node:dns/promises'
import type { FastifyBaseLogger } from 'fastify'
import { duration } from '../../src/lib/units.ts'
import type { DiscoverOptions } from './options.ts'
import type { Endpoint } from './target.ts'

// A record with a TTL of 0 is not asked for more often than this, in milliseconds.
const SOONEST = 1000

interface Found {
  readonly endpoints: readonly Endpoint[]
  /** Milliseconds that the answer holds; undefined where nobody said. */
  readonly holds: number | undefined
}

/** Finds the targets of an upstream by DNS, again and again; what was found last stays while nobody answers. */
export class Discovery {
  readonly #options: DiscoverOptions
  readonly #log: FastifyBaseLogger
  readonly #resolver = new Resolver({ timeout: 2000, tries: 2 })
  readonly #watchers = new Set<() => void>()
  /** Settles once the first answer is there, or the first failure. */
  readonly first: Promise<void>
  #endpoints: readonly Endpoint[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #failing = false

  constructor(options: DiscoverOptions, log: FastifyBaseLogger) {
    this.#options = options
    this.#log = log
    if (options.server !== undefined) this.#resolver.setServers([options.server])
    this.first = this.#look()
  }

  get endpoints(): readonly Endpoint[] {
    return this.#endpoints
  }

  /** Calls back whenever the targets have changed, until the returned function is called. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#resolver.cancel()
  }

  async #look(): Promise<void> {
    const every = duration(this.#options.every)
    let holds: number | undefined
    try {
      const found = this.#options.srv === undefined ? await this.#addresses() : await this.#services()
      holds = found.holds
      this.#take(found.endpoints)
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException)
    }
    if (this.#stopped) return
    this.#timer = setTimeout(() => void this.#look(), Math.max(SOONEST, Math.min(every, holds ?? every)))
    this.#timer.unref()
  }

  #take(endpoints: readonly Endpoint[]): void {
    if (this.#failing) this.#log.info({ name: this.#name }, 'a name is found again')
    this.#failing = false
    const said = JSON.stringify(endpoints)
    if (said === JSON.stringify(this.#endpoints)) return
    this.#endpoints = endpoints
    this.#log.info(
      { name: this.#name, targets: endpoints.map(({ place }) => `${place?.address}:${place?.port}`) },
      'the targets of a name have changed'
    )
    for (const changed of this.#watchers) changed()
  }

  #fail({ code }: NodeJS.ErrnoException): void {
    if (this.#stopped || this.#failing) return
    this.#failing = true
    this.#log.warn({ name: this.#name, code }, 'a name is not found; the targets found last stay')
  }

  get #name(): string {
    return this.#options.srv ?? this.#options.dns ?? ''
  }

  async #addresses(): Promise<Found> {
    const { dns = '', port, scheme } = this.#options
    const { addresses, holds } = await this.#addressesOf(dns)
    const at = port ?? (scheme === 'https' ? 443 : 80)
    return { endpoints: addresses.map((address) => this.#endpoint(dns, address, at, 1, false)), holds }
  }

  // RFC 2782: the lowest priority serves, the others stand by; a weight of 0 still gets a little.
  async #services(): Promise<Found> {
    const records = await this.#resolver.resolveSrv(this.#options.srv ?? '')
    const first = Math.min(...records.map(({ priority }) => priority))
    const found = await Promise.all(
      records.map(async ({ name, port, weight, priority }) => {
        const { addresses, holds } = await this.#addressesOf(name)
        return {
          holds,
          endpoints: addresses.map((address) =>
            this.#endpoint(name, address, port, Math.max(1, weight), priority !== first)
          )
        }
      })
    )
    return {
      endpoints: sorted(found.flatMap(({ endpoints }) => endpoints)),
      holds: soonest(found.map(({ holds }) => holds))
    }
  }

  #endpoint(name: string, address: string, port: number, weight: number, backup: boolean): Endpoint {
    return { url: `${this.#options.scheme}://${name}:${port}`, place: { address, port }, weight, backup }
  }

  async #addressesOf(name: string): Promise<{ addresses: string[]; holds: number | undefined }> {
    const answers = await Promise.allSettled([
      this.#resolver.resolve4(name, { ttl: true }),
      this.#resolver.resolve6(name, { ttl: true })
    ])
    const records: RecordWithTtl[] = answers.flatMap((answer) =>
      answer.status === 'fulfilled' ? answer.value : []
    )
    if (records.length > 0)
      return {
        addresses: records.map(({ address }) => address).sort(),
        holds: soonest(records.map(({ ttl }) => ttl * 1000))
      }
    const [four] = answers
    if (this.#options.server !== undefined && four?.status === 'rejected') throw four.reason
    // Names of the machine's own (/etc/hosts) and short ones (search domains) are known to the system alone.
    const found = await lookup(name, { all: true })
    return { addresses: found.map(({ address }) => address).sort(), holds: undefined }
  }
}

const soonest = (times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}

const sorted = (endpoints: readonly Endpoint[]): Endpoint[] =>
  [...endpoints].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))

/** Names an endpoint, so that one which stays is told from one which comes. */
export const keyOf = ({ url, place }: Endpoint): string => `${url} ${place?.address ?? ''}`
