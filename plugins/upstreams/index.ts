import { readFileSync } from 'node:fs'
import { createError, fp, type OptionFault } from '../../src/kit/index.ts'
import type { TargetDrain, UpstreamState } from '../../src/lib/contracts/metrics.ts'
import { upstreamUrlFault } from '../../src/lib/http/upstream-names.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { DrainedTargets } from './drained.ts'
import { options, type UpstreamOptions, type UpstreamsOptions, urlsOf } from './options.ts'
import { origins } from './origins.ts'
import { optionsForUrl, Upstream } from './upstream.ts'
import { planWarnings } from './warnings.ts'

export const key = 'upstreams'

export { comparison } from './compare.ts'
export { options, origins, planWarnings }
export const override = false
export const always = true
export const named = true
// Failures are counted by these alone.
export const stateless = ({ eject, breaker }: UpstreamOptions): boolean =>
  eject === undefined && breaker === undefined

/** No upstream has this name. */
export const UpstreamUnknown = createError<[string, string]>(
  'SP_ERR_UPSTREAM_UNKNOWN',
  'No upstream "%s"; the config has %s',
  500
)

export function faults(upstreams: UpstreamsOptions): OptionFault[] {
  return [...sourceFaults(upstreams), ...Object.entries(upstreams).flatMap(urlFaults)]
}

function urlFaults([name, { url, targets = [] }]: [string, UpstreamsOptions[string]]): OptionFault[] {
  const urls: [path: OptionFault['path'], url: string | undefined][] = [
    [['url'], url],
    ...targets.map((target, i): [OptionFault['path'], string] =>
      typeof target === 'string' ? [['targets', i], target] : [['targets', i, 'url'], target.url]
    )
  ]
  return urls.flatMap(([path, text]) => {
    const message = text === undefined ? undefined : upstreamUrlFault(text)
    return message === undefined ? [] : [{ path: [name, ...path], message }]
  })
}

function sourceFaults(upstreams: UpstreamsOptions): OptionFault[] {
  const faultsFound: OptionFault[] = []
  for (const [name, upstream] of Object.entries(upstreams)) {
    const sources = [upstream.url, upstream.targets, upstream.discover].filter(
      (source) => source !== undefined
    )
    if (sources.length !== 1)
      faultsFound.push({
        path: [name],
        message: `The upstream "${name}" needs exactly one of "url", "targets" and "discover"`
      })
    if (
      upstream.discover !== undefined &&
      (upstream.discover.dns === undefined) === (upstream.discover.srv === undefined)
    )
      faultsFound.push({
        path: [name, 'discover'],
        message: `"discover" of the upstream "${name}" needs exactly one of "dns" and "srv"`
      })
    if (upstream.discover?.srv !== undefined && upstream.discover.port !== undefined)
      faultsFound.push({
        path: [name, 'discover', 'port'],
        message: `The SRV records of "${upstream.discover.srv}" contain the ports; "port" works with "dns" only`
      })
    const socket = urlsOf(upstream).find((url) => url.startsWith('unix:'))
    if (upstream.health?.port !== undefined && socket !== undefined)
      faultsFound.push({
        path: [name, 'health', 'port'],
        message: `expected targets with ports beside it, got "${socket}"; checks of a socket go to the socket`
      })
    for (const file of ['ca', 'cert', 'key'] as const) {
      const path = upstream.tls?.[file]
      if (path === undefined) continue
      try {
        readFileSync(path)
      } catch (error) {
        faultsFound.push({ path: [name, 'tls', file], message: unreadable(path, error) })
      }
    }
  }
  return faultsFound
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Returns the upstream of a name, or creates one for a URL; throws SP_ERR_UPSTREAM_UNKNOWN. */
    upstream(nameOrUrl: string): Upstream
    /** Returns the number of targets, and of those in use, for each configured upstream that a route uses. */
    upstreamHealth(): Record<string, { targets: number; ready: number }>
    /** Returns the state of each upstream in use. It contains addresses, so show it to operators only. */
    upstreamStates(): UpstreamState[]
    /** Drains a target, or takes it back into use, in all workers. Resolves to what is unknown; undefined if it is done. */
    drainTarget(drain: TargetDrain): Promise<'upstream' | 'target' | undefined>
  }
}

export default fp<UpstreamsOptions>(
  async function upstreams(app, root) {
    const upstreams = new Map<string, Upstream>()
    const drained = app.resources.lease(
      app,
      'drained targets',
      () => new DrainedTargets(app.resources.peers),
      (value) => value.close()
    )
    const unwatch = drained.watch((name) => upstreams.get(name)?.updateReady())
    app.addHook('onClose', async function unwatchDrained() {
      unwatch()
    })
    app.decorate('upstream', (nameOrUrl: string) => {
      let found = upstreams.get(nameOrUrl)
      if (found !== undefined) return found
      const written = Object.hasOwn(root, nameOrUrl) ? root[nameOrUrl] : optionsForUrl(nameOrUrl)
      if (written === undefined) throw new UpstreamUnknown(nameOrUrl, Object.keys(root).join(', ') || 'none')
      const name = Object.hasOwn(root, nameOrUrl) ? nameOrUrl : 'url'
      found = new Upstream(app, name, written, (target) => drained.has(nameOrUrl, target))
      upstreams.set(nameOrUrl, found)
      return found
    })
    app.decorate('upstreamHealth', () => {
      const named = [...upstreams].filter(([name]) => Object.hasOwn(root, name))
      return Object.fromEntries(
        named.map(([name, { targets, ready }]) => [name, { targets: targets.length, ready: ready.length }])
      )
    })
    app.decorate('upstreamStates', () =>
      [...upstreams].map(([name, upstream]) => stateOf(name, upstream, drained))
    )
    app.decorate('drainTarget', async (drain) => {
      const upstream = upstreams.get(drain.upstream)
      if (upstream === undefined) return 'upstream'
      if (!upstream.targets.some(({ name }) => name === drain.target)) return 'target'
      await drained.set(drain)
      return undefined
    })
    // Targets are discovered before the first request. A failed lookup leaves the upstream without targets, and does not fail the start.
    app.addHook('onReady', async function awaitDiscovery() {
      await Promise.all([...upstreams.values()].map(({ discovered }) => discovered))
    })
  },
  { name: key, fastify: '5.x' }
)

/** Returns the state of an upstream and its targets. */
const stateOf = (
  name: string,
  { traffic, targets, ready }: Upstream,
  drained: DrainedTargets
): UpstreamState => ({
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
    drained: drained.has(name, target.name),
    healthy: target.health.healthy,
    ejected: target.health.ejected,
    breaker: target.health.breakerClosed ? 'closed' : target.health.breakerOpen ? 'open' : 'half-open'
  }))
})

export type { UpstreamOptions, UpstreamsOptions } from './options.ts'
export type { Target } from './target.ts'
export { Upstream }
