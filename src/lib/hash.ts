/** Scatters a text over the whole numbers below 2^32, the same text to the same number in every process (FNV-1a, then the finisher of MurmurHash3). */
export function hash32(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return finish(hash)
}

/** Mixes two scattered numbers into one from 0 to 1, both excluded. */
export const unitInterval = (a: number, b = 0): number =>
  (finish(a ^ Math.imul(b, 0x9e3779b1)) + 0.5) / 2 ** 32

function finish(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
