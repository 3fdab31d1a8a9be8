import type { EncodedBodies } from '../../../src/lib/contracts/cache.ts'

/** The bodies of one entry by their content coding; they live and count with it. */
export class Encodings implements EncodedBodies {
  readonly #bodies = new Map<string, Buffer>()
  readonly #grown: () => void
  #bytes = 0

  /** Makes an empty one; `grown` is called after each change of its size. */
  constructor(grown: () => void) {
    this.#grown = grown
  }

  /** How many bytes all bodies have. */
  get bytes(): number {
    return this.#bytes
  }

  get(name: string): Buffer | undefined {
    return this.#bodies.get(name)
  }

  set(name: string, body: Buffer): void {
    this.#bytes += body.length - (this.#bodies.get(name)?.length ?? 0)
    this.#bodies.set(name, body)
    this.#grown()
  }
}
