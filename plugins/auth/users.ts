import { createHash, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Caller } from '../../src/lib/caller.ts'
import type { User } from './credential-files.ts'
import { parseHash, verifyPassword } from './password.ts'

// Compared with the password of an unknown user, so that a refusal takes as long for unknown users as for known ones.
const DUMMY_HASH = parseHash(
  '$argon2id$v=19$m=19456,t=2,p=1$c2FsbHlwb3J0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
)

/** Local users by name. */
export class Users {
  readonly #users = new Map<string, User>()
  // The first user's hash, if there is one, since its cost may differ.
  #dummyHash = DUMMY_HASH

  constructor(users: readonly User[] = []) {
    for (const user of users) this.add(user)
  }

  /** Adds a user; throws if another one has the same name, since a session stores only the name. */
  add(user: User): void {
    // macOS may enter "é" as two code points (RFC 8265 section 3.4).
    const name = user.name.normalize('NFC')
    const known = this.#users.get(name)
    if (known !== undefined && !isDeepStrictEqual(known, user))
      throw new Error(`expected unique user names in the whole gateway, got "${user.name}" twice`)
    if (this.#dummyHash === DUMMY_HASH && user.password !== undefined)
      this.#dummyHash = parseHash(user.password)
    this.#users.set(name, user)
  }

  /** The number of users. */
  get size(): number {
    return this.#users.size
  }

  /** Finds a user by name. */
  find(name: string): User | undefined {
    return this.#users.get(name.normalize('NFC'))
  }

  /** Returns the user if the password matches; hashing takes tens of milliseconds. */
  async verify(name: string, password: string): Promise<User | undefined> {
    const user = this.find(name)
    if (await matches(user, password, this.#dummyHash)) return user
    const composed = password.normalize('NFC')
    return composed !== password && (await matches(user, composed, this.#dummyHash)) ? user : undefined
  }
}

/** Converts a user into a caller, without the strategy. */
export const callerOf = ({ name, email, roles = [] }: User): Omit<Caller, 'by'> => ({
  id: name,
  name,
  ...(email === undefined ? {} : { email }),
  roles,
  scopes: [],
  claims: {}
})

async function matches(
  user: User | undefined,
  password: string,
  dummyHash: typeof DUMMY_HASH
): Promise<boolean> {
  if (user?.secret !== undefined && timingSafeEqual(digest(user.secret), digest(password))) return true
  const hash = user?.password === undefined ? dummyHash : parseHash(user.password)
  return hash !== undefined && (await verifyPassword(password, hash)) && user?.password !== undefined
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
