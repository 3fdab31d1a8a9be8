import { seeded } from './fault-proxy.ts'

/** Makes choices that a seed repeats. */
export interface Random {
  /** Returns an integer from 0 to `limit` - 1. */
  readonly below: (limit: number) => number
  /** Returns true with this probability. */
  readonly chance: (probability: number) => boolean
  readonly pick: <T>(of: readonly T[]) => T
}

/** Returns the seed of this run: FUZZ_SEED where it is set, else a new one. */
export const seedOf = (): number => Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

/** Makes a generator from a seed. */
export function generator(seed: number): Random {
  const next = seeded(seed)
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    chance: (probability) => next() < probability,
    pick: (of) => of[below(of.length)] as (typeof of)[number]
  }
}
