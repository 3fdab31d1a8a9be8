import { readFileSync } from 'node:fs'
import { createError, fp, type OptionFault } from '../../src/kit/index.ts'
import type { UpstreamState } from '../../src/lib/contracts/metrics.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { options, type UpstreamsOptions } from './options.ts'
import { origins } from './origins.ts'
import { optionsForUrl, Upstream } from './upstream.ts'

export const key = 'upstreams'

export { options, origins }
export const override = false
export const always = true
export const named = true

/** No upstream goes by this name. */
export const UpstreamUnknown = createError<[string, string]>(
  'SP_ERR_UPSTREAM_UNKNOWN',
  'No upstream "%s"; the config has %s',
  500
)

export function faults(upstreams: UpstreamsOptions): OptionFault[] {
  const found: OptionFault[] = []
  for (const [name, said] of Object.entries(upstreams)) {
    const sources = [said.url, said.targets, said.discover].filter((source) => source !== undefined)
    if (sources.length !== 1)
      found.push({
        path: [name],
        message: `The upstream "${name}" needs either "url" or "targets" or "discover"`
      })
    if (
      said.discover !== undefined &&
      (said.discover.dns === undefined) === (said.discover.srv === undefined)
    )
      found.push({
        path: [name, 'discover'],
        message: `The upstream "${name}" is discovered by either "dns" or "srv"`
      })
    if (said.discover?.srv !== undefined && said.discover.port !== undefined)
      found.push({
        path: [name, 'discover', 'port'],
        message: `The SRV records of "${said.discover.srv}" say the ports; "port" goes with "dns"`
      })
    for (const file of ['ca', 'cert', 'key'] as const) {
      const path = said.tls?.[file]
      if (path === undefined) continue
      try {
        readFileSync(path)
      } catch (error) {
        found.push({ path: [name, 'tls', file], message: unreadable(path, error) })
      }
    }
  }
  return found
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Finds the upstream of a name, or makes the one for a URL; throws SP_ERR_UPSTREAM_UNKNOWN. */
    upstream(nameOrUrl: string): Upstream
    /** Tells of every upstream of the config that a route uses how many targets it has, and how many can be asked. */
    upstreamHealth(): Record<string, { targets: number; ready: number }>
    /** Tells how every upstream fares that a route uses; addresses are in it, so it is for those who run the gateway. */
    upstreamStates(): UpstreamState[]
  }
}

export default fp<UpstreamsOptions>(
  async function upstreams(app, root) {
    const made = new Map<string, Upstream>()
    app.decorate('upstream', (nameOrUrl: string) => {
      let found = made.get(nameOrUrl)
      if (found !== undefined) return found
      const said = Object.hasOwn(root, nameOrUrl) ? root[nameOrUrl] : optionsForUrl(nameOrUrl)
      if (said === undefined) throw new UpstreamUnknown(nameOrUrl, Object.keys(root).join(', ') || 'none')
      found = new Upstream(app, Object.hasOwn(root, nameOrUrl) ? nameOrUrl : 'url', said)
      made.set(nameOrUrl, found)
      return found
    })
    app.decorate('upstreamHealth', () => {
      const named = [...made].filter(([name]) => Object.hasOwn(root, name))
      return Object.fromEntries(
        named.map(([name, { targets, ready }]) => [name, { targets: targets.length, ready: ready.length }])
      )
    })
    app.decorate('upstreamStates', () => [...made].map(([name, upstream]) => stateOf(name, upstream)))
    // Who is asked for by name is looked for before the first request comes; who can't be found is "none", not a failed start.
    app.addHook('onReady', async () => {
      await Promise.all([...made.values()].map(({ discovered }) => discovered))
    })
  },
  { name: key, fastify: '5.x' }
)

/** Describes an upstream and each of its targets. */
const stateOf = (name: string, { traffic, targets, ready }: Upstream): UpstreamState => ({
  name,
  inFlight: traffic.active,
  retries: traffic.retries,
  retriesRefused: traffic.refused,
  targets: targets.map((target) => ({
    name: target.name,
    weight: target.weight,
    backup: target.backup,
    inFlight: target.load.requests,
    ready: ready.includes(target),
    healthy: target.health.healthy,
    ejected: target.health.ejected,
    breaker: target.health.breakerClosed ? 'closed' : target.health.breakerOpen ? 'open' : 'half-open'
  }))
})

export type { UpstreamOptions, UpstreamsOptions } from './options.ts'
export type { Target } from './target.ts'
export { Upstream }
