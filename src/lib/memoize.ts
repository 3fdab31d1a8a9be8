/** A Map or a WeakMap. */
interface Cache<K, V> {
  get(key: K): V | undefined
  set(key: K, value: V): unknown
}

/** Returns the value of a key; makes and stores it at the first call. */
export function getOrCreate<K, V>(memory: Cache<K, V>, key: K, make: () => V): V {
  const known = memory.get(key)
  if (known !== undefined) return known
  const made = make()
  memory.set(key, made)
  return made
}

/** Returns a function that makes an object on demand, and again once it has been garbage-collected. */
export function onDemand<T extends object>(make: () => T): () => T {
  let known: WeakRef<T> | undefined
  return () => {
    const made = known?.deref()
    if (made !== undefined) return made
    const value = make()
    known = new WeakRef(value)
    return value
  }
}

// A client can invent names without limit; real ones fit into these limits.
const MAX_NAME_LENGTH = 64
const MAX_NAMES = 512

/** Caches a value by the name of a header, in bounded memory: a name that is too long, or one too many, is not cached. */
export function setBounded<V>(names: Map<string, V>, name: string, value: V): void {
  if (name.length <= MAX_NAME_LENGTH && names.size < MAX_NAMES) names.set(name, value)
}
