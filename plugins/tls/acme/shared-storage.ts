import { randomUUID } from 'node:crypto'
import type { Script, SharedStore } from '../../../src/lib/contracts/store.ts'
import type { Lock, Storage } from './storage.ts'
import { timings } from './timings.ts'

const EXTEND = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

// Another instance may hold the lock by now.
const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

/** A storage in the shared store. It holds the private keys in plain text. */
export class SharedStorage implements Storage {
  readonly #store: SharedStore
  readonly #folder: string
  readonly #extend: Script
  readonly #release: Script

  constructor(store: SharedStore, folder: string) {
    this.#store = store
    this.#folder = `${store.prefix}acme:${folder}:`
    this.#extend = store.script('acme_extend', 1, EXTEND)
    this.#release = store.script('acme_release', 1, RELEASE)
  }

  async read(name: string): Promise<string | undefined> {
    const found = await this.#store.call('GET', this.#key(name))
    return typeof found === 'string' ? found : undefined
  }

  async write(name: string, text: string, lifetimeMs?: number): Promise<void> {
    await this.#store.call(
      'SET',
      this.#key(name),
      text,
      ...(lifetimeMs === undefined ? [] : ['PX', lifetimeMs])
    )
  }

  async remove(name: string): Promise<void> {
    await this.#store.call('DEL', this.#key(name))
  }

  async lock(name: string): Promise<Lock | undefined> {
    const key = this.#key(`${name}.lock`)
    const token = randomUUID()
    if ((await this.#store.call('SET', key, token, 'PX', timings.lockLifetime, 'NX')) === null)
      return undefined
    return {
      extend: async () => (await this.#extend([key], [token, timings.lockLifetime])) === 1,
      release: async () => void (await this.#release([key], [token]))
    }
  }

  #key(name: string): string {
    return this.#folder + name
  }
}
