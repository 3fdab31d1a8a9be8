import { hash } from 'node:crypto'
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
import { Discovery } from './discover.ts'
import { idleTimeoutFor } from './idle-timeout.ts'
import type { UpstreamOptions } from './options.ts'
import { Sticky } from './sticky.ts'
import { type Endpoint, endpointKey, Target } from './target.ts'
import type { DiscoverOptions } from './target-options.ts'
import type { Targets } from './targets.ts'

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

/** Returns the options of an upstream for a single URL; undefined if the text is not a URL. */
export function optionsForUrl(text: string): UpstreamOptions | undefined {
  return /^(https?:\/\/|unix:\/)/.test(text) ? { ...DEFAULT_OPTIONS, url: text } : undefined
}

/** The request counts of an upstream, which survive a reload. */
export interface Traffic {
  /** The number of current requests. */
  active: number
  /** The number of retries among the current requests. */
  activeRetries: number
  /** The totals of retries sent, and of retries that the budget refused. */
  retries: number
  refused: number
}

// A share of few requests is less than one, so this many retries are always allowed (as Envoy's min_retry_concurrency).
const MIN_RETRY_CONCURRENCY = 3

// For `Retry-After`, if no circuit breaker knows when it will close.
const DEFAULT_RETRY_AFTER_SECONDS = 5

/** A service behind the gateway: its targets, and the choice among them. */
export class Upstream implements UpstreamService, Targets {
  readonly name: string
  readonly optionsHash: string
  /** Whether requests use HTTP/2 where a target offers it. */
  readonly http2: boolean
  /** Milliseconds; 0 for no limit. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  readonly traffic: Traffic
  /** Settles when the first discovery has succeeded or failed. */
  readonly discovered: Promise<void>
  readonly #app: FastifyInstance
  readonly #options: UpstreamOptions
  readonly #isDrained: (target: string) => boolean
  // How the config writes it: its name, or a URL.
  readonly #written: string
  readonly #balance: Balancer
  readonly #sticky: Sticky | undefined
  readonly #panicThreshold: number
  readonly #maxEjected: number
  #targets: readonly Target[] = []
  #ready: readonly Target[] = []
  #unwatchers: (() => void)[] = []

