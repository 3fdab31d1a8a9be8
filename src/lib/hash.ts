/** Hashes a text to a 32-bit number, the same in every process (FNV-1a, then the finalizer of MurmurHash3). */
export function hash32(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return finalize(hash)
}

/** Combines two hashes into a number between 0 and 1, both excluded. */
export const unitInterval = (a: number, b = 0): number =>
  (finalize(a ^ Math.imul(b, 0x9e3779b1)) + 0.5) / 2 ** 32

function finalize(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
