import type { FastifyRequest } from 'fastify'
import { partReader } from '../../src/lib/caller.ts'
import { hash32, unitInterval } from '../../src/lib/hash.ts'
import { addressOf } from '../../src/lib/http/addresses.ts'
import type { UpstreamOptions } from './options.ts'
import type { Target } from './target.ts'

/** Chooses one of some targets, of which there is at least one, for a request. */
export type Balancer = (from: readonly Target[], request: FastifyRequest) => Target

/** Compiles how an upstream spreads its requests. */
export function makeBalancer({ balance, hashOn }: Pick<UpstreamOptions, 'balance' | 'hashOn'>): Balancer {
  return balance === 'hash' ? rendezvousHash(hashOn) : BALANCERS[balance]
}

const BALANCERS = {
  /** In turn, no target twice in a row where it need not be (nginx's smooth weighted round robin). */
  roundRobin(from) {
    let best = from[0] as Target
    let total = 0
    for (const target of from) {
      const weight = target.effectiveWeight()
      total += weight
      target.currentWeight += weight
      if (target.currentWeight > best.currentWeight) best = target
    }
    best.currentWeight -= total
    return best
  },
  /** Who has the fewest requests for its weight; among equals, any. */
  leastRequests(from) {
    let best = from[0] as Target
    let least = Number.POSITIVE_INFINITY
    let equals = 0
    for (const target of from) {
      const busy = loadPerWeight(target)
      if (busy > least) continue
      equals = busy === least ? equals + 1 : 1
      if (busy < least || Math.random() * equals < 1) best = target
      least = busy
    }
    return best
  },
  random: weightedRandom,
  /** The less busy of any two (M. Mitzenmacher, "The Power of Two Choices", 2001). */
  powerOfTwo(from) {
    const one = weightedRandom(from)
    const two = weightedRandom(from)
    return loadPerWeight(two) < loadPerWeight(one) ? two : one
  }
} satisfies Record<string, (from: readonly Target[]) => Target>

function weightedRandom(from: readonly Target[]): Target {
  let left = 0
  for (const target of from) left += target.effectiveWeight()
  left *= Math.random()
  for (const target of from) {
    left -= target.effectiveWeight()
    if (left < 0) return target
  }
  return from[from.length - 1] as Target
}

const loadPerWeight = (target: Target): number => {
  const weight = target.effectiveWeight()
  return weight === 0 ? Number.MAX_VALUE : (target.load.requests + 1) / weight
}

/** The target with the highest score for the key: one that comes or goes moves only its own share (weighted rendezvous hashing; Thaler and Ravishankar, 1998). */
function rendezvousHash(hashOn: string): Balancer {
  const keyOf = hashKeyReader(hashOn)
  return (from, request) => {
    const key = hash32(keyOf(request))
    let best = from[0] as Target
    let most = Number.NEGATIVE_INFINITY
    for (const target of from) {
      const score = -target.weight / Math.log(unitInterval(key, target.seed))
      if (score > most) [best, most] = [target, score]
    }
    return best
  }
}

function hashKeyReader(hashOn: string): (request: FastifyRequest) => string {
  if (hashOn === 'ip') return addressOf
  if (hashOn === 'caller') return (request) => request.caller?.id ?? addressOf(request)
  const read = partReader(hashOn)
  return (request) => read(request) ?? addressOf(request)
}