  /** `isDrained` returns whether an operator has drained a target; call `updateReady` when its results change. */
  constructor(
    app: FastifyInstance,
    name: string,
    options: UpstreamOptions,
    isDrained: (target: string) => boolean = () => false
  ) {
    this.#app = app
    this.#isDrained = isDrained
    this.#written = name === 'url' ? (options.url ?? name) : name
    this.#options = options
    this.name = name
    this.optionsHash = hash('sha256', JSON.stringify(options), 'base64url')
    this.http2 = options.http2
    this.timeouts = {
      headers: durationOrNone(options.timeouts.headers ?? options.timeout ?? '30s') ?? 0,
      body: durationOrNone(options.timeouts.body ?? options.timeout ?? '60s') ?? 0
    }
    this.traffic = app.resources.lease(app, `traffic ${name} ${options.url ?? ''}`, () => ({
      active: 0,
      activeRetries: 0,
      retries: 0,
      refused: 0
    }))
    this.#balance = makeBalancer(options)
    this.#sticky = options.sticky === undefined ? undefined : new Sticky(app, options.sticky)
    this.#panicThreshold = options.eject === undefined ? 0 : share(options.eject.panic)
    this.#maxEjected = options.eject === undefined ? 0 : share(options.eject.max)
    const unwatchHealth = async (): Promise<void> => this.#unwatchHealth()
    app.addHook('onClose', unwatchHealth)
    app.simulation?.onRenew(() => {
      for (const target of this.#targets) target.currentWeight = 0
    })
    this.discovered = this.#findTargets()
  }

  get targets(): readonly Target[] {
    return this.#targets
  }

  /** The targets that currently get requests. */
  get ready(): readonly Target[] {
    return this.#ready
  }

  /** Picks the target of a request, preferably one that was not tried; undefined if none can accept it. */
  pick(request: FastifyRequest | null, tried: readonly Target[] = []): Target | undefined {
    const ready = this.#ready
    if (this.#sticky !== undefined && request !== null && tried.length === 0) {
      const preferred = this.#sticky.find(request, ready)
      if (preferred?.hasRoom === true) return preferred
    }
    const [only] = ready
    if (ready.length === 1 && only?.hasRoom === true) return only
    if (ready.length === 0) return undefined
    if (tried.length === 0) {
      const next = this.#balance(ready, request)
      if (next.hasRoom) return next
    }
    const available = ready.filter(({ hasRoom }) => hasRoom)
    const untried = tried.length === 0 ? available : available.filter((target) => !tried.includes(target))
    const candidates = untried.length > 0 ? untried : available
    return candidates.length === 0 ? undefined : this.#balance(candidates, request)
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

  /** Returns the Set-Cookie value of a sticky session; undefined if none is needed. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined {
    return this.#sticky?.cookieFor(request, target)
  }

  /** Returns whether the budget allows one more retry, and counts a refusal. The budget bounds the load of retries on a failing upstream. */
  acquireRetry(budget: number): boolean {
    const { active, activeRetries } = this.traffic
    if (activeRetries < Math.max(MIN_RETRY_CONCURRENCY, active * budget)) return true
    this.traffic.refused++
    return false
  }

  /** Seconds until a target may accept requests again. */
  get retryAfter(): number {
    const waits = this.#targets.map(({ health }) => health.breakerRemaining).filter((ms) => ms > 0)
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
    if (this.#app.simulation !== null) {
      this.#setTargets([simulatedEndpoint(discover)])
      return
    }
    const discovery = this.#app.resources.lease(
      this.#app,
      `discovery ${JSON.stringify(discover)}`,
      () => new Discovery(discover, this.#app.log),
      (value) => value.stop()
    )
    const unwatch = discovery.watch(() => this.#setTargets(discovery.endpoints))
    this.#app.addHook('onClose', async function unwatchDiscovery() {
      unwatch()
    })
    this.#setTargets(discovery.endpoints)
    await discovery.firstAnswer
  }

  /** Replaces the targets. A known target keeps its connections; a removed one finishes its requests. */
  #setTargets(endpoints: readonly Endpoint[]): void {
    const before = new Map(this.#targets.map((target) => [target.key, target]))
    const isFirst = this.#targets.length === 0
    this.#targets = [...new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]))].map(
      ([key, endpoint]) => {
        const known = before.get(key)
        before.delete(key)
        if (known !== undefined) {
          known.weight = endpoint.weight
          known.backup = endpoint.backup
          return known
        }
        const added = new Target(this.#app, this.#written, this.#options, {
          endpoint,
          canEject: () => this.#canEject()
        })
        if (!isFirst) added.health.startSlowly()
        return added
      }
    )
    this.#unwatchHealth()
    this.#unwatchers = this.#targets.map(({ health }) => health.watch(() => this.updateReady()))
    this.updateReady()
    for (const removed of before.values()) removed.release()
  }

  #unwatchHealth(): void {
    for (const unwatch of this.#unwatchers) unwatch()
    this.#unwatchers = []
  }

  /** Updates the targets in use: healthy ones, else backups; all of them if fewer than `panic` are healthy. Drained targets and open circuit breakers are excluded. */
  updateReady(): void {
    const weighted = this.#targets.filter(({ name, weight }) => weight > 0 && !this.#isDrained(name))
    const main = weighted.filter(({ backup }) => !backup)
    const eligible = main.filter(({ health }) => health.isEligible)
    const backups = weighted.filter(({ backup, health }) => backup && health.isEligible)
    const isPanic = eligible.length < main.length * this.#panicThreshold
    const inUse = eligible.some(({ health }) => health.breakerClosed)
      ? isPanic
        ? main
        : eligible
      : backups.length > 0
        ? [...eligible, ...backups]
        : isPanic
          ? main
          : eligible
    this.#ready = inUse.filter(({ health }) => !health.breakerOpen)
  }

  #canEject(): boolean {
    const ejected = this.#targets.filter(({ health }) => health.ejected).length
    return ejected < Math.max(1, Math.floor(this.#targets.length * this.#maxEjected))
  }
}

/** Returns the one target that stands for those which a lookup would find. */
const simulatedEndpoint = ({ dns, srv, port }: DiscoverOptions): Endpoint =>
  toEndpoint(
    `http://${(dns ?? srv ?? 'discovered').replace(/^(_[^.]*\.)+/, '')}${port === undefined ? '' : `:${port}`}`
  )

const toEndpoint = (options: string | { url: string; weight: number; backup: boolean }): Endpoint =>
  typeof options === 'string' ? { url: options, weight: 1, backup: false } : options
