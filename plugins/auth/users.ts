import { createHash, timingSafeEqual } from 'node:crypto'
import { createError, withHeaders } from '../../src/kit/index.ts'
import type { User } from './files.ts'
import { parseHash, verifyPassword } from './password.ts'

/** Too many failed log-ins came from this address. */
export const LoginThrottled = createError(
  'SP_ERR_AUTH_THROTTLED',
  'Too many failed log-ins from this address; wait before the next one',
  429
)

/** How many log-ins of one address may fail within a window, before any hashing is done for it. */
const FAILURES = 10
const WINDOW = 300_000
const ADDRESSES_REMEMBERED = 10_000

// What the password of an unknown user is compared with, so that the answer takes as long as for a known one.
const NOBODY = parseHash(
  '$argon2id$v=19$m=19456,t=2,p=1$c2FsbHlwb3J0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
)

/** Checks the passwords of local users, slowly and not too often. */
export class Users {
  readonly #users: ReadonlyMap<string, User>
  readonly #failures: Failures

  constructor(users: readonly User[], failures: Failures) {
    this.#users = new Map(users.map((user) => [user.name, user]))
    this.#failures = failures
  }

  /** Finds a user by name. */
  find(name: string): User | undefined {
    return this.#users.get(name)
  }

  /** Finds the user whose name and password these are; throws SP_ERR_AUTH_THROTTLED after too many failures of an address. */
  async verify(name: string, password: string, address: string): Promise<User | undefined> {
    this.#failures.check(address)
    const user = this.#users.get(name)
    const right = await matches(user, password)
    if (user !== undefined && right) return user
    this.#failures.add(address)
    return undefined
  }
}

async function matches(user: User | undefined, password: string): Promise<boolean> {
  if (user?.secret !== undefined) return timingSafeEqual(digest(user.secret), digest(password))
  const hash = user?.password === undefined ? NOBODY : parseHash(user.password)
  return hash !== undefined && (await verifyPassword(password, hash)) && user !== undefined
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Counts failed log-ins by address. */
export class Failures {
  readonly #counts = new Map<string, { count: number; ends: number }>()

  /** Throws SP_ERR_AUTH_THROTTLED where an address failed too often. */
  check(address: string): void {
    const entry = this.#counts.get(address)
    const now = Date.now()
    if (entry === undefined || entry.ends <= now || entry.count < FAILURES) return
    throw withHeaders(new LoginThrottled(), { 'retry-after': String(Math.ceil((entry.ends - now) / 1000)) })
  }

  add(address: string): void {
    const now = Date.now()
    const entry = this.#counts.get(address)
    if (entry !== undefined && entry.ends > now) entry.count++
    else {
      this.#counts.delete(address)
      if (this.#counts.size >= ADDRESSES_REMEMBERED)
        this.#counts.delete(this.#counts.keys().next().value ?? '')
      this.#counts.set(address, { count: 1, ends: now + WINDOW })
    }
  }
}
