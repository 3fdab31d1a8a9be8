import type { RecordWithTtl } from 'node:dns'
import { lookup, Resolver } from 'node:dns/promises'
import type { FastifyBaseLogger } from 'fastify'
import { duration } from '../../src/lib/units.ts'
import { type Endpoint, endpointKey } from './target.ts'
import type { DiscoverOptions } from './target-options.ts'

// The shortest interval between two lookups, for records with a TTL of 0.
const MIN_REFRESH_MS = 1000

interface DiscoveredEndpoints {
  readonly endpoints: readonly Endpoint[]
  /** How long the answer is valid, in milliseconds; undefined if the resolver gave no TTL. */
  readonly ttlMs: number | undefined
}

/** Resolves the targets of an upstream by DNS, periodically. While lookups fail, the last known targets stay. */
export class Discovery {
  readonly #options: DiscoverOptions
  readonly #log: FastifyBaseLogger
  readonly #resolver = new Resolver({ timeout: 2000, tries: 2 })
  readonly #watchers = new Set<() => void>()
  /** Settles with the first answer or the first failure. */
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

  /** Calls `changed` whenever the targets change; returns a function that stops it. */
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
    if (this.#failing) this.#log.info({ name: this.#name }, 'target discovery recovered')
    this.#failing = false
    const text = JSON.stringify(endpoints)
    if (text === JSON.stringify(this.#endpoints)) return
    this.#endpoints = endpoints
    this.#log.info(
      { name: this.#name, targets: endpoints.map(({ address }) => `${address?.address}:${address?.port}`) },
      'targets changed'
    )
    for (const changed of this.#watchers) changed()
  }

  #reportFailure({ code }: NodeJS.ErrnoException): void {
    if (this.#stopped || this.#failing) return
    this.#failing = true
    this.#log.warn({ name: this.#name, code }, 'target discovery failed')
  }

  get #name(): string {
    return this.#options.srv ?? this.#options.dns ?? ''
  }

  async #resolveAddresses(): Promise<DiscoveredEndpoints> {
    const { dns = '', port, scheme } = this.#options
    const { addresses, ttlMs } = await this.#lookUp(dns)
    const targetPort = port ?? (scheme === 'https' ? 443 : 80)
    return {
      endpoints: addresses.map((address) => this.#endpoint(dns, address, targetPort, 1, false)),
      ttlMs
    }
  }

  // RFC 2782: the lowest priority serves, the others are backups; a weight of 0 still gets a small share.
  async #resolveServices(): Promise<DiscoveredEndpoints> {
    const records = await this.#resolver.resolveSrv(this.#options.srv ?? '')
    const lowest = Math.min(...records.map(({ priority }) => priority))
    const found = await Promise.all(
      records.map(async ({ name, port, weight, priority }) => {
        const { addresses, ttlMs } = await this.#lookUp(name)
        return {
          ttlMs,
          endpoints: addresses.map((address) =>
            this.#endpoint(name, address, port, Math.max(1, weight), priority !== lowest)
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
    const [ipv4] = answers
    if (this.#options.server !== undefined && ipv4?.status === 'rejected') throw ipv4.reason
    // Only the system's resolver knows /etc/hosts and search domains.
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
