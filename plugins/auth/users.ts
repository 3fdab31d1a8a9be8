import { createHash, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { normalizeIP } from '@fastify/rate-limit'
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

// What the password of an unknown user is compared with, and a wrong one of a user with a secret, so that a refusal takes as long for all.
const NOBODY = parseHash(
  '$argon2id$v=19$m=19456,t=2,p=1$c2FsbHlwb3J0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
)

/** Local users by their names. */
export class Users {
  readonly #users = new Map<string, User>()

  constructor(users: readonly User[] = []) {
    for (const user of users) this.add(user)
  }

  /** Adds a user; throws where another of that name is known, since a session tells no more than the name. */
  add(user: User): void {
    const known = this.#users.get(user.name)
    if (known !== undefined && !isDeepStrictEqual(known, user))
      throw new Error(`Two users are named "${user.name}"; a name stands for one user in the whole gateway`)
    this.#users.set(user.name, user)
  }

  /** Finds a user by name. */
  find(name: string): User | undefined {
    return this.#users.get(name)
  }

  /** Finds the user whose name and password these are, slowly. */
  async verify(name: string, password: string): Promise<User | undefined> {
    const user = this.#users.get(name)
    return (await matches(user, password)) ? user : undefined
  }
}

async function matches(user: User | undefined, password: string): Promise<boolean> {
  if (user?.secret !== undefined && timingSafeEqual(digest(user.secret), digest(password))) return true
  const hash = user?.password === undefined ? NOBODY : parseHash(user.password)
  return hash !== undefined && (await verifyPassword(password, hash)) && user?.password !== undefined
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

interface Attempts {
  failed: number
  readonly running: Set<Promise<void>>
  readonly ends: number
}

/** Counts failed log-ins by address, an IPv6 client by its /64. */
export class Failures {
  readonly #addresses = new Map<string, Attempts>()

  /** Lets a log-in try; throws SP_ERR_AUTH_THROTTLED where its address failed too often. As many as may still fail run at a time, so that a burst gets no more tries than a queue. */
  async attempt<T>(address: string, log: () => Promise<T | undefined>): Promise<T | undefined> {
    const attempts = this.#of(normalizeIP(address, 64))
    while (attempts.failed + attempts.running.size >= FAILURES) {
      if (attempts.failed >= FAILURES) throw throttled(attempts)
      await Promise.race(attempts.running)
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    attempts.running.add(ended)
    try {
      const found = await log()
      if (found === undefined) attempts.failed++
      return found
    } finally {
      attempts.running.delete(ended)
      end()
    }
  }

  #of(address: string): Attempts {
    const known = this.#addresses.get(address)
    const now = Date.now()
    if (known !== undefined && known.ends > now) return known
    this.#addresses.delete(address)
    if (this.#addresses.size >= ADDRESSES_REMEMBERED)
      this.#addresses.delete(this.#addresses.keys().next().value ?? '')
    const made = { failed: 0, running: new Set<Promise<void>>(), ends: now + WINDOW }
    this.#addresses.set(address, made)
    return made
  }
}

const throttled = ({ ends }: Attempts): Error =>
  withHeaders(new LoginThrottled(), {
    'retry-after': String(Math.max(1, Math.ceil((ends - Date.now()) / 1000)))
  })
