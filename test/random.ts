import { seeded } from './fault-proxy.ts'

/** Makes choices that a seed repeats. */
export interface Random {
  /** Returns an integer from 0 to `limit` - 1. */
  readonly below: (limit: number) => number
  /** Returns true with this probability. */
  readonly chance: (probability: number) => boolean
  readonly pick: <T>(of: readonly T[]) => T
}

// A run without FUZZ_SEED draws what every other run has drawn: no change is refused by chance.
const USUAL_SEED = 1

/** Returns the seed of this run: FUZZ_SEED, which is a new one if it is "random", else always the same. */
export function seedOf(): number {
  const seed = process.env['FUZZ_SEED'] ?? USUAL_SEED
  return seed === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(seed)
}

/** Returns how often a random test runs: FUZZ, else as often as it usually does. */
export const runsOf = (usual: number): number => Number(process.env['FUZZ'] ?? usual)

/** Returns the parameters of a property of fast-check, which tells the seed when it fails. */
export const draws = (usual = 100): { readonly seed: number; readonly numRuns: number } => ({
  seed: seedOf(),
  numRuns: runsOf(usual)
})

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

/** Changes a text at one place: cuts, repeats, ends it, or puts one of the special parts there. */
export function mutate({ pick, below }: Random, text: string, special: readonly string[]): string {
  const at = below(text.length + 1)
  const length = 1 + below(4)
  switch (below(6)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length)
    case 1:
      return text.slice(0, at) + pick(special) + text.slice(at)
    case 2:
      return text.slice(0, at) + pick(special) + text.slice(at + 1)
    case 3:
      return text.slice(0, at) + text.slice(at, at + 8 * length) + text.slice(at)
    case 4:
      return text.slice(0, at)
    default:
      return text.replace('\r\n', pick(['\n', '\r', '\r\r\n', '\r\n ']))
  }
}
