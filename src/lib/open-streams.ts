/** Long-lived responses that end with a session, by the key of the session. */
export class OpenStreams {
  readonly #ends = new Map<string, Set<() => void>>()

  /** Adds a function that ends a stream; returns a function that removes it. */
  add(key: string, end: () => void): () => void {
    const ends = this.#ends.get(key) ?? new Set()
    this.#ends.set(key, ends)
    ends.add(end)
    return () => {
      ends.delete(end)
      if (ends.size === 0 && this.#ends.get(key) === ends) this.#ends.delete(key)
    }
  }

  /** Ends all streams of a key. */
  end(key: string): void {
    const ends = this.#ends.get(key)
    if (ends === undefined) return
    this.#ends.delete(key)
    for (const end of ends) end()
  }

  /** Lists the keys that have streams. */
  keys(): string[] {
    return [...this.#ends.keys()]
  }

  /** Counts the keys that have streams. */
  get size(): number {
    return this.#ends.size
  }
}
