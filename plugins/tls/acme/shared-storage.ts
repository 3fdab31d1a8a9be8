import { randomUUID } from 'node:crypto'
import type { Script, SharedStore } from '../../../src/lib/contracts/store.ts'
import type { Lock, Storage } from './storage.ts'
import { timings } from './timings.ts'

const EXTEND = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

// A lock that has passed to another is not ours to let go.
const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

/** Keeps things in the store that instances share: keys of certificates as well, so whoever reads the store has them. */
export class SharedStorage implements Storage {
  readonly #store: SharedStore
  readonly #place: string
  readonly #extend: Script
  readonly #release: Script

  constructor(store: SharedStore, place: string) {
    this.#store = store
    this.#place = `${store.prefix}acme:${place}:`
    this.#extend = store.script('acme_extend', 1, EXTEND)
    this.#release = store.script('acme_release', 1, RELEASE)
  }

  async read(name: string): Promise<string | undefined> {
    const found = await this.#store.call('GET', this.#key(name))
    return typeof found === 'string' ? found : undefined
  }

  async write(name: string, text: string, lasts?: number): Promise<void> {
    await this.#store.call('SET', this.#key(name), text, ...(lasts === undefined ? [] : ['PX', lasts]))
  }

  async remove(name: string): Promise<void> {
    await this.#store.call('DEL', this.#key(name))
  }

  async lock(name: string): Promise<Lock | undefined> {
    const key = this.#key(`${name}.lock`)
    const mine = randomUUID()
    if ((await this.#store.call('SET', key, mine, 'PX', timings.lockLifetime, 'NX')) === null)
      return undefined
    return {
      extend: async () => (await this.#extend([key], [mine, timings.lockLifetime])) === 1,
      release: async () => void (await this.#release([key], [mine]))
    }
  }

  #key(name: string): string {
    return this.#place + name
  }
}
