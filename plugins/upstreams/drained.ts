import type { TargetDrain } from '../../src/lib/contracts/metrics.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'

const TOPIC = 'drained targets'

// Only targets that exist are drained, so a gateway stays far below this.
const MAX_DRAINED = 10_000

/** The targets that an operator has drained, by the names of their upstreams. They outlive reloads, and all workers share them. */
export class DrainedTargets {
  readonly #keys = new Set<string>()
  readonly #watchers = new Set<(upstream: string) => void>()
  readonly #peers: Peers | null
  readonly #leave: () => void

  constructor(peers: Peers | null) {
    this.#peers = peers
    this.#leave =
      peers?.join<TargetDrain>(TOPIC, {
        receive: (drain) => this.#apply(drain),
        snapshot: () =>
          [...this.#keys].map((key) => {
            const [upstream = '', target = ''] = key.split('\0')
            return { upstream, target, drained: true }
          })
      }) ?? (() => {})
  }

  /** Returns whether a target is drained. */
  has(upstream: string, target: string): boolean {
    return this.#keys.size > 0 && this.#keys.has(keyOf(upstream, target))
  }

  /** Drains a target or takes it back into use, in all workers. */
  async set(drain: TargetDrain): Promise<void> {
    this.#apply(drain)
    await this.#peers?.broadcast(TOPIC, drain)
  }

  /** Calls `changed` with the name of an upstream whose targets have changed; returns a function that stops it. */
  watch(changed: (upstream: string) => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  /** Stops listening to the other workers. */
  close(): void {
    this.#leave()
  }

  #apply({ upstream, target, drained }: TargetDrain): void {
    const key = keyOf(upstream, target)
    if (!drained) this.#keys.delete(key)
    else if (this.#keys.size < MAX_DRAINED) this.#keys.add(key)
    for (const notify of this.#watchers) notify(upstream)
  }
}

const keyOf = (upstream: string, target: string): string => `${upstream}\0${target}`
