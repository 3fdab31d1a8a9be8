import type { FastifyInstance, FastifyRequest } from 'fastify'
import type {
  AnswerListener,
  AttemptPolicy,
  OutboundRequest,
  PendingRequest,
  PolicyOptions,
  UpstreamService,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { durationOrNone, share } from '../../src/lib/units.ts'
import { Attempts } from './attempts.ts'
import { type Balancer, makeBalancer } from './balance.ts'
import { Discovery, endpointKey } from './discover.ts'
import { idleTimeoutFor } from './idle-timeout.ts'
import type { UpstreamOptions } from './options.ts'
import { Sticky } from './sticky.ts'
import { type Endpoint, Target } from './target.ts'

const DEFAULT_OPTIONS: UpstreamOptions = {
  timeouts: { connect: '2s', keepAlive: '30s' },
  connections: { pending: 256 },
  balance: 'roundRobin',
  hashOn: 'ip',
  slowStart: false,
  maxHeaders: '64kb',
  exactPaths: false,
  http2: false
}

/** Reads a one-off URL as an upstream; undefined where the text is no URL. */
export function optionsForUrl(text: string): UpstreamOptions | undefined {
  return /^(https?:\/\/|unix:\/)/.test(text) ? { ...DEFAULT_OPTIONS, url: text } : undefined
}

/** The requests of an upstream, over a reload. */
export interface Traffic {
  /** Those that are under way. */
  active: number
  /** The tries among them that are not the first. */
  activeRetries: number
  /** The tries so far that were not the first, and those that the budget did not allow. */
  retries: number
  refused: number
}

// With few requests a share of them would be none: so many may always be tried again (as Envoy's min_retry_concurrency).
const MIN_RETRY_CONCURRENCY = 3

// How long to wait is not known where no breaker tells, in seconds.
const DEFAULT_RETRY_AFTER_SECONDS = 5

/** A service behind the gateway: its targets, and which of them is next. */
export class Upstream implements UpstreamService {
  readonly name: string
  /** Whether requests go by HTTP/2 where a target offers it. */
  readonly http2: boolean
  /** Milliseconds; 0 for none. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  readonly traffic: Traffic
  /** Settles once the targets are known, or are known not to be. */
  readonly discovered: Promise<void>
  readonly #app: FastifyInstance
  readonly #options: UpstreamOptions
  readonly #balance: Balancer
  readonly #sticky: Sticky | undefined
  readonly #panicThreshold: number
  readonly #maxEjected: number
  #targets: readonly Target[] = []
  #ready: readonly Target[] = []
  #unwatchers: (() => void)[] = []

  constructor(app: FastifyInstance, name: string, said: UpstreamOptions) {
    this.#app = app
    this.#options = said
    this.name = name
    this.http2 = said.http2
    this.timeouts = {
      headers: durationOrNone(said.timeouts.headers ?? said.timeout ?? '30s') ?? 0,
      body: durationOrNone(said.timeouts.body ?? said.timeout ?? '60s') ?? 0
    }
    this.traffic = app.resources.lease(app, `traffic ${name} ${said.url ?? ''}`, () => ({
      active: 0,
      activeRetries: 0,
      retries: 0,
      refused: 0
    }))
    this.#balance = makeBalancer(said)
    this.#sticky = said.sticky === undefined ? undefined : new Sticky(app, said.sticky)
    this.#panicThreshold = said.eject === undefined ? 0 : share(said.eject.panic)
    this.#maxEjected = said.eject === undefined ? 0 : share(said.eject.max)
    app.addHook('onClose', async () => this.#unwatchHealth())
    this.discovered = this.#findTargets()
  }

  get targets(): readonly Target[] {
    return this.#targets
  }

  /** Those of the targets that are asked now. */
  get ready(): readonly Target[] {
    return this.#ready
  }

  /** Picks the target for a request, not one of those that were tried if there is another; undefined where none can take it. */
  pick(request: FastifyRequest, tried: readonly Target[] = []): Target | undefined {
    const ready = this.#ready
    if (this.#sticky !== undefined && tried.length === 0) {
      const found = this.#sticky.find(request, ready)
      if (found?.hasRoom === true) return found
    }
    const [only] = ready
    if (ready.length === 1 && only?.hasRoom === true) return only
    if (ready.length === 0) return undefined
    if (tried.length === 0) {
      const next = this.#balance(ready, request)
      if (next.hasRoom) return next
    }
    const free = ready.filter(({ hasRoom }) => hasRoom)
    const fresh = tried.length === 0 ? free : free.filter((target) => !tried.includes(target))
    const among = fresh.length > 0 ? fresh : free
    return among.length === 0 ? undefined : this.#balance(among, request)
  }

  policyFor({ headersTimeout, bodyTimeout, retry, hedge }: PolicyOptions): AttemptPolicy {
    return {
      headersTimeout: headersTimeout ?? this.timeouts.headers,
      idleTimeout: idleTimeoutFor(bodyTimeout ?? this.timeouts.body),
      retry,
      hedge
    }
  }

  send(request: OutboundRequest, policy: AttemptPolicy, listener: AnswerListener): PendingRequest {
    const attempts = new Attempts(this, request, policy, listener)
    attempts.begin()
    return attempts
  }

  /** Writes the cookie that keeps a client at a target; undefined where it needs none. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined {
    return this.#sticky?.cookieFor(request, target)
  }

  /** Tells whether one more request may be tried again, so that retries never double the load of who is down. */
  acquireRetry(budget: number): boolean {
    const { active, activeRetries } = this.traffic
    if (activeRetries < Math.max(MIN_RETRY_CONCURRENCY, active * budget)) return true
    this.traffic.refused++
    return false
  }

  /** How long to wait until a target may take requests again, in whole seconds. */
  get retryAfter(): number {
    const waits = this.#targets
      .map(({ health: condition }) => condition.breakerRemaining)
      .filter((ms) => ms > 0)
    return waits.length === 0
      ? DEFAULT_RETRY_AFTER_SECONDS
      : Math.max(1, Math.ceil(Math.min(...waits) / 1000))
  }

  async #findTargets(): Promise<void> {
    const { url, targets, discover } = this.#options
    if (discover === undefined) {
      this.#setTargets((targets ?? [url ?? '']).map(toEndpoint))
      return
    }
    const discovery = this.#app.resources.lease(
      this.#app,
      `discovery ${JSON.stringify(discover)}`,
      () => new Discovery(discover, this.#app.log),
      (kept) => kept.stop()
    )
    const unwatch = discovery.watch(() => this.#setTargets(discovery.endpoints))
    this.#app.addHook('onClose', async () => unwatch())
    this.#setTargets(discovery.endpoints)
    await discovery.firstAnswer
  }

  /** Takes these targets instead of those before; one that stays keeps its connections, one that goes ends what it has begun. */
  #setTargets(endpoints: readonly Endpoint[]): void {
    const before = new Map(this.#targets.map((target) => [target.key, target]))
    const slowStart = durationOrNone(this.#options.slowStart) ?? 0
    const isFirst = this.#targets.length === 0
    this.#targets = [...new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]))].map(
      ([key, endpoint]) => {
        const kept = before.get(key)
        before.delete(key)
        if (kept !== undefined) {
          kept.weight = endpoint.weight
          kept.backup = endpoint.backup
          return kept
        }
        const made = new Target(this.#app, this.#options, key, endpoint, slowStart, () => this.#canEject())
        if (!isFirst) made.health.startSlowly()
        return made
      }
    )
    this.#unwatchHealth()
    this.#unwatchers = this.#targets.map(({ health: condition }) =>
      condition.watch(() => this.#updateReady())
    )
    this.#updateReady()
    for (const gone of before.values()) gone.release()
  }

  #unwatchHealth(): void {
    for (const unwatch of this.#unwatchers) unwatch()
    this.#unwatchers = []
  }

  /** Sorts out who may be asked now: the main targets that are well, else the backups, with those that are just tried; all of them where too few are well. */
  #updateReady(): void {
    const weighty = this.#targets.filter(({ weight }) => weight > 0)
    const main = weighty.filter(({ backup }) => !backup)
    const well = main.filter(({ health: condition }) => condition.isEligible)
    const backups = weighty.filter(({ backup, health: condition }) => backup && condition.isEligible)
    const panics = well.length < main.length * this.#panicThreshold
    const asked = well.some(({ health: condition }) => condition.breakerClosed)
      ? panics
        ? main
        : well
      : backups.length > 0
        ? [...well, ...backups]
        : panics
          ? main
          : well
    this.#ready = asked.filter(({ health: condition }) => !condition.breakerOpen)
  }

  #canEject(): boolean {
    const out = this.#targets.filter(({ health: condition }) => condition.ejected).length
    return out < Math.max(1, Math.floor(this.#targets.length * this.#maxEjected))
  }
}

const toEndpoint = (said: string | { url: string; weight: number; backup: boolean }): Endpoint =>
  typeof said === 'string' ? { url: said, weight: 1, backup: false } : said
