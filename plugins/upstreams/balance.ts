import type { FastifyRequest } from 'fastify'
import { callerIdentity, partReader } from '../../src/lib/caller.ts'
import { hash32, unitInterval } from '../../src/lib/hash.ts'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'
import type { UpstreamOptions } from './options.ts'
import type { Target } from './target.ts'

/** Picks one of at least one target for a request. */
export type Balancer = (targets: readonly Target[], request: FastifyRequest | null) => Target

/** Compiles the load-balancing strategy of an upstream. */
export function makeBalancer({ balance, hashOn }: Pick<UpstreamOptions, 'balance' | 'hashOn'>): Balancer {
  return balance === 'hash' ? rendezvousHash(hashOn) : BALANCERS[balance]
}

const BALANCERS = {
  /** Smooth weighted round robin, as in nginx: no target twice in a row unless its weight demands it. */
  roundRobin(targets) {
    let best = targets[0] as Target
    let total = 0
    for (const target of targets) {
      const weight = target.effectiveWeight()
      total += weight
      target.currentWeight += weight
      if (target.currentWeight > best.currentWeight) best = target
    }
    best.currentWeight -= total
    return best
  },
  /** Fewest requests per weight; ties are broken at random. */
  leastRequests(targets) {
    let best = targets[0] as Target
    let least = Number.POSITIVE_INFINITY
    let equals = 0
    for (const target of targets) {
      const busy = loadPerWeight(target)
      if (busy > least) continue
      equals = busy === least ? equals + 1 : 1
      if (busy < least || Math.random() * equals < 1) best = target
      least = busy
    }
    return best
  },
  random: weightedRandom,
  /** The less busy of two random targets (M. Mitzenmacher, "The Power of Two Choices", 2001). */
  powerOfTwo(targets) {
    const one = weightedRandom(targets)
    const two = weightedRandom(targets)
    return loadPerWeight(two) < loadPerWeight(one) ? two : one
  }
} satisfies Record<string, (targets: readonly Target[]) => Target>

function weightedRandom(targets: readonly Target[]): Target {
  let left = 0
  for (const target of targets) left += target.effectiveWeight()
  left *= Math.random()
  for (const target of targets) {
    left -= target.effectiveWeight()
    if (left < 0) return target
  }
  return targets[targets.length - 1] as Target
}

const loadPerWeight = (target: Target): number => {
  const weight = target.effectiveWeight()
  return weight === 0 ? Number.MAX_VALUE : (target.load.requests + 1) / weight
}

/** Weighted rendezvous hashing (Thaler and Ravishankar, 1998): a target that is added or removed moves only its own share of the keys. */
function rendezvousHash(hashOn: string): Balancer {
  const readKey = hashKeyReader(hashOn)
  return (targets, request) => {
    // The gateway's own requests have one key.
    const key = hash32(request === null ? '' : readKey(request))
    let best = targets[0] as Target
    let most = Number.NEGATIVE_INFINITY
    for (const target of targets) {
      const score = -target.weight / Math.log(unitInterval(key, target.seed))
      if (score > most) [best, most] = [target, score]
    }
    return best
  }
}

function hashKeyReader(hashOn: string): (request: FastifyRequest) => string {
  if (hashOn === 'ip') return addressOf
  if (hashOn === 'caller')
    return (request) => (request.caller === null ? addressOf(request) : callerIdentity(request.caller))
  if (hashOn === 'path') return pathOf
  if (hashOn === 'url') return ({ raw }) => raw.url ?? '/'
  const read = partReader(hashOn)
  return (request) => read(request) ?? addressOf(request)
}
