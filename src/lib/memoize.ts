/** A map, weak or not. */
interface Cache<K, V> {
  get(key: K): V | undefined
  set(key: K, value: V): unknown
}

/** Finds the value of a key, or makes and keeps it. */
export function getOrCreate<K, V>(memory: Cache<K, V>, key: K, make: () => V): V {
  const known = memory.get(key)
  if (known !== undefined) return known
  const made = make()
  memory.set(key, made)
  return made
}

// Longer names are made up, and so are more of them than this.
const LONGEST_NAME = 64
const MOST_NAMES = 512

/** Keeps what was found out about a spelling of a header's name; who makes names up fills no memory with them. */
export function setBounded<V>(names: Map<string, V>, spelled: string, value: V): void {
  if (spelled.length <= LONGEST_NAME && names.size < MOST_NAMES) names.set(spelled, value)
}
