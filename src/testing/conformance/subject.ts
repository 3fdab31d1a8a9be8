import type { Catalog } from '../../config/catalog.ts'
import type { Path } from '../../config/fault.ts'
import { catalog as own } from '../../gateway/catalog.ts'
import { isObject } from '../../lib/schema.ts'
import type { Fetch } from '../client.ts'
import type { TestScope } from '../scope.ts'
import { type StartedGateway, type StartOptions, startGateway } from '../start-gateway.ts'
import { placeOf, valueAt, withValueAt } from './options-place.ts'
import { makeProbe, type Probe, type RequestRecord } from './probe.ts'
import type { ConformanceModule, ConformanceRequest, ConformanceSetup } from './setup.ts'

const BUILTIN: readonly ConformanceModule[] = [...own.concerns, ...own.targets]

/** A gateway with the module that is checked. */
export interface Running extends StartedGateway {
  readonly probe: Probe
  /** Sends a request, and returns what became of it. */
  send(request: ConformanceRequest, client?: Fetch): Promise<Outcome>
}

/** A response, and what the gateway recorded. */
export interface Outcome extends RequestRecord {
  readonly type: string
  readonly text: string
}

interface RefuseOptions {
  readonly client?: Fetch
  /** Called before the last request is sent. */
  readonly beforeLast?: () => Promise<void>
}

/** The module that is checked, and how to use it. */
export class Subject {
  readonly module: ConformanceModule
  readonly passed: ConformanceRequest
  /** The requests of which the last one is refused; empty if the module refuses none. */
  readonly refused: readonly ConformanceRequest[]
  readonly #setup: ConformanceSetup

  constructor(module: ConformanceModule, setup: ConformanceSetup) {
    this.module = module
    this.#setup = setup
    this.passed = setup.passed ?? '/'
    this.refused = setup.refused === undefined ? [] : ([setup.refused].flat() as ConformanceRequest[])
  }

  get key(): string {
    return this.module.key
  }

  get isTarget(): boolean {
    return 'target' in this.module
  }

  /** Whether the gateway itself brings the module. */
  get isBuiltin(): boolean {
    return BUILTIN.some((module) => module === this.module)
  }

  /** Whether the module has the options of a gate. */
  get isGate(): boolean {
    const { properties } = this.module.options as { properties?: object }
    return properties !== undefined && 'global' in properties && 'mode' in properties
  }

  /** The environment variables that the config sees. */
  get env(): Readonly<Record<string, string>> {
    return this.#setup.env ?? {}
  }

  /** Returns the config of the set-up. */
  async config(t: TestScope): Promise<object> {
    const { config } = this.#setup
    const made = typeof config === 'function' ? await config(t) : config
    if (placeOf(made, this.key) === undefined)
      throw new Error(
        `expected a config with "${this.key}", got one without it; set it at the root or on a route`
      )
    return made
  }

  /** Returns the place of the module's options in a config, and their value. */
  optionsIn(config: object): { path: Path; value: unknown } {
    const path = placeOf(config, this.key) ?? [this.key]
    return { path, value: valueAt(config, path) }
  }

  /** Copies a config with some of the module's options changed. */
  withOptions(config: object, change: Readonly<Record<string, unknown>>): object {
    const { path, value } = this.optionsIn(config)
    return withValueAt(config, path, { ...(isObject(value) ? value : {}), ...change }) as object
  }

  /** Returns the concerns and targets that a config is read with: the gateway's, the module unless the config loads it, and a probe. */
  catalogFor(config: object, probe: Probe): Catalog {
    const concerns = [probe.concern, ...own.concerns]
    if (this.isBuiltin || 'extensions' in config) return { ...own, concerns }
    if ('target' in this.module) return { ...own, concerns, targets: [...own.targets, this.module] }
    const end = concerns.findIndex(({ last }) => last === true)
    return { ...own, concerns: concerns.toSpliced(end, 0, this.module) }
  }

  /** Starts a gateway of a config. */
  async start(t: TestScope, config: object, options: StartOptions = {}): Promise<Running> {
    const probe = makeProbe()
    const catalog = this.catalogFor(config, probe)
    const started = await startGateway(t, config, {
      env: this.env,
      https: 'tls' in config,
      ...options,
      catalog
    })
    const send = (request: ConformanceRequest, client = started.fetch): Promise<Outcome> =>
      sendTo(client, probe, request)
    return Object.create(started, { probe: { value: probe }, send: { value: send } }) as Running
  }

  /** Sends the requests of which the last one is refused; returns what became of that. */
  async refuse(gateway: Running, { client, beforeLast }: RefuseOptions = {}): Promise<Outcome> {
    let last: Outcome | undefined
    const pending = new AbortController()
    for (const [i, request] of this.refused.entries()) {
      if (i === this.refused.length - 1) await beforeLast?.()
      if (isPending(request))
        await occupy(gateway, client ?? gateway.fetch, { request, signal: pending.signal })
      else last = await gateway.send(request, client)
    }
    pending.abort()
    if (last === undefined)
      throw new Error('expected a request that the gate refuses, got none; name one in "refused"')
    return last
  }
}

async function sendTo(client: Fetch, probe: Probe, request: ConformanceRequest): Promise<Outcome> {
  const { length } = probe.records
  const response = await client(...fetchParameters(request))
  const text = await response.text()
  // The client may have the response before the gateway has recorded it.
  await changed(probe, () => probe.records.length > length)
  const record = probe.records[length]
  if (record === undefined) throw new Error('the gateway recorded no request')
  return { ...record, status: response.status, type: response.headers.get('content-type') ?? '', text }
}

/** Returns whether the next request is sent before the response to this one. */
export const isPending = (request: ConformanceRequest): boolean =>
  typeof request === 'object' && request.pending === true

/** Sends a request that stays without a response, until it is aborted. */
async function occupy(
  { probe }: Running,
  client: Fetch,
  { request, signal }: { request: ConformanceRequest; signal: AbortSignal }
): Promise<void> {
  const { begun } = probe
  const [path, init] = fetchParameters(request)
  client(path, { ...init, signal }).catch(() => {})
  await changed(probe, () => probe.begun > begun)
}

/** Returns how `fetch` sends a request. */
export function fetchParameters(request: ConformanceRequest): [path: string, init: RequestInit] {
  if (typeof request === 'string') return [request, {}]
  const { path, pending: _pending, ...init } = request
  return [path, init]
}

/** Waits until something holds that the probe counts. */
function changed(probe: Probe, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    probe.onChange = () => {
      if (holds()) resolve()
    }
    probe.onChange()
  })
}
