import type { RecordWithTtl } from 'node:dns'
import { lookup, Resolver } from 'node:dns/promises'
import type { FastifyBaseLogger } from 'fastify'
import { duration } from '../../src/lib/units.ts'
import type { DiscoverOptions } from './options.ts'
import type { Endpoint } from './target.ts'

// A record with a TTL of 0 is not asked for more often than this, in milliseconds.
const MIN_REFRESH_MS = 1000

interface DiscoveredEndpoints {
  readonly endpoints: readonly Endpoint[]
  /** Milliseconds that the answer ttlMs; undefined where nobody said. */
  readonly ttlMs: number | undefined
}

/** Finds the targets of an upstream by DNS, again and again; what was found last stays while nobody answers. */
export class Discovery {
  readonly #options: DiscoverOptions
  readonly #log: FastifyBaseLogger
  readonly #resolver = new Resolver({ timeout: 2000, tries: 2 })
  readonly #watchers = new Set<() => void>()
  /** Settles once the first answer is there, or the first failure. */
  readonly firstAnswer: Promise<void>
  #endpoints: readonly Endpoint[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #failing = false

  constructor(options: DiscoverOptions, log: FastifyBaseLogger) {
    this.#options = options
    this.#log = log
    if (options.server !== undefined) this.#resolver.setServers([options.server])
    this.firstAnswer = this.#refresh()
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

  async #refresh(): Promise<void> {
    const every = duration(this.#options.every)
    let ttlMs: number | undefined
    try {
      const found =
        this.#options.srv === undefined ? await this.#resolveAddresses() : await this.#resolveServices()
      ttlMs = found.ttlMs
      this.#update(found.endpoints)
    } catch (error) {
      this.#reportFailure(error as NodeJS.ErrnoException)
    }
    if (this.#stopped) return
    this.#timer = setTimeout(
      () => void this.#refresh(),
      Math.max(MIN_REFRESH_MS, Math.min(every, ttlMs ?? every))
    )
    this.#timer.unref()
  }

  #update(endpoints: readonly Endpoint[]): void {
    if (this.#failing) this.#log.info({ name: this.#name }, 'a name is found again')
    this.#failing = false
    const said = JSON.stringify(endpoints)
    if (said === JSON.stringify(this.#endpoints)) return
    this.#endpoints = endpoints
    this.#log.info(
      { name: this.#name, targets: endpoints.map(({ address }) => `${address?.address}:${address?.port}`) },
      'the targets of a name have changed'
    )
    for (const changed of this.#watchers) changed()
  }

  #reportFailure({ code }: NodeJS.ErrnoException): void {
    if (this.#stopped || this.#failing) return
    this.#failing = true
    this.#log.warn({ name: this.#name, code }, 'a name is not found; the targets found last stay')
  }

  get #name(): string {
    return this.#options.srv ?? this.#options.dns ?? ''
  }

  async #resolveAddresses(): Promise<DiscoveredEndpoints> {
    const { dns = '', port, scheme } = this.#options
    const { addresses, ttlMs } = await this.#lookUp(dns)
    const at = port ?? (scheme === 'https' ? 443 : 80)
    return { endpoints: addresses.map((address) => this.#endpoint(dns, address, at, 1, false)), ttlMs }
  }

  // RFC 2782: the lowest priority serves, the others stand by; a weight of 0 still gets a little.
  async #resolveServices(): Promise<DiscoveredEndpoints> {
    const records = await this.#resolver.resolveSrv(this.#options.srv ?? '')
    const first = Math.min(...records.map(({ priority }) => priority))
    const found = await Promise.all(
      records.map(async ({ name, port, weight, priority }) => {
        const { addresses, ttlMs } = await this.#lookUp(name)
        return {
          ttlMs,
          endpoints: addresses.map((address) =>
            this.#endpoint(name, address, port, Math.max(1, weight), priority !== first)
          )
        }
      })
    )
    return {
      endpoints: sortedByKey(found.flatMap(({ endpoints }) => endpoints)),
      ttlMs: shortest(found.map(({ ttlMs }) => ttlMs))
    }
  }

  #endpoint(name: string, address: string, port: number, weight: number, backup: boolean): Endpoint {
    return { url: `${this.#options.scheme}://${name}:${port}`, address: { address, port }, weight, backup }
  }

  async #lookUp(name: string): Promise<{ addresses: string[]; ttlMs: number | undefined }> {
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
        ttlMs: shortest(records.map(({ ttl }) => ttl * 1000))
      }
    const [four] = answers
    if (this.#options.server !== undefined && four?.status === 'rejected') throw four.reason
    // Names of the machine's own (/etc/hosts) and short ones (search domains) are known to the system alone.
    const found = await lookup(name, { all: true })
    return { addresses: found.map(({ address }) => address).sort(), ttlMs: undefined }
  }
}

const shortest = (times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}

const sortedByKey = (endpoints: readonly Endpoint[]): Endpoint[] =>
  [...endpoints].sort((a, b) => (endpointKey(a) < endpointKey(b) ? -1 : 1))

/** Names an endpoint, so that one which stays is told from one which comes. */
export const endpointKey = ({ url, address }: Endpoint): string => `${url} ${address?.address ?? ''}`
